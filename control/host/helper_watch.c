#include "control/host/helper_watch.h"

#include "control/host/helper.h"

#include <sys/pidfd.h>
#include <unistd.h>

static void on_helper_ended(uv_poll_t *poll, int status, int events)
{
    struct helper_watch *watch = poll->data;
    (void)status;
    (void)events;
    (void)uv_poll_stop(poll);
    watch->ended(watch->ctx);
}

void helper_watch_open(struct helper_watch *watch, uv_loop_t *loop, const struct helper *helper,
                       void (*ended)(void *ctx), void *ctx)
{
    int fd = pidfd_open(helper->pid, 0);
    if (fd < 0)
        return;
    if (uv_poll_init(loop, &watch->poll, fd) < 0) {
        close(fd);
        return;
    }
    watch->fd = fd;
    watch->ctx = ctx;
    watch->ended = ended;
    watch->poll.data = watch;
    (void)uv_poll_start(&watch->poll, UV_READABLE, on_helper_ended);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct helper_watch *watch = handle->data;
    close(watch->fd);
    watch->fd = 0;
}

void helper_watch_close(struct helper_watch *watch)
{
    if (watch->fd > 0)
        uv_close((uv_handle_t *)&watch->poll, on_poll_closed);
}
