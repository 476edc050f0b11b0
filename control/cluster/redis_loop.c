#include "control/cluster/redis_loop.h"

#include <errno.h>
#include <hiredis/async.h>
#include <stdlib.h>

struct redis_loop {
    uv_poll_t poll;
    redisAsyncContext *context; /* NULL: gone */
    int events;
};

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct redis_loop *loop = poll->data;
    if (loop->context != NULL && (status != 0 || (events & UV_READABLE) != 0))
        redisAsyncHandleRead(loop->context);
    if (loop->context != NULL && status == 0 && (events & UV_WRITABLE) != 0)
        redisAsyncHandleWrite(loop->context);
}

static void watch(struct redis_loop *loop, int add, int remove)
{
    loop->events = (loop->events | add) & ~remove;
    if (loop->events == 0)
        uv_poll_stop(&loop->poll);
    else
        uv_poll_start(&loop->poll, loop->events, on_poll);
}

static void add_read(void *data)
{
    watch(data, UV_READABLE, 0);
}

static void del_read(void *data)
{
    watch(data, 0, UV_READABLE);
}

static void add_write(void *data)
{
    watch(data, UV_WRITABLE, 0);
}

static void del_write(void *data)
{
    watch(data, 0, UV_WRITABLE);
}

static void redis_loop_on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void cleanup(void *data)
{
    struct redis_loop *loop = data;
    loop->context = NULL;
    uv_close((uv_handle_t *)&loop->poll, redis_loop_on_closed);
}

int redis_loop_attach(redisAsyncContext *context, uv_loop_t *uv)
{
    struct redis_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL)
        return -ENOMEM;
    int rc = uv_poll_init(uv, &loop->poll, context->c.fd);
    if (rc != 0) {
        free(loop);
        return rc;
    }
    loop->poll.data = loop;
    loop->context = context;
    context->ev.data = loop;
    context->ev.addRead = add_read;
    context->ev.delRead = del_read;
    context->ev.addWrite = add_write;
    context->ev.delWrite = del_write;
    context->ev.cleanup = cleanup;
    return 0;
}
