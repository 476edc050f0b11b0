/* The loop appends to `waiting`; the thread takes its head, runs it, appends it to `finished` and
 * rings; the loop takes all of `finished`. Both lists and `ending` are behind the lock. */
#include "control/host/worker.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

struct job_list {
    struct worker_job *first;
    struct worker_job **last; /* where the next one is linked */
};

struct worker {
    uv_mutex_t lock;
    uv_cond_t wake;
    uv_async_t rung; /* finished jobs are there */
    uv_thread_t thread;
    struct job_list waiting;
    struct job_list finished;
    size_t pending; /* jobs that are not done; the loop's own */
    bool started;   /* the thread; the loop's own */
    bool closing;   /* the loop's own */
    bool ending;    /* the thread ends once nothing waits */
};

static void list_init(struct job_list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

static void list_append(struct job_list *list, struct worker_job *job)
{
    job->next = NULL;
    *list->last = job;
    list->last = &job->next;
}

static struct worker_job *list_take(struct job_list *list)
{
    struct worker_job *job = list->first;
    if (job == NULL)
        return NULL;
    list->first = job->next;
    if (list->first == NULL)
        list->last = &list->first;
    return job;
}

/* ---- the thread ---- */

static void worker_thread(void *arg)
{
    struct worker *worker = arg;
    uv_mutex_lock(&worker->lock);
    for (;;) {
        struct worker_job *job = list_take(&worker->waiting);
        if (job == NULL && worker->ending)
            break;
        if (job == NULL) {
            uv_cond_wait(&worker->wake, &worker->lock);
            continue;
        }
        uv_mutex_unlock(&worker->lock);
        job->run(job);
        uv_mutex_lock(&worker->lock);
        list_append(&worker->finished, job);
        (void)uv_async_send(&worker->rung);
    }
    uv_mutex_unlock(&worker->lock);
}

/* ---- the loop ---- */

static void on_worker_closed(uv_handle_t *handle)
{
    struct worker *worker = handle->data;
    uv_cond_destroy(&worker->wake);
    uv_mutex_destroy(&worker->lock);
    free(worker);
}

/* Nothing waits and nothing runs, so that the join does not block. */
static void end(struct worker *worker)
{
    uv_mutex_lock(&worker->lock);
    worker->ending = true;
    uv_cond_signal(&worker->wake);
    uv_mutex_unlock(&worker->lock);
    if (worker->started)
        (void)uv_thread_join(&worker->thread);
    uv_close((uv_handle_t *)&worker->rung, on_worker_closed);
}

static void on_rung(uv_async_t *async)
{
    struct worker *worker = async->data;
    struct job_list done;
    list_init(&done);
    uv_mutex_lock(&worker->lock);
    for (struct worker_job *job; (job = list_take(&worker->finished)) != NULL;)
        list_append(&done, job);
    uv_mutex_unlock(&worker->lock);
    for (struct worker_job *job; (job = list_take(&done)) != NULL;) {
        worker->pending--;
        job->done(job);
    }
    if (worker->closing && worker->pending == 0 && !uv_is_closing((uv_handle_t *)async))
        end(worker);
}

int worker_create(struct worker **out, uv_loop_t *loop)
{
    *out = NULL;
    struct worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        return -ENOMEM;
    int code = uv_mutex_init(&worker->lock);
    if (code < 0)
        goto fail;
    code = uv_cond_init(&worker->wake);
    if (code < 0)
        goto fail_lock;
    code = uv_async_init(loop, &worker->rung, on_rung);
    if (code < 0)
        goto fail_cond;
    worker->rung.data = worker;
    list_init(&worker->waiting);
    list_init(&worker->finished);
    *out = worker;
    return 0;
fail_cond:
    uv_cond_destroy(&worker->wake);
fail_lock:
    uv_mutex_destroy(&worker->lock);
fail:
    free(worker);
    return code;
}

/* Where no thread can be had, the loop does the work itself: late is better than never. */
void worker_submit(struct worker *worker, struct worker_job *job)
{
    if (!worker->started)
        worker->started = uv_thread_create(&worker->thread, worker_thread, worker) == 0;
    worker->pending++;
    if (!worker->started)
        job->run(job);
    uv_mutex_lock(&worker->lock);
    list_append(worker->started ? &worker->waiting : &worker->finished, job);
    uv_cond_signal(&worker->wake);
    uv_mutex_unlock(&worker->lock);
    if (!worker->started)
        (void)uv_async_send(&worker->rung);
}

void worker_close(struct worker *worker)
{
    if (worker == NULL)
        return;
    worker->closing = true;
    if (worker->pending == 0)
        end(worker);
}
