/* libmicrohttpd without threads of its own: the loop watches its epoll descriptor, and a timer
 * drives its timeouts. */
#include "control/daemon/metrics_server.h"

#include "base/log.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 16,
    CONNECTION_MEMORY = 16 * 1024,
    IDLE_S = 10,
    BACKLOG = 16,
    FRESH_MS = 1000, /* an answer is reused for this long */
};

struct metrics_server {
    uv_poll_t poll;
    uv_timer_t timer;
    unsigned handles;
    struct MHD_Daemon *daemon;
    void (*write)(void *ctx, struct metrics_text *text);
    void *ctx;
    struct buffer body;
    uint64_t body_ms; /* written at; 0: never */
};

static void serve(struct metrics_server *server);

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    serve(poll->data);
}

static void on_timer(uv_timer_t *timer)
{
    serve(timer->data);
}

static void serve(struct metrics_server *server)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;
    /* At its connection limit MHD stops listening. The run after one that freed a connection
     * listens again. */
    (void)MHD_run(server->daemon);
    (void)MHD_run(server->daemon);
    if (MHD_get_timeout(server->daemon, &wait_ms) == MHD_YES)
        (void)uv_timer_start(&server->timer, on_timer, wait_ms, 0);
    else
        (void)uv_timer_stop(&server->timer);
}

static void refresh(struct metrics_server *server)
{
    uint64_t now = uv_now(server->poll.loop) + 1;
    if (server->body_ms != 0 && now - server->body_ms < FRESH_MS)
        return;
    struct metrics_text text = {.out = &server->body};
    buffer_clear(&server->body);
    server->write(server->ctx, &text);
    server->body_ms = now;
}

static enum MHD_Result reply(struct MHD_Connection *connection, unsigned status, const void *body,
                             size_t len, const char *type)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(len, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
    if (response == NULL)
        return MHD_NO;
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result reply_error(struct MHD_Connection *connection, unsigned status,
                                   const char *text)
{
    return reply(connection, status, text, strlen(text), "text/plain");
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_len, void **state)
{
    static int begun;
    struct metrics_server *server = ctx;
    (void)version;
    (void)upload;
    if (*state == NULL) { /* the headers alone; MHD calls again when the request is complete */
        *state = &begun;
        return MHD_YES;
    }
    if (*upload_len > 0) {
        *upload_len = 0;
        return MHD_YES;
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return reply_error(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET is served here\n");
    if (strcmp(url, "/metrics") != 0)
        return reply_error(connection, MHD_HTTP_NOT_FOUND, "see /metrics\n");
    refresh(server);
    if (buffer_failed(&server->body)) {
        server->body_ms = 0;
        buffer_fini(&server->body);
        buffer_init(&server->body);
        return reply_error(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
    }
    return reply(connection, MHD_HTTP_OK, buffer_data(&server->body), buffer_len(&server->body),
                 "text/plain; version=0.0.4; charset=utf-8");
}

static int listen_on(const union endpoint *address, int *out)
{
    static const int on = 1;
    int fd = socket(address->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, &address->sa, endpoint_len(address)) < 0 || listen(fd, BACKLOG) < 0) {
        int code = -errno;
        (void)close(fd);
        return code;
    }
    *out = fd;
    return 0;
}

static int start_daemon(struct metrics_server *server, int fd)
{
    server->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, server,
                                      MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                                      (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                                      (unsigned)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                      (size_t)CONNECTION_MEMORY, MHD_OPTION_END);
    if (server->daemon == NULL) {
        (void)close(fd);
        return -ENOMEM;
    }
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct metrics_server *server = handle->data;
    if (--server->handles > 0)
        return;
    MHD_stop_daemon(server->daemon);
    buffer_fini(&server->body);
    free(server);
}

static int watch(struct metrics_server *server, uv_loop_t *loop)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL || info->epoll_fd < 0)
        return -EIO;
    int code = uv_poll_init(loop, &server->poll, info->epoll_fd);
    if (code < 0)
        return code;
    (void)uv_timer_init(loop, &server->timer);
    server->handles = 2;
    server->poll.data = server;
    server->timer.data = server;
    return uv_poll_start(&server->poll, UV_READABLE, on_poll);
}

int metrics_server_open(struct metrics_server **out, uv_loop_t *loop, const union endpoint *address,
                        void (*write)(void *ctx, struct metrics_text *text), void *ctx,
                        struct err *err)
{
    char at[ENDPOINT_TEXT];
    int fd = -1;
    *out = NULL;
    struct metrics_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    server->write = write;
    server->ctx = ctx;
    buffer_init(&server->body);
    endpoint_format(address, at);
    int code = listen_on(address, &fd);
    if (code == 0)
        code = start_daemon(server, fd);
    if (code == 0)
        code = watch(server, loop);
    if (code == 0) {
        *out = server;
        return 0;
    }
    if (server->handles > 0) {
        metrics_server_close(server);
    } else {
        if (server->daemon != NULL)
            MHD_stop_daemon(server->daemon);
        free(server);
    }
    if (code == -EADDRINUSE)
        return err_set(err, code,
                       "metrics: %s is taken by another program (option "
                       "--metrics-address)",
                       at);
    return err_set_errno(err, code, "metrics: cannot listen on %s (option --metrics-address)", at);
}

void metrics_server_close(struct metrics_server *server)
{
    if (server == NULL)
        return;
    uv_close((uv_handle_t *)&server->poll, on_closed);
    uv_close((uv_handle_t *)&server->timer, on_closed);
}
