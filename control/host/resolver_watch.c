#include "control/host/resolver_watch.h"

#include "base/log.h"
#include "control/host/resolver.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two watches: one on the folder, for a file that is replaced or created, and one on the file, for
 * writes in place, which the folder's watch does not see of a bind mount or behind a link. The
 * file's watch stays with the inode that it was opened for, so that it is renewed each time. */

enum {
    SETTLE_MS = 500, /* writers write more than once */
    ROUNDS_MAX = 5,  /* in a row, each within ROUND_MS of the previous */
    ROUND_MS = 30000,
};

struct resolver_watch {
    const struct resolver_paths *paths;
    void (*lost)(void *ctx);
    void *ctx;
    uv_fs_event_t folder;
    uv_fs_event_t file;
    uv_timer_t settle;
    unsigned rounds;
    uint64_t round_ms; /* time of the last round */
    unsigned open;     /* handles not closed yet */
};

static void on_settled(uv_timer_t *timer);

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    struct resolver_watch *watch = handle->data;
    const char *own = strrchr(watch->paths->resolv_conf, '/') + 1;
    (void)events;
    (void)status;
    if (handle == &watch->folder && name != NULL && strcmp(name, own) != 0)
        return;
    if (!uv_is_active((uv_handle_t *)&watch->settle))
        (void)uv_timer_start(&watch->settle, on_settled, SETTLE_MS, 0);
}

/* A missing file is no error: the folder's watch reports its creation. */
static void watch_file(struct resolver_watch *watch)
{
    (void)uv_fs_event_stop(&watch->file);
    (void)uv_fs_event_start(&watch->file, on_event, watch->paths->resolv_conf, 0);
}

/* False when another program keeps the file. */
static bool may_write_again(struct resolver_watch *watch)
{
    uint64_t now = uv_now(watch->settle.loop);
    if (watch->rounds > 0 && now - watch->round_ms > ROUND_MS)
        watch->rounds = 0;
    watch->round_ms = now;
    if (watch->rounds == ROUNDS_MAX)
        log_warn("another program insists on the host's resolv.conf and keeps it: names of the "
                 "network resolve only where our DNS server is asked directly");
    return watch->rounds++ < ROUNDS_MAX;
}

static void on_settled(uv_timer_t *timer)
{
    struct resolver_watch *watch = timer->data;
    watch_file(watch);
    if (!resolver_is_lost(watch->paths) || !may_write_again(watch))
        return;
    log_info("something else wrote the host's resolv.conf; ours is written over it");
    watch->lost(watch->ctx);
}

static void on_closed(uv_handle_t *handle)
{
    struct resolver_watch *watch = handle->data;
    if (--watch->open == 0)
        free(watch);
}

int resolver_watch_open(struct resolver_watch **out, uv_loop_t *loop,
                        const struct resolver_paths *paths, void (*lost)(void *ctx), void *ctx)
{
    char folder[PATH_MAX];
    const char *path = paths->resolv_conf;
    *out = NULL;
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path || (size_t)(slash - path) >= sizeof folder)
        return -EINVAL;
    struct resolver_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return -ENOMEM;
    *watch = (struct resolver_watch){.paths = paths, .lost = lost, .ctx = ctx, .open = 3};
    (void)uv_fs_event_init(loop, &watch->folder);
    (void)uv_fs_event_init(loop, &watch->file);
    (void)uv_timer_init(loop, &watch->settle);
    watch->folder.data = watch->file.data = watch->settle.data = watch;
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
    int code = uv_fs_event_start(&watch->folder, on_event, folder, 0);
    if (code < 0) {
        resolver_watch_close(watch);
        return code;
    }
    watch_file(watch);
    *out = watch;
    return 0;
}

void resolver_watch_close(struct resolver_watch *watch)
{
    if (watch == NULL)
        return;
    uv_close((uv_handle_t *)&watch->folder, on_closed);
    uv_close((uv_handle_t *)&watch->file, on_closed);
    uv_close((uv_handle_t *)&watch->settle, on_closed);
}
