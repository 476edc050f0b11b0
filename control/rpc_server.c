/*
 * A connection belongs to one accepted transport and holds one HTTP/2 session. Bytes received go
 * through the session, whose events make and end calls; then flush() pulls what the session wants
 * to send, as long as the transport's queue is short, and goes on when that has drained. An answer
 * given later, outside of a received event, flushes by itself.
 *
 * A call ends once, in call_end(): answered by its handler, refused, past its deadline, or because
 * its stream has gone. In all but the first case the handler hears of it through `cancelled`
 * before.
 */
#include "control/rpc_server.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "proto/h2_server.h"
#include "proto/strings.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PULL_CHUNK = 32 * 1024,
    TABLES_MAX = 16,
    LISTENERS_MAX = 16,
    CONTROL_FRAMES_MAX = 2000, /* of one connection in CONTROL_WINDOW_MS */
    CONTROL_WINDOW_MS = 10000,
    CODES = GRPC_UNAUTHENTICATED + 1,
};

struct method_table {
    const struct rpc_method *methods;
    size_t count;
    void *ctx;
    uint64_t (*ended)[CODES]; /* calls, by method and code */
};

struct rpc_server {
    uv_loop_t *loop;
    struct method_table tables[TABLES_MAX];
    size_t table_count;
    uint64_t unknown; /* calls of methods that there are not */
    struct transport_listener *listeners[LISTENERS_MAX];
    size_t listener_count;
    struct list connections;
    struct list dirty; /* connections to flush on the next round */
    uv_timer_t timer;  /* ends a slow shutdown */
    uv_timer_t flusher;
    unsigned open_timers;
    bool destroyed;
    bool shutting_down;
    void (*done)(void *ctx);
    void *done_ctx;
};

struct connection {
    struct list node;
    struct list dirty; /* among the server's, when it waits for a flush */
    struct list calls;
    struct rpc_server *server;
    struct transport_conn *transport;
    struct h2_server *session;
    struct transport_caller caller;
    bool busy;   /* inside the session; flushing waits */
    bool ending; /* transport_close was called */
    uint64_t window_start_ms;
    uint64_t window_frames;
};

struct rpc_call {
    struct list node;       /* among its connection's */
    struct h2_call *stream; /* NULL once the stream has ended or has its status */
    struct connection *connection;
    const struct rpc_method *method;
    void *method_ctx;
    void *user;
    uv_timer_t deadline;
    bool has_deadline;
    bool requested; /* the one request of a non-bidi call has come */
    bool answered;  /* the handler has had its last word, or `cancelled` has run */
    bool waiting;   /* the handler was told that the call is not writable */
    void (*cancelled)(void *ctx, struct rpc_call *call);
    void *cancelled_ctx;
    void (*writable)(void *ctx, struct rpc_call *call);
    void *writable_ctx;
};

static void flush(struct connection *connection);
static void finish_shut_down(struct rpc_server *server);

static void on_flush(uv_timer_t *timer)
{
    struct rpc_server *server = timer->data;
    while (!list_empty(&server->dirty)) {
        struct connection *connection = list_first(&server->dirty, struct connection, dirty);
        list_remove(&connection->dirty);
        flush(connection);
    }
}

static void flush_later(struct connection *connection)
{
    struct rpc_server *server = connection->server;
    if (connection->busy || connection->ending || !list_empty(&connection->dirty))
        return;
    list_append(&server->dirty, &connection->dirty);
    uv_timer_start(&server->flusher, on_flush, 0, 0);
}

static void on_deadline_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void call_free(struct rpc_call *call)
{
    list_remove(&call->node);
    if (call->has_deadline)
        uv_close((uv_handle_t *)&call->deadline, on_deadline_closed);
    else
        free(call);
}

/* The handler's part ends without its answer. */
static void call_cancel(struct rpc_call *call)
{
    if (call->answered)
        return;
    call->answered = true;
    if (call->cancelled != NULL)
        call->cancelled(call->cancelled_ctx, call);
}

static void count_end(struct rpc_server *server, const struct rpc_method *method,
                      enum grpc_code code)
{
    for (size_t t = 0; t < server->table_count; t++) {
        struct method_table *table = &server->tables[t];
        if (method >= table->methods && method < table->methods + table->count)
            table->ended[method - table->methods][code]++;
    }
}

/* Ends the call at the stream too; the caller does not touch it afterwards. */
static void call_end(struct rpc_call *call, enum grpc_code code, const char *text)
{
    struct connection *connection = call->connection;
    struct h2_call *stream = call->stream;
    call->answered = true;
    call->stream = NULL;
    count_end(connection->server, call->method, code);
    if (stream != NULL) {
        h2_call_set_user(stream, NULL);
        h2_call_finish(stream, code, text);
    }
    call_free(call);
    if (stream != NULL)
        flush_later(connection);
}

static void on_deadline(uv_timer_t *timer)
{
    struct rpc_call *call = timer->data;
    call_cancel(call);
    call_end(call, GRPC_DEADLINE_EXCEEDED, "the deadline has passed");
}

static const struct rpc_method *find_method(const struct rpc_server *server, const char *path,
                                            void **ctx)
{
    for (size_t t = 0; t < server->table_count; t++) {
        const struct method_table *table = &server->tables[t];
        for (size_t m = 0; m < table->count; m++) {
            if (strcmp(table->methods[m].path, path) == 0) {
                *ctx = table->ctx;
                return &table->methods[m];
            }
        }
    }
    return NULL;
}

static void start_deadline(struct rpc_call *call, uint64_t timeout_ns)
{
    if (timeout_ns == UINT64_MAX)
        return;
    uv_timer_init(call->connection->server->loop, &call->deadline);
    call->deadline.data = call;
    call->has_deadline = true;
    uv_timer_start(&call->deadline, on_deadline, timeout_ns / NS_PER_MS + 1, 0);
}

static void tell_refused(const struct connection *connection, const struct rpc_method *method,
                         const char *reason)
{
    static struct log_limit limit;
    char message[128];
    unsigned left_out;
    snprintf(message, sizeof message, "call refused: %s", reason);
    if (log_limit_passes(&limit, clock_boottime_ns(), &left_out))
        log_warn(message, F_STR("remote", connection->caller.remote), F_STR("method", method->path),
                 F_INT("left_out", left_out));
}

static void on_started(void *ctx, struct h2_call *stream)
{
    struct connection *connection = ctx;
    void *method_ctx = NULL;
    const struct rpc_method *method =
        find_method(connection->server, h2_call_path(stream), &method_ctx);
    if (method == NULL) {
        connection->server->unknown++;
        h2_call_finish(stream, GRPC_UNIMPLEMENTED, "no such method");
        return;
    }
    if ((method->roles & connection->caller.roles) == 0) {
        tell_refused(connection, method, "wrong role");
        count_end(connection->server, method, GRPC_PERMISSION_DENIED);
        h2_call_finish(stream, GRPC_PERMISSION_DENIED, "this role may not call this method");
        return;
    }
    struct rpc_call *call = calloc(1, sizeof *call);
    if (call == NULL) {
        h2_call_finish(stream, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    call->stream = stream;
    call->connection = connection;
    list_append(&connection->calls, &call->node);
    call->method = method;
    call->method_ctx = method_ctx;
    h2_call_set_user(stream, call);
    start_deadline(call, h2_call_timeout_ns(stream));
}

static void on_message(void *ctx, struct h2_call *stream, const uint8_t *bytes, size_t len)
{
    struct rpc_call *call = h2_call_user(stream);
    (void)ctx;
    if (call == NULL || call->answered)
        return;
    const struct rpc_method *method = call->method;
    if (call->requested && method->kind != RPC_BIDI_STREAM) {
        call_cancel(call);
        call_end(call, GRPC_INVALID_ARGUMENT, "this method takes one request message");
        return;
    }
    call->requested = true;
    ProtobufCMessage *request = protobuf_c_message_unpack(method->request, NULL, len, bytes);
    if (request == NULL) {
        call_cancel(call);
        call_end(call, GRPC_INVALID_ARGUMENT, "the request is not a valid message of its type");
        return;
    }
    if (strings_are_whole(method->request, bytes, len)) {
        method->handle(call->method_ctx, call, request);
    } else {
        call_cancel(call);
        call_end(call, GRPC_INVALID_ARGUMENT, "a text in the request has a NUL in it");
    }
    protobuf_c_message_free_unpacked(request, NULL);
}

static void on_half_closed(void *ctx, struct h2_call *stream)
{
    struct rpc_call *call = h2_call_user(stream);
    (void)ctx;
    if (call == NULL || call->answered)
        return;
    if (call->method->kind == RPC_BIDI_STREAM) {
        call_cancel(call);
        call_end(call, GRPC_OK, NULL);
    } else if (!call->requested) {
        call_end(call, GRPC_INVALID_ARGUMENT, "the request message is missing");
    }
}

static void on_writable(void *ctx, struct h2_call *stream)
{
    struct rpc_call *call = h2_call_user(stream);
    (void)ctx;
    if (call == NULL || call->answered || !call->waiting)
        return;
    call->waiting = false;
    if (call->writable != NULL)
        call->writable(call->writable_ctx, call);
}

static void on_closed(void *ctx, struct h2_call *stream)
{
    struct rpc_call *call = h2_call_user(stream);
    (void)ctx;
    if (call == NULL)
        return;
    call->stream = NULL;
    call_cancel(call);
    call_end(call, GRPC_CANCELLED, NULL);
}

static const struct h2_server_events session_events = {
    .started = on_started,
    .message = on_message,
    .half_closed = on_half_closed,
    .writable = on_writable,
    .closed = on_closed,
};

static void connection_abort(struct connection *connection, int code)
{
    struct err err;
    err_set_errno(&err, code, "%s", connection->caller.remote);
    connection->ending = true;
    transport_abort(connection->transport, &err);
}

/* Sends as much as the transport takes; ends the connection when the session is over. */
static void flush(struct connection *connection)
{
    struct buffer out;
    int rv = 0;
    if (connection->busy || connection->ending)
        return;
    connection->busy = true;
    buffer_init(&out);
    while (rv == 0 && transport_pending(connection->transport) < TRANSPORT_LOW_WATER &&
           h2_server_wants_send(connection->session)) {
        rv = h2_server_pull(connection->session, &out, PULL_CHUNK);
        size_t len = buffer_len(&out);
        if (rv < 0 || len == 0)
            break;
        rv = transport_send(connection->transport, buffer_data(&out), len);
        buffer_clear(&out);
    }
    buffer_fini(&out);
    connection->busy = false;
    if (rv < 0) {
        connection_abort(connection, rv);
    } else if (h2_server_is_over(connection->session)) {
        connection->ending = true;
        transport_close(connection->transport);
    }
}

/* PING, SETTINGS and resets cost the sender less than us. */
static bool floods(struct connection *connection)
{
    uint64_t now = uv_now(connection->server->loop);
    uint64_t frames = h2_server_control_frames(connection->session);
    if (now - connection->window_start_ms > CONTROL_WINDOW_MS) {
        connection->window_start_ms = now;
        connection->window_frames = frames;
    }
    return frames - connection->window_frames > CONTROL_FRAMES_MAX;
}

static void on_received(void *ctx, struct transport_conn *transport, const uint8_t *bytes,
                        size_t len)
{
    struct connection *connection = ctx;
    (void)transport;
    if (connection->ending)
        return;
    connection->busy = true;
    int rv = h2_server_receive(connection->session, bytes, len);
    connection->busy = false;
    if (rv == 0 && floods(connection)) {
        log_warn("connection closed: too many control frames",
                 F_STR("remote", connection->caller.remote));
        rv = -ECONNABORTED;
    }
    flush(connection);
    if (rv < 0 && !connection->ending) {
        connection->ending = true;
        transport_close(connection->transport);
    }
}

static void on_drained(void *ctx, struct transport_conn *transport)
{
    (void)transport;
    flush(ctx);
}

static void on_transport_closed(void *ctx, struct transport_conn *transport, const struct err *err)
{
    struct connection *connection = ctx;
    struct rpc_server *server = connection->server;
    (void)transport;
    if (err->code != 0)
        log_debug("control connection lost", F_STR("reason", err->text));
    connection->ending = true;
    list_remove(&connection->node);
    list_remove(&connection->dirty);
    h2_server_destroy(connection->session);
    free(connection);
    if (list_empty(&server->connections))
        finish_shut_down(server);
}

static const struct transport_events transport_callbacks = {
    .received = on_received,
    .drained = on_drained,
    .closed = on_transport_closed,
};

static void on_accepted(void *ctx, struct transport_conn *transport)
{
    struct rpc_server *server = ctx;
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL || server->shutting_down) {
        free(connection);
        transport_abort(transport, NULL);
        return;
    }
    list_init(&connection->calls);
    list_init(&connection->dirty);
    connection->session = h2_server_create(&session_events, connection, &h2_limits_default);
    if (connection->session == NULL) {
        free(connection);
        transport_abort(transport, NULL);
        return;
    }
    connection->server = server;
    connection->transport = transport;
    connection->caller = *transport_conn_caller(transport);
    connection->window_start_ms = uv_now(server->loop);
    list_append(&server->connections, &connection->node);
    transport_conn_set_events(transport, &transport_callbacks, connection);
    flush(connection);
}

struct rpc_server *rpc_server_create(uv_loop_t *loop)
{
    struct rpc_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return NULL;
    server->loop = loop;
    list_init(&server->connections);
    list_init(&server->dirty);
    uv_timer_init(loop, &server->timer);
    uv_timer_init(loop, &server->flusher);
    server->timer.data = server;
    server->flusher.data = server;
    server->open_timers = 2;
    return server;
}

static void free_when_over(struct rpc_server *server)
{
    if (!server->destroyed || server->open_timers > 0 || !list_empty(&server->connections))
        return;
    for (size_t t = 0; t < server->table_count; t++)
        free(server->tables[t].ended);
    free(server);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct rpc_server *server = handle->data;
    server->open_timers--;
    free_when_over(server);
}

static void stop_listening(struct rpc_server *server)
{
    for (size_t i = 0; i < server->listener_count; i++)
        transport_listener_close(server->listeners[i]);
    server->listener_count = 0;
}

/* Ends the connection's calls (only the streams, if so told) with a status. */
static void end_calls(struct connection *connection, bool streams_only, enum grpc_code code,
                      const char *text)
{
    list_for_each_safe (node, &connection->calls) {
        struct rpc_call *call = container_of(node, struct rpc_call, node);
        if (streams_only && call->method->kind == RPC_UNARY)
            continue;
        call_cancel(call);
        call_end(call, code, text);
    }
}

static void abort_connections(struct rpc_server *server)
{
    list_for_each_safe (node, &server->connections) {
        struct connection *connection = container_of(node, struct connection, node);
        if (!connection->ending)
            connection_abort(connection, -ECANCELED);
        end_calls(connection, false, GRPC_UNAVAILABLE, NULL);
    }
}

void rpc_server_destroy(struct rpc_server *server)
{
    if (server == NULL)
        return;
    stop_listening(server);
    server->shutting_down = true;
    server->destroyed = true;
    server->done = NULL;
    abort_connections(server);
    uv_close((uv_handle_t *)&server->timer, on_timer_closed);
    uv_close((uv_handle_t *)&server->flusher, on_timer_closed);
}

/* Runs when the last connection has gone. */
static void finish_shut_down(struct rpc_server *server)
{
    void (*done)(void *ctx) = server->done;
    server->done = NULL;
    if (server->destroyed) {
        free_when_over(server);
        return;
    }
    if (done == NULL)
        return;
    uv_timer_stop(&server->timer);
    done(server->done_ctx);
}

static void on_shut_down_timer(uv_timer_t *timer)
{
    struct rpc_server *server = timer->data;
    if (list_empty(&server->connections))
        finish_shut_down(server);
    else
        abort_connections(server);
}

void rpc_server_shut_down(struct rpc_server *server, uint64_t timeout_ms, void (*done)(void *ctx),
                          void *ctx)
{
    stop_listening(server);
    server->shutting_down = true;
    server->done = done;
    server->done_ctx = ctx;
    list_for_each_safe (node, &server->connections) {
        struct connection *connection = container_of(node, struct connection, node);
        bool busy = connection->busy;
        connection->busy = true; /* so that the statuses and the GOAWAY leave together */
        end_calls(connection, true, GRPC_UNAVAILABLE, "the node is shutting down");
        h2_server_shut_down(connection->session);
        connection->busy = busy;
        flush(connection);
    }
    /* `done` never runs before this returns */
    uv_timer_start(&server->timer, on_shut_down_timer,
                   list_empty(&server->connections) ? 0 : timeout_ms, 0);
}

void rpc_server_disconnect(struct rpc_server *server, unsigned roles, const char *id,
                           const char *text)
{
    list_for_each_safe (node, &server->connections) {
        struct connection *connection = container_of(node, struct connection, node);
        if ((connection->caller.roles & roles) == 0 || strcmp(connection->caller.id, id) != 0 ||
            connection->ending)
            continue;
        end_calls(connection, false, GRPC_PERMISSION_DENIED, text);
        h2_server_shut_down(connection->session);
        flush(connection);
        if (!connection->ending && !connection->busy) {
            connection->ending = true;
            transport_close(connection->transport);
        }
    }
}

int rpc_server_add(struct rpc_server *server, const struct rpc_method *methods, size_t count,
                   void *ctx)
{
    if (server->table_count == TABLES_MAX)
        return -ENOMEM;
    struct method_table table = {methods, count, ctx, calloc(count + 1, sizeof *table.ended)};
    if (table.ended == NULL)
        return -ENOMEM;
    server->tables[server->table_count++] = table;
    return 0;
}

bool rpc_server_has_service(const struct rpc_server *server, const char *service)
{
    size_t len = strlen(service);
    for (size_t t = 0; t < server->table_count; t++)
        for (size_t m = 0; m < server->tables[t].count; m++) {
            const char *path = server->tables[t].methods[m].path;
            if (strncmp(path + 1, service, len) == 0 && path[1 + len] == '/')
                return true;
        }
    return false;
}

void rpc_server_each_count(const struct rpc_server *server,
                           void (*each)(void *ctx, const char *method, enum grpc_code code,
                                        uint64_t count),
                           void *ctx)
{
    for (size_t t = 0; t < server->table_count; t++)
        for (size_t m = 0; m < server->tables[t].count; m++)
            for (int code = GRPC_OK; code < CODES; code++)
                if (server->tables[t].ended[m][code] > 0)
                    each(ctx, server->tables[t].methods[m].path, (enum grpc_code)code,
                         server->tables[t].ended[m][code]);
    if (server->unknown > 0)
        each(ctx, "unknown", GRPC_UNIMPLEMENTED, server->unknown);
}

size_t rpc_server_connection_count(const struct rpc_server *server)
{
    size_t count = 0;
    list_for_each_safe (at, &server->connections) {
        (void)at;
        count++;
    }
    return count;
}

int rpc_server_listen(struct rpc_server *server, const struct address *address,
                      struct transport_tls *tls, uint32_t fwmark,
                      const struct transport_limits *limits, struct err *err)
{
    if (server->listener_count == LISTENERS_MAX)
        return err_set(err, -ENOMEM, "at most %d listeners", LISTENERS_MAX);
    struct transport_listener **listener = &server->listeners[server->listener_count];
    int rv = transport_listen(listener, server->loop, address, tls, fwmark, limits, on_accepted,
                              server, err);
    if (rv == 0)
        server->listener_count++;
    return rv;
}

uint16_t rpc_server_port(const struct rpc_server *server)
{
    for (size_t i = 0; i < server->listener_count; i++) {
        uint16_t port = transport_listener_port(server->listeners[i]);
        if (port != 0)
            return port;
    }
    return 0;
}

const struct transport_caller *rpc_call_caller(const struct rpc_call *call)
{
    return &call->connection->caller;
}

const char *rpc_call_metadata(const struct rpc_call *call, const char *name)
{
    return call->stream == NULL ? NULL : h2_call_metadata(call->stream, name);
}

void *rpc_call_user(const struct rpc_call *call)
{
    return call->user;
}

void rpc_call_set_user(struct rpc_call *call, void *user)
{
    call->user = user;
}

void rpc_call_on_cancel(struct rpc_call *call, void (*cancelled)(void *ctx, struct rpc_call *call),
                        void *ctx)
{
    call->cancelled = cancelled;
    call->cancelled_ctx = ctx;
}

/* Queues a message without sending it yet. */
static int queue_message(struct rpc_call *call, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    if (len > GRPC_MESSAGE_MAX)
        return -EMSGSIZE;
    uint8_t *packed = malloc(len > 0 ? len : 1);
    if (packed == NULL)
        return -ENOMEM;
    protobuf_c_message_pack(message, packed);
    int rv = h2_call_send(call->stream, packed, len);
    free(packed);
    return rv;
}

void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *response)
{
    int rv = queue_message(call, response);
    if (rv == 0)
        call_end(call, GRPC_OK, NULL);
    else if (rv == -EMSGSIZE)
        call_end(call, GRPC_RESOURCE_EXHAUSTED, "the response is larger than 4 MiB");
    else
        call_end(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
}

void rpc_call_finish(struct rpc_call *call, enum grpc_code code, const char *text)
{
    call_end(call, code, text);
}

void rpc_call_fail(struct rpc_call *call, enum grpc_code code, const char *format, ...)
{
    char text[GRPC_STATUS_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    call_end(call, code, text);
}

void rpc_call_deny(struct rpc_call *call, const char *reason, const char *text)
{
    tell_refused(call->connection, call->method, reason);
    call_end(call, GRPC_PERMISSION_DENIED, text);
}

enum grpc_code rpc_code_from_errno(int code)
{
    switch (code) {
    case -EINVAL:
    case -EMSGSIZE:
    case -EAFNOSUPPORT:
        return GRPC_INVALID_ARGUMENT;
    case -ENOENT:
    case -ESRCH:
        return GRPC_NOT_FOUND;
    case -EEXIST:
    case -EADDRINUSE:
        return GRPC_ALREADY_EXISTS;
    case -EPERM:
    case -EACCES:
        return GRPC_PERMISSION_DENIED;
    case -EAGAIN:
    case -EIO:
    case -EPIPE:
    case -ECONNREFUSED:
    case -ECONNRESET:
    case -ENOTCONN:
    case -EBUSY:
        return GRPC_UNAVAILABLE;
    case -ETIMEDOUT:
        return GRPC_DEADLINE_EXCEEDED;
    case -ENOMEM:
    case -ENOSPC:
    case -ENOBUFS:
        return GRPC_RESOURCE_EXHAUSTED;
    case -ECANCELED:
        return GRPC_CANCELLED;
    case -ENOTSUP:
    case -ENOSYS:
        return GRPC_UNIMPLEMENTED;
    case -EBADFD:
    case -ESTALE:
        return GRPC_FAILED_PRECONDITION;
    default:
        return GRPC_INTERNAL;
    }
}

void rpc_call_fail_err(struct rpc_call *call, const struct err *err)
{
    call_end(call, rpc_code_from_errno(err->code), err->text);
}

int rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct connection *connection = call->connection;
    int rv = queue_message(call, message);
    if (rv == 0)
        flush_later(connection);
    return rv;
}

size_t rpc_call_pending(const struct rpc_call *call)
{
    return h2_call_pending(call->stream);
}

void rpc_call_cut_off(struct rpc_call *call, enum grpc_code code, const char *text)
{
    h2_call_drop_queue(call->stream);
    call_end(call, code, text);
}

bool rpc_call_is_writable(struct rpc_call *call)
{
    call->waiting = h2_call_pending(call->stream) > 0;
    return !call->waiting;
}

void rpc_call_on_writable(struct rpc_call *call, void (*writable)(void *ctx, struct rpc_call *call),
                          void *ctx)
{
    call->writable = writable;
    call->writable_ctx = ctx;
}
