/*
 * A connection belongs to one accepted transport and holds one HTTP/2 session. Bytes received go
 * through the session, whose events make and end calls; then flush() pulls what the session wants
 * to send, as long as the transport's queue is short, and goes on when that has drained. An answer
 * given later, outside of a received event, flushes by itself.
 * A client that does not read what it asked for is not read from either.
 */
#include "control/rpc/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "control/rpc/server_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    PULL_CHUNK = 32 * 1024,
    CONTROL_FRAMES_MAX = 2000, /* of one connection in CONTROL_WINDOW_MS, and beside them */
    CONTROL_FRAMES_ANSWER = 8, /* for each answer: clients send window updates and pings with it */
    CONTROL_WINDOW_MS = 10000,
    HELD_MAX = 128 * 1024 * 1024, /* bytes of requests and answers that all connections wait with */
    FIRST_CALL_MS = 30000,    /* for a connection to make its first call, for a call's request */
    IDLE_MS = 30 * 60 * 1000, /* without one after that */
};

static void flush(struct rpc_connection *connection);
static void finish_shut_down(struct rpc_server *server);

static void on_flush(uv_timer_t *timer)
{
    struct rpc_server *server = timer->data;
    while (!list_empty(&server->dirty)) {
        struct rpc_connection *connection =
            list_first(&server->dirty, struct rpc_connection, dirty);
        list_remove(&connection->dirty);
        flush(connection);
    }
}

void rpc_connection_flush_later(struct rpc_connection *connection)
{
    struct rpc_server *server = connection->server;
    if (connection->busy || connection->ending || !list_empty(&connection->dirty))
        return;
    list_append(&server->dirty, &connection->dirty);
    uv_timer_start(&server->flusher, on_flush, 0, 0);
}

static void on_sweep(uv_timer_t *timer);

void rpc_connection_note_waiting(struct rpc_connection *connection)
{
    struct rpc_server *server = connection->server;
    if (list_empty(&connection->calls))
        connection->idle_since_ms = uv_now(server->loop);
    if (!server->destroyed && !uv_is_active((uv_handle_t *)&server->sweeper))
        uv_timer_start(&server->sweeper, on_sweep, server->first_call_ms / 3, 0);
}

static void connection_abort(struct rpc_connection *connection, int code)
{
    struct err err;
    err_set_errno(&err, code, "%s", connection->caller.remote);
    connection->ending = true;
    transport_abort(connection->transport, &err);
}

/* Anybody who reaches the port can cause these lines. */
static void tell_closed(const struct rpc_connection *connection, const char *reason)
{
    static struct log_limit limit;
    unsigned left_out;
    if (log_limit_passes(&limit, clock_boottime_ns(), &left_out))
        log_warn("control connection closed", F_STR("reason", reason),
                 F_STR("remote", connection->caller.remote), F_INT("left_out", left_out));
}

static void set_held(struct rpc_connection *connection, size_t held)
{
    connection->server->held += held - connection->held;
    connection->held = held;
}

/* Ends the connection that holds the most. */
static void make_room(struct rpc_server *server)
{
    struct rpc_connection *greatest = NULL;
    list_for_each (node, &server->connections) {
        struct rpc_connection *connection = container_of(node, struct rpc_connection, node);
        if (!connection->ending && (greatest == NULL || connection->held > greatest->held))
            greatest = connection;
    }
    if (greatest == NULL)
        return;
    tell_closed(greatest, "of all that wait with requests and answers it holds the most");
    set_held(greatest, 0);
    connection_abort(greatest, -ENOBUFS);
}

static void count_held(struct rpc_connection *connection)
{
    set_held(connection, h2_server_held(connection->session));
    if (connection->server->held > HELD_MAX)
        make_room(connection->server);
}

/* Sends as much as the transport takes; ends the connection when the session is over. */
static void flush(struct rpc_connection *connection)
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
    transport_set_reading(connection->transport,
                          transport_pending(connection->transport) < TRANSPORT_LOW_WATER ||
                              !h2_server_wants_send(connection->session));
    if (rv < 0) {
        connection_abort(connection, rv);
    } else if (h2_server_is_over(connection->session)) {
        connection->ending = true;
        transport_close(connection->transport);
    } else {
        count_held(connection);
    }
}

/* PING, SETTINGS and resets cost the sender less than us. A busy client has some for each answer.
 */
static bool floods(struct rpc_connection *connection)
{
    uint64_t now = uv_now(connection->server->loop);
    uint64_t frames = h2_server_control_frames(connection->session);
    if (now - connection->window_start_ms > CONTROL_WINDOW_MS) {
        connection->window_start_ms = now;
        connection->window_frames = frames;
        connection->window_answers = connection->answers;
    }
    uint64_t answers = connection->answers - connection->window_answers;
    return frames - connection->window_frames >
           CONTROL_FRAMES_MAX + CONTROL_FRAMES_ANSWER * answers;
}

static void on_received(void *ctx, struct transport_conn *transport, const uint8_t *bytes,
                        size_t len)
{
    struct rpc_connection *connection = ctx;
    (void)transport;
    if (connection->ending)
        return;
    connection->busy = true;
    int rv = h2_server_receive(connection->session, bytes, len);
    connection->busy = false;
    if (rv == 0 && floods(connection)) {
        tell_closed(connection, "too many control frames");
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
    struct rpc_connection *connection = ctx;
    struct rpc_server *server = connection->server;
    (void)transport;
    if (err->code != 0)
        log_debug("control connection lost", F_STR("reason", err->text));
    connection->ending = true;
    set_held(connection, 0);
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

/* Says goodbye to calls whose request does not come, and to connections that have had no call for
 * too long. */
static void on_sweep(uv_timer_t *timer)
{
    struct rpc_server *server = timer->data;
    uint64_t now = uv_now(server->loop);
    bool more = false;
    list_for_each_safe (node, &server->connections) {
        struct rpc_connection *connection = container_of(node, struct rpc_connection, node);
        if (connection->ending)
            continue;
        if (now > server->first_call_ms &&
            rpc_connection_end_late_calls(connection, now - server->first_call_ms))
            more = true;
        uint64_t idle_ms = now - connection->idle_since_ms;
        if (!list_empty(&connection->calls))
            continue;
        if (idle_ms < (connection->used ? server->idle_ms : server->first_call_ms)) {
            more = true;
            continue;
        }
        h2_server_shut_down(connection->session);
        flush(connection);
        if (!connection->ending) {
            connection->ending = true;
            transport_close(connection->transport);
        }
    }
    if (more)
        uv_timer_start(&server->sweeper, on_sweep, server->first_call_ms / 3, 0);
}

static void on_accepted(void *ctx, struct transport_conn *transport)
{
    struct rpc_server *server = ctx;
    struct rpc_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL || server->shutting_down) {
        free(connection);
        transport_abort(transport, NULL);
        return;
    }
    list_init(&connection->calls);
    list_init(&connection->dirty);
    connection->session = h2_server_create(&rpc_call_events, connection, &h2_limits_default);
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
    rpc_connection_note_waiting(connection);
    transport_conn_set_events(transport, &transport_callbacks, connection);
    flush(connection);
}

struct rpc_server *rpc_server_create(uv_loop_t *loop)
{
    struct rpc_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return NULL;
    server->loop = loop;
    server->first_call_ms = FIRST_CALL_MS;
    server->idle_ms = IDLE_MS;
    list_init(&server->connections);
    list_init(&server->dirty);
    uv_timer_init(loop, &server->timer);
    uv_timer_init(loop, &server->flusher);
    uv_timer_init(loop, &server->sweeper);
    server->timer.data = server;
    server->flusher.data = server;
    server->sweeper.data = server;
    server->open_timers = 3;
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

static void abort_connections(struct rpc_server *server)
{
    list_for_each_safe (node, &server->connections) {
        struct rpc_connection *connection = container_of(node, struct rpc_connection, node);
        if (!connection->ending)
            connection_abort(connection, -ECANCELED);
        rpc_connection_end_calls(connection, false, GRPC_UNAVAILABLE, NULL);
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
    uv_close((uv_handle_t *)&server->sweeper, on_timer_closed);
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
        struct rpc_connection *connection = container_of(node, struct rpc_connection, node);
        bool busy = connection->busy;
        connection->busy = true; /* so that the statuses and the GOAWAY leave together */
        rpc_connection_end_calls(connection, true, GRPC_UNAVAILABLE, "the node is shutting down");
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
        struct rpc_connection *connection = container_of(node, struct rpc_connection, node);
        if ((connection->caller.roles & roles) == 0 || strcmp(connection->caller.id, id) != 0 ||
            connection->ending)
            continue;
        rpc_connection_end_calls(connection, false, GRPC_PERMISSION_DENIED, text);
        h2_server_shut_down(connection->session);
        flush(connection);
        if (!connection->ending && !connection->busy) {
            connection->ending = true;
            transport_close(connection->transport);
        }
    }
}

void rpc_server_set_patience(struct rpc_server *server, uint64_t first_call_ms, uint64_t idle_ms)
{
    server->first_call_ms = first_call_ms;
    server->idle_ms = idle_ms;
}

int rpc_server_add(struct rpc_server *server, const struct rpc_method *methods, size_t count,
                   void *ctx)
{
    if (server->table_count == RPC_TABLES_MAX)
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
            for (int code = GRPC_OK; code < RPC_CODES; code++)
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
    if (server->listener_count == RPC_LISTENERS_MAX)
        return err_set(err, -ENOMEM, "at most %d listeners", RPC_LISTENERS_MAX);
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
