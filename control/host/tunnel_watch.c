#include "control/host/tunnel_watch.h"

#include "base/log.h"
#include "tun/route_watch.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { SETTLE_MS = 300 }; /* changes of routes and links come in groups */

struct tunnel_watch {
    const struct tunnel_watch_events *events;
    void *ctx;
    struct route_watch *host; /* NULL: not watched */
    unsigned open;            /* handles */
    bool closing;
    uv_async_t gone;
    uv_timer_t again;
    uv_timer_t settle;
    uv_poll_t changes;
};

static void on_gone(uv_async_t *async)
{
    struct tunnel_watch *watch = async->data;
    if (!watch->closing)
        watch->events->gone(watch->ctx);
}

static void on_again(uv_timer_t *timer)
{
    struct tunnel_watch *watch = timer->data;
    watch->events->again(watch->ctx);
}

static void on_host_settled(uv_timer_t *timer)
{
    struct tunnel_watch *watch = timer->data;
    watch->events->host_changed(watch->ctx);
}

static void on_host_changes(uv_poll_t *poll, int status, int events)
{
    struct tunnel_watch *watch = poll->data;
    (void)status;
    (void)events;
    if (!watch->closing && route_watch_read(watch->host) &&
        (!uv_is_active((uv_handle_t *)&watch->settle) ||
         uv_timer_get_due_in(&watch->settle) > SETTLE_MS))
        (void)uv_timer_start(&watch->settle, on_host_settled, SETTLE_MS, 0);
}

static int watch_host(struct tunnel_watch *watch, uv_loop_t *loop)
{
    int code = route_watch_open(&watch->host, true);
    if (code < 0)
        return code;
    code = uv_poll_init(loop, &watch->changes, route_watch_fd(watch->host));
    if (code < 0) {
        route_watch_close(watch->host);
        watch->host = NULL;
        return code;
    }
    watch->changes.data = watch;
    watch->open++;
    return uv_poll_start(&watch->changes, UV_READABLE, on_host_changes);
}

int tunnel_watch_open(struct tunnel_watch **out, uv_loop_t *loop,
                      const struct tunnel_watch_events *events, void *ctx)
{
    *out = NULL;
    struct tunnel_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return -ENOMEM;
    watch->events = events;
    watch->ctx = ctx;
    int code = uv_async_init(loop, &watch->gone, on_gone);
    if (code < 0) {
        free(watch);
        return code;
    }
    (void)uv_timer_init(loop, &watch->again);
    (void)uv_timer_init(loop, &watch->settle);
    watch->gone.data = watch->again.data = watch->settle.data = watch;
    watch->open = 3;
    code = watch_host(watch, loop);
    if (code < 0)
        log_warn("cannot watch this host's routes: their changes are not followed",
                 F_STR("error", strerror(-code)));
    *out = watch;
    return 0;
}

void tunnel_watch_ring(struct tunnel_watch *watch)
{
    (void)uv_async_send(&watch->gone);
}

void tunnel_watch_look_in(struct tunnel_watch *watch, uint64_t wait_ms)
{
    if (!watch->closing && !uv_is_active((uv_handle_t *)&watch->settle))
        (void)uv_timer_start(&watch->settle, on_host_settled, wait_ms, 0);
}

void tunnel_watch_pause(struct tunnel_watch *watch, uint64_t pause_ms)
{
    (void)uv_timer_start(&watch->again, on_again, pause_ms, 0);
}

static void on_watch_closed(uv_handle_t *handle)
{
    struct tunnel_watch *watch = handle->data;
    if (--watch->open > 0)
        return;
    route_watch_close(watch->host);
    free(watch);
}

void tunnel_watch_close(struct tunnel_watch *watch)
{
    if (watch == NULL)
        return;
    watch->closing = true;
    uv_close((uv_handle_t *)&watch->gone, on_watch_closed);
    uv_close((uv_handle_t *)&watch->again, on_watch_closed);
    uv_close((uv_handle_t *)&watch->settle, on_watch_closed);
    if (watch->host != NULL)
        uv_close((uv_handle_t *)&watch->changes, on_watch_closed);
}
