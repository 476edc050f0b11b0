#include "control/cluster/writer.h"

#include "base/clock.h"
#include "base/err.h"
#include "control/cluster/store.h"
#include "control/cluster/turns.h"
#include "control/state/state.h"

#include <errno.h>
#include <stdlib.h>

enum { ATTEMPTS = 8 }; /* of one request, while others write to the same store */

struct writer {
    struct store *store;
    struct writer_env env;
    struct turns turns;
    struct writer_job *current; /* it has begun */
    bool busy;                  /* the store has the current job's change */
    int failure;                /* of the current job, while the disk is asked about */
    bool running;               /* inside writer_run() */
    struct writer_stats stats;
};

struct writer_job {
    struct turn turn;
    struct writer_request request;
    int attempts;
    bool ended; /* inside writer_submit: `done` has run, the memory is still needed */
    bool held;
    uint64_t start_ns;
};

int writer_create(struct writer **out, struct store *store, const struct writer_env *env)
{
    struct writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL)
        return -ENOMEM;
    writer->store = store;
    writer->env = *env;
    turns_init(&writer->turns, env->seed);
    *out = writer;
    return 0;
}

static void job_free(struct writer_job *job)
{
    job->ended = true;
    if (!job->held)
        free(job);
}

static void finish(struct writer *writer, struct writer_job *job, enum grpc_code code,
                   const struct err *err)
{
    const struct state *state = writer->env.state(writer->env.ctx);
    struct writer_request request = job->request;
    if (code != GRPC_OK)
        writer->stats.refused++;
    turns_end(&writer->turns, &job->turn, clock_boottime_ns());
    if (writer->current == job)
        writer->current = NULL;
    job_free(job);
    request.done(request.ctx, code, err, state == NULL ? 0 : state_rev(state));
}

/* The job in progress, else the next one. */
static struct writer_job *next_job(struct writer *writer)
{
    if (writer->current == NULL) {
        struct turn *turn = turns_take(&writer->turns);
        if (turn != NULL)
            writer->current = container_of(turn, struct writer_job, turn);
    }
    return writer->current;
}

void writer_destroy(struct writer *writer)
{
    struct err err;
    if (writer == NULL)
        return;
    writer->running = true; /* starts nothing from now on */
    if (writer->env.ask_disk != NULL)
        writer->env.ask_disk(writer->env.ctx, NULL, NULL);
    err_set(&err, -ECANCELED, "the node is stopping");
    for (struct writer_job *job; (job = next_job(writer)) != NULL;)
        finish(writer, job, GRPC_UNAVAILABLE, &err);
    turns_fini(&writer->turns);
    free(writer);
}

static void writer_run(struct writer *writer);

/* redis-server exits when it cannot write, so a full disk shows in many ways. */
static enum grpc_code disk_full(int status, struct err *err)
{
    err_set(err, status,
            status == -EIO
                ? "the disk of the data dir is full: it is unknown whether the change was "
                  "made; make room on it"
                : "the disk of the data dir is full: nothing was changed; make room on it");
    return GRPC_UNAVAILABLE;
}

static enum grpc_code outcome(int status, struct err *err)
{
    switch (status) {
    case 0:
        return GRPC_OK;
    case -EROFS:
        err_set(err, status, "the store is read only at the moment: try again");
        break;
    case -E2BIG:
        err_set(err, status,
                "the change has too many operations for the store; nothing was "
                "changed: split it");
        return GRPC_RESOURCE_EXHAUSTED;
    case -ENOSPC:
        err_set(err, status, "redis-server refuses writes; nothing was changed");
        break;
    case -ECANCELED:
        err_set(err, status, "redis-server is not reachable; nothing was changed");
        break;
    case -ESTALE:
        err_set(err, status, "others change the network at the same time: try again");
        break;
    default:
        err_set(err, status, "redis-server went away: it is unknown whether the change was made");
        break;
    }
    return GRPC_UNAVAILABLE;
}

static void end_current(struct writer *writer, int status, bool full)
{
    struct writer_job *job = writer->current;
    struct err err = {0};
    enum grpc_code code = full ? disk_full(status, &err) : outcome(status, &err);
    if (code == GRPC_OK) {
        metrics_observe(&writer->stats.committed, clock_boottime_ns() - job->start_ns);
        turns_charge(&job->turn, clock_boottime_ns());
    }
    writer->busy = false;
    finish(writer, job, code, &err);
    writer_run(writer);
}

static void on_disk_known(void *ctx, bool full)
{
    struct writer *writer = ctx;
    end_current(writer, writer->failure, full);
}

static void on_committed(void *ctx, int status, uint64_t epoch, uint64_t rev)
{
    struct writer *writer = ctx;
    const struct writer_job *job = writer->current;
    (void)epoch;
    (void)rev;
    if (status == -ESTALE && job->attempts < ATTEMPTS) {
        writer->busy = false;
        writer_run(writer);
    } else if (status == 0 || status == -ESTALE || status == -E2BIG ||
               writer->env.ask_disk == NULL) {
        end_current(writer, status, false);
    } else {
        writer->failure = status;
        writer->env.ask_disk(writer->env.ctx, on_disk_known, writer);
    }
}

/* One step of the current job: true when it is done. */
static bool step(struct writer *writer, struct writer_job *job)
{
    const struct state *state = writer->env.state(writer->env.ctx);
    struct change change;
    struct err err = {0};
    if (state == NULL) {
        err_set(&err, -EAGAIN, "the node is still starting: try again");
        finish(writer, job, GRPC_UNAVAILABLE, &err);
        return true;
    }
    job->attempts++;
    change_init(&change);
    enum grpc_code code = job->request.build(job->request.ctx, &change, state, &err);
    bool commit = code == GRPC_OK && change.op_count > 0;
    if (commit) {
        writer->busy = true;
        store_commit(writer->store, &change, &(struct store_done){writer, on_committed});
    } else
        finish(writer, job, code, &err);
    change_fini(&change);
    return !commit;
}

/* A finished request may submit the next one from its callback. The loop takes it, without
 * recursion. */
static void writer_run(struct writer *writer)
{
    if (writer->running || writer->busy)
        return;
    writer->running = true;
    struct writer_job *job;
    while ((job = next_job(writer)) != NULL && step(writer, job))
        ;
    writer->running = false;
}

const struct writer_stats *writer_stats(const struct writer *writer)
{
    return &writer->stats;
}

/* Why a request gets no place. */
static enum grpc_code refusal(int code, uint64_t wait_ns, struct err *err)
{
    if (code == -EAGAIN)
        err_set(err, code, "too many changes in a short time: retry in %u s",
                (unsigned)(wait_ns / NS_PER_SEC + 1));
    else if (code == -ENOBUFS)
        err_set(err, code, "too many changes of this caller are waiting: retry later");
    else
        err_set(err, code, "out of memory");
    return GRPC_RESOURCE_EXHAUSTED;
}

struct writer_job *writer_submit(struct writer *writer, const struct writer_request *request)
{
    struct err err;
    uint64_t wait_ns = 0;
    uint64_t now_ns = clock_boottime_ns();
    struct writer_job *job = calloc(1, sizeof *job);
    int code = job == NULL ? -ENOMEM : 0;
    if (code == 0)
        code = turns_add(&writer->turns, &job->turn, request->owner.name, request->owner.metered,
                         now_ns, &wait_ns);
    if (code < 0) {
        writer->stats.refused++;
        free(job);
        request->done(request->ctx, refusal(code, wait_ns, &err), &err, 0);
        return NULL;
    }
    job->request = *request;
    job->request.owner.name = NULL;
    job->start_ns = now_ns;
    job->held = true;
    writer_run(writer);
    job->held = false;
    if (!job->ended)
        return job;
    free(job);
    return NULL;
}

bool writer_drop(struct writer *writer, struct writer_job *job)
{
    if (writer->current == job)
        return false;
    turns_end(&writer->turns, &job->turn, clock_boottime_ns());
    job_free(job);
    return true;
}
