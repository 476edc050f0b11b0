/* start redis-server (parked) -> load the store -> promote it under a new epoch -> follow its
 * changes. A death of Redis, or data that do not follow what is known, leads back to the load; the
 * state stays as it is until then. */
#include "control/cluster/cluster.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "control/cluster/cluster_mark.h"
#include "control/cluster/disk_watch.h"
#include "control/cluster/redis_files.h"
#include "control/cluster/redis_proc.h"
#include "control/cluster/store.h"
#include "control/cluster/store_redis.h"
#include "control/cluster/writer.h"
#include "control/host/datadir.h"
#include "control/host/socket_watch.h"
#include "control/state/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEATHS_MAX = 5, /* of Redis, before the store has ever taken changes */
    SOCKET_S = 30,  /* for Redis to create its socket and be promoted */
};

struct cluster {
    uv_loop_t *loop;
    struct datadir *datadir;
    struct cluster_mark mark;
    uint8_t seed[16];
    struct cluster_events events;
    struct redis_proc *redis;
    struct disk_watch disk;
    struct socket_watch *socket; /* of Redis; NULL before the first promotion */
    uint64_t restarted_ns;       /* when Redis was restarted for its socket */
    struct store *store;
    struct writer *writer;
    struct state *state; /* NULL until loaded */
    bool promoted;       /* the store takes changes */
    bool was_promoted;   /* once in this run */
    bool closing;
    unsigned deaths; /* since data was loaded last */
    uint64_t deaths_total;
};

static const struct state *current_state(void *ctx)
{
    return cluster_state(ctx);
}

static void ask_disk(void *ctx, void (*answer)(void *ctx, bool full), void *answer_ctx)
{
    struct cluster *cluster = ctx;
    disk_watch_ask(&cluster->disk, answer, answer_ctx);
}

/* ---- the store ---- */

static void promote(struct cluster *cluster);

/* Redis creates its socket when it starts, at no other time. */
static bool is_starting(void *ctx)
{
    const struct cluster *cluster = ctx;
    uint64_t passed_ns = clock_boottime_ns() - cluster->restarted_ns;
    return !cluster->promoted && passed_ns < SOCKET_S * NS_PER_SEC;
}

static int restart_for_socket(void *ctx)
{
    struct cluster *cluster = ctx;
    cluster->restarted_ns = clock_boottime_ns();
    redis_proc_kill(cluster->redis);
    return 0;
}

static void watch_socket(struct cluster *cluster)
{
    struct socket_watch_options options = {
        .loop = cluster->loop,
        .path = redis_proc_socket(cluster->redis),
        .any = true,
        .ctx = cluster,
        .busy = is_starting,
        .restore = restart_for_socket,
    };
    int code = cluster->socket != NULL ? 0 : socket_watch_open(&cluster->socket, &options);
    if (code < 0)
        log_warn("cannot watch the socket of Redis", F_STR("error", strerror(-code)));
}

static void on_promoted(void *ctx, int status, uint64_t epoch, uint64_t rev)
{
    struct cluster *cluster = ctx;
    (void)rev;
    if (cluster->closing)
        return;
    cluster->promoted = status == 0;
    if (status == 0) {
        log_debug("the store takes changes", F_INT("epoch", epoch));
        cluster->was_promoted = true;
        watch_socket(cluster);
        cluster->events.promoted(cluster->events.ctx);
    } else if (status == -ESTALE && cluster->state != NULL) {
        promote(cluster);
    } else {
        log_warn("the store could not be promoted; restarting Redis",
                 F_STR("error", strerror(-status)));
        redis_proc_kill(cluster->redis);
    }
}

/* An epoch belongs to one run of this daemon and its Redis, so each of them begins a new one. */
static void promote(struct cluster *cluster)
{
    struct store_done done = {.ctx = cluster, .done = on_promoted};
    store_promote(cluster->store, state_epoch(cluster->state), state_rev(cluster->state),
                  state_epoch(cluster->state) + 1, &done);
}

/* False, and the node fails, if these are not the data of this node's cluster. */
static bool is_ours(struct cluster *cluster, const struct state *state)
{
    const char *held = state_settings(state)->cluster;
    char what[128];
    struct err err;
    if (cluster->mark.id[0] == '\0' || strcmp(held, cluster->mark.id) == 0)
        return true;
    snprintf(what, sizeof what,
             held[0] == '\0' ? "Redis holds no cluster%s" : "Redis holds cluster %s", held);
    cluster_mark_refuse(&cluster->mark, what, &err);
    cluster->events.failed(cluster->events.ctx, &err);
    return false;
}

static void on_loaded(void *ctx, const struct store_image *image)
{
    struct cluster *cluster = ctx;
    struct state *state = NULL;
    const struct state *old = cluster->state;
    if (store_image_to_state(image, cluster->seed, &state) < 0) {
        cluster->events.failed(cluster->events.ctx,
                               &(struct err){-ENOMEM, "out of memory while loading the store"});
        return;
    }
    if (!is_ours(cluster, state)) {
        state_destroy(state);
        return;
    }
    cluster_mark_keep(&cluster->mark, cluster->loop, state_settings(state)->cluster);
    log_debug("loaded the store", F_INT("records", image->record_count), F_INT("rev", image->rev));
    bool gap = old != NULL && (state_epoch(old) != image->epoch || state_rev(old) != image->rev);
    state_destroy(cluster->state);
    cluster->state = state;
    cluster->deaths = 0;
    cluster->events.reloaded(cluster->events.ctx, gap);
    promote(cluster);
}

static void on_changed(void *ctx, const struct record_change *change)
{
    struct cluster *cluster = ctx;
    for (size_t i = 0; i < change->op_count && cluster->state != NULL; i++)
        cluster->events.changing(cluster->events.ctx, &change->ops[i]);
    int code = cluster->state != NULL ? state_apply_change(cluster->state, change) : -ESTALE;
    if (code == 0) {
        cluster_mark_keep(&cluster->mark, cluster->loop, state_settings(cluster->state)->cluster);
        cluster->events.changed(cluster->events.ctx, change);
        return;
    }
    log_error("a change does not follow what this node knows; reloading the store",
              F_INT("rev", change->rev), F_STR("error", strerror(-code)));
    redis_proc_kill(cluster->redis);
}

static void on_lost(void *ctx)
{
    struct cluster *cluster = ctx;
    cluster->promoted = false;
    if (!cluster->closing)
        log_debug("the connection to Redis was lost");
}

static void on_failed(void *ctx, const struct err *err)
{
    struct cluster *cluster = ctx;
    if (cluster->closing)
        return;
    if (err->code == -ETIMEDOUT || err->code == -EPERM) {
        log_warn("restarting Redis", F_STR("error", err->text));
        redis_proc_kill(cluster->redis);
    } else {
        cluster->events.failed(cluster->events.ctx, err);
    }
}

/* ---- Redis ---- */

static void on_redis_died(void *ctx, int status, uint64_t delay_ms)
{
    struct cluster *cluster = ctx;
    struct err err;
    (void)status;
    (void)delay_ms;
    cluster->deaths_total++;
    cluster->promoted = false;
    cluster->restarted_ns = clock_boottime_ns();
    if (cluster->closing)
        return;
    if (!cluster->was_promoted && ++cluster->deaths >= DEATHS_MAX) {
        err_set(&err, -EIO, "redis-server does not start: %s/redis/redis.log says why",
                datadir_path(cluster->datadir));
        cluster->events.failed(cluster->events.ctx, &err);
    }
}

/* Without a helper nothing could be changed until the next start. */
static void on_helper_gone(void *ctx)
{
    struct cluster *cluster = ctx;
    cluster->promoted = false;
    if (!cluster->closing)
        cluster->events.failed(cluster->events.ctx,
                               &(struct err){-EPIPE, "the helper that starts redis-server is gone: "
                                                     "this program ends, so that its supervisor "
                                                     "restarts it"});
}

int cluster_start(struct cluster **out, const struct cluster_options *options, struct err *err)
{
    struct cluster *cluster = calloc(1, sizeof *cluster);
    if (cluster == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    cluster->loop = options->loop;
    cluster->datadir = options->datadir;
    memcpy(cluster->seed, options->seed, sizeof cluster->seed);
    cluster->events = options->events;
    int code = cluster_mark_read(&cluster->mark, options->datadir, err);
    struct redis_proc_options proc = {.launch = {.data_dir = datadir_path(options->datadir),
                                                 .must_have_data = cluster->mark.id[0] != '\0'},
                                      .ctx = cluster,
                                      .died = on_redis_died,
                                      .gone = on_helper_gone};
    if (code == 0)
        code = redis_proc_start(&cluster->redis, options->loop, &proc, err);
    if (code == -ENODATA)
        cluster_mark_refuse(&cluster->mark,
                            "Redis' data are not whole: " REDIS_FILES_MANIFEST " is missing", err);
    if (code < 0) {
        free(cluster);
        return code;
    }
    disk_watch_init(&cluster->disk, cluster->loop, datadir_path(cluster->datadir));
    log_debug("started redis-server", F_INT("pid", redis_proc_pid(cluster->redis)));
    *out = cluster;
    return 0;
}

int cluster_open(struct cluster *cluster, struct err *err)
{
    struct store_events events = {.ctx = cluster,
                                  .loaded = on_loaded,
                                  .changed = on_changed,
                                  .lost = on_lost,
                                  .failed = on_failed};
    struct store_redis_options options = {.socket = redis_proc_socket(cluster->redis),
                                          .user = redis_proc_user(cluster->redis),
                                          .password = redis_proc_password(cluster->redis)};
    struct writer_env env = {.ctx = cluster, .state = current_state, .ask_disk = ask_disk};
    memcpy(env.seed, cluster->seed, sizeof env.seed);
    int code = store_redis_open(&cluster->store, cluster->loop, &options, &events);
    if (code == 0)
        code = writer_create(&cluster->writer, cluster->store, &env);
    return code == 0 ? 0 : err_set_errno(err, code, "the store cannot be opened");
}

/* ---- the end ---- */

static void on_disk_closed(void *ctx)
{
    struct cluster *cluster = ctx;
    struct cluster_events events = cluster->events;
    state_destroy(cluster->state);
    free(cluster);
    events.closed(events.ctx);
}

static void on_mark_written(void *ctx)
{
    struct cluster *cluster = ctx;
    disk_watch_close(&cluster->disk, on_disk_closed, cluster);
}

static void on_redis_stopped(void *ctx)
{
    struct cluster *cluster = ctx;
    cluster_mark_wait(&cluster->mark, on_mark_written, cluster);
}

static void on_store_closed(void *ctx)
{
    struct cluster *cluster = ctx;
    cluster->store = NULL;
    writer_destroy(cluster->writer);
    cluster->writer = NULL;
    redis_proc_stop(cluster->redis, on_redis_stopped, cluster);
}

void cluster_close(struct cluster *cluster)
{
    cluster->closing = true;
    socket_watch_close(cluster->socket);
    cluster->socket = NULL;
    if (cluster->store != NULL)
        store_close(cluster->store, on_store_closed, cluster);
    else
        on_store_closed(cluster);
}

/* ---- what others see ---- */

const struct state *cluster_state(const struct cluster *cluster)
{
    return cluster == NULL ? NULL : cluster->state;
}

struct writer *cluster_writer(const struct cluster *cluster)
{
    return cluster->writer;
}

bool cluster_takes_changes(const struct cluster *cluster)
{
    return cluster->promoted;
}

bool cluster_disk_full(const struct cluster *cluster)
{
    return disk_watch_is_full(&cluster->disk);
}

bool cluster_redis_runs(const struct cluster *cluster)
{
    return redis_proc_pid(cluster->redis) > 0;
}

const char *cluster_missing_socket(const struct cluster *cluster)
{
    return socket_watch_missing(cluster->socket);
}

uint64_t cluster_redis_deaths(const struct cluster *cluster)
{
    return cluster->deaths_total;
}

void cluster_restart_redis(struct cluster *cluster)
{
    redis_proc_kill(cluster->redis);
}
