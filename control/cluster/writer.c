#include "control/cluster/writer.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "control/cluster/store.h"
#include "control/state/state.h"

#include <errno.h>
#include <stdlib.h>

enum { ATTEMPTS = 8 }; /* of one request, while others write to the same store */

struct writer {
    struct store *store;
    struct writer_env env;
    struct list waiting; /* the first is in flight when `busy` */
    bool busy;
    int failure;  /* of the one in flight, while the disk is asked about */
    bool running; /* inside writer_run() */
    struct writer_stats stats;
};

struct job {
    struct list node;
    struct writer_request request;
    int attempts;
    uint64_t start_ns;
};

int writer_create(struct writer **out, struct store *store, const struct writer_env *env)
{
    struct writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL)
        return -ENOMEM;
    writer->store = store;
    writer->env = *env;
    list_init(&writer->waiting);
    *out = writer;
    return 0;
}

static void finish(struct writer *writer, struct job *job, enum grpc_code code,
                   const struct err *err)
{
    const struct state *state = writer->env.state(writer->env.ctx);
    struct writer_request request = job->request;
    if (code != GRPC_OK)
        writer->stats.refused++;
    list_remove(&job->node);
    free(job);
    request.done(request.ctx, code, err, state == NULL ? 0 : state_rev(state));
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
    while (!list_empty(&writer->waiting))
        finish(writer, list_first(&writer->waiting, struct job, node), GRPC_UNAVAILABLE, &err);
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

static void end_first(struct writer *writer, int status, bool full)
{
    struct job *job = list_first(&writer->waiting, struct job, node);
    struct err err = {0};
    enum grpc_code code = full ? disk_full(status, &err) : outcome(status, &err);
    if (code == GRPC_OK)
        metrics_observe(&writer->stats.committed, clock_boottime_ns() - job->start_ns);
    writer->busy = false;
    finish(writer, job, code, &err);
    writer_run(writer);
}

static void on_disk_known(void *ctx, bool full)
{
    struct writer *writer = ctx;
    end_first(writer, writer->failure, full);
}

static void on_committed(void *ctx, int status, uint64_t epoch, uint64_t rev)
{
    struct writer *writer = ctx;
    const struct job *job = list_first(&writer->waiting, struct job, node);
    (void)epoch;
    (void)rev;
    if (status == -ESTALE && job->attempts < ATTEMPTS) {
        writer->busy = false;
        writer_run(writer);
    } else if (status == 0 || status == -ESTALE || status == -E2BIG ||
               writer->env.ask_disk == NULL) {
        end_first(writer, status, false);
    } else {
        writer->failure = status;
        writer->env.ask_disk(writer->env.ctx, on_disk_known, writer);
    }
}

/* One step of the first job: true when it is done. */
static bool step(struct writer *writer, struct job *job)
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
    while (!list_empty(&writer->waiting) &&
           step(writer, list_first(&writer->waiting, struct job, node)))
        ;
    writer->running = false;
}

const struct writer_stats *writer_stats(const struct writer *writer)
{
    return &writer->stats;
}

void writer_submit(struct writer *writer, const struct writer_request *request)
{
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        struct err err;
        err_set(&err, -ENOMEM, "out of memory");
        request->done(request->ctx, GRPC_RESOURCE_EXHAUSTED, &err, 0);
        return;
    }
    job->request = *request;
    job->start_ns = clock_boottime_ns();
    list_append(&writer->waiting, &job->node);
    writer_run(writer);
}
