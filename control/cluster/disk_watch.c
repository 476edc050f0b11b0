#include "control/cluster/disk_watch.h"

#include "base/log.h"

#include <stddef.h>
#include <stdint.h>

enum {
    POLL_MS = 5000,
    LEAST_BYTES = 64 * 1024, /* with less, one more change may not fit */
};

static void on_statfs(uv_fs_t *query);

static void start_query(struct disk_watch *watch)
{
    watch->querying = uv_fs_statfs(watch->timer.loop, &watch->query, watch->path, on_statfs) == 0;
}

static void maybe_closed(struct disk_watch *watch)
{
    if (watch->timer_closed && !watch->querying)
        watch->closed(watch->closed_ctx);
}

static void set_full(struct disk_watch *watch, bool full)
{
    if (full && !watch->full)
        log_error("the disk of the data dir is full: changes are refused until there is room",
                  F_STR("folder", watch->path));
    else if (!full && watch->full)
        log_info("the disk of the data dir has room again", F_STR("folder", watch->path));
    watch->full = full;
}

/* Without an answer the disk counts as it did before. */
static void on_statfs(uv_fs_t *query)
{
    struct disk_watch *watch = query->data;
    const uv_statfs_t *info = query->ptr;
    if (query->result == 0 && info != NULL)
        set_full(watch, (uint64_t)info->f_bavail * info->f_bsize < LEAST_BYTES);
    uv_fs_req_cleanup(query);
    watch->querying = false;
    if (watch->closing) {
        maybe_closed(watch);
        return;
    }
    if (watch->again) {
        watch->again = false;
        start_query(watch);
        return;
    }
    void (*answer)(void *ctx, bool full) = watch->answer;
    watch->answer = NULL;
    if (answer != NULL)
        answer(watch->ctx, watch->full);
}

static void on_poll(uv_timer_t *timer)
{
    struct disk_watch *watch = timer->data;
    if (!watch->querying)
        start_query(watch);
}

void disk_watch_init(struct disk_watch *watch, uv_loop_t *loop, const char *path)
{
    *watch = (struct disk_watch){.path = path};
    uv_timer_init(loop, &watch->timer);
    watch->timer.data = watch;
    watch->query.data = watch;
    uv_timer_start(&watch->timer, on_poll, 0, POLL_MS);
}

bool disk_watch_is_full(const struct disk_watch *watch)
{
    return watch->full;
}

void disk_watch_ask(struct disk_watch *watch, void (*answer)(void *ctx, bool full), void *ctx)
{
    watch->answer = answer;
    watch->ctx = ctx;
    watch->again = watch->querying && answer != NULL;
    if (answer != NULL && !watch->querying)
        uv_timer_start(&watch->timer, on_poll, 0, POLL_MS);
}

static void disk_watch_on_closed(uv_handle_t *handle)
{
    struct disk_watch *watch = handle->data;
    watch->timer_closed = true;
    maybe_closed(watch);
}

void disk_watch_close(struct disk_watch *watch, void (*closed)(void *ctx), void *ctx)
{
    watch->closing = true;
    watch->closed = closed;
    watch->closed_ctx = ctx;
    uv_close((uv_handle_t *)&watch->timer, disk_watch_on_closed);
}
