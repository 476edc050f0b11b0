/* Listeners hand authenticated transports to connections, whose sessions hand streams to calls. The
 * server keeps what they share, sweeps idle ones, and ends all of them. */
#include "control/rpc/server.h"

#include "control/rpc/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    RPC_LISTENERS_MAX = 16,
    FIRST_CALL_MS = 30000,    /* for a connection's first call, and for a call's request */
    IDLE_MS = 30 * 60 * 1000, /* without a call after that */
};

struct rpc_server {
    struct rpc_methods methods;
    struct rpc_connections connections;
    struct transport_listener *listeners[RPC_LISTENERS_MAX];
    struct address addresses[RPC_LISTENERS_MAX]; /* of the listeners */
    size_t listener_count;
    uv_timer_t timer;   /* ends a slow shutdown */
    uv_timer_t sweeper; /* runs while a connection has no calls */
    uint64_t first_call_ms;
    uint64_t idle_ms;
    unsigned open_timers;
    bool destroyed;
    bool shutting_down;
    void (*done)(void *ctx);
    void *done_ctx;
};

static void start_sweeper(struct rpc_server *server);

/* True when the connection must be looked at again. */
static bool sweep_connection(struct rpc_server *server, struct rpc_connection *connection,
                             uint64_t now_ms)
{
    if (connection->ending)
        return false;
    bool more = now_ms > server->first_call_ms &&
                rpc_calls_end_late(connection, now_ms - server->first_call_ms);
    if (!list_empty(&connection->calls))
        return more;
    uint64_t patience_ms = connection->used ? server->idle_ms : server->first_call_ms;
    if (now_ms - connection->idle_since_ms < patience_ms)
        return true;
    h2_server_shut_down(connection->session);
    rpc_connection_flush(connection);
    rpc_connection_close(connection);
    return false;
}

/* Ends calls whose request does not come, and connections that have had no call for too long. */
static void on_sweep(uv_timer_t *timer)
{
    struct rpc_server *server = timer->data;
    bool more = false;
    list_for_each_safe (node, &server->connections.list)
        if (sweep_connection(server, container_of(node, struct rpc_connection, node),
                             uv_now(timer->loop)))
            more = true;
    if (more)
        start_sweeper(server);
}

static void start_sweeper(struct rpc_server *server)
{
    if (!server->destroyed && !uv_is_active((uv_handle_t *)&server->sweeper))
        uv_timer_start(&server->sweeper, on_sweep, server->first_call_ms / 3, 0);
}

static void server_accepted(void *ctx, struct transport_conn *transport)
{
    struct rpc_server *server = ctx;
    if (server->shutting_down)
        transport_abort(transport, NULL);
    else
        rpc_connection_create(&server->connections, transport, &rpc_call_events);
}

static void free_when_over(struct rpc_server *server)
{
    if (!server->destroyed || server->open_timers > 0 || !list_empty(&server->connections.list))
        return;
    rpc_methods_fini(&server->methods);
    rpc_accounts_fini(&server->connections.accounts);
    free(server);
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

struct rpc_server *rpc_server_create(uv_loop_t *loop)
{
    uint8_t seed[16];
    if (uv_random(NULL, NULL, seed, sizeof seed, 0, NULL) < 0)
        return NULL;
    struct rpc_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return NULL;
    struct rpc_connections *connections = &server->connections;
    server->first_call_ms = FIRST_CALL_MS;
    server->idle_ms = IDLE_MS;
    connections->loop = loop;
    connections->methods = &server->methods;
    connections->sweep = start_sweeper;
    connections->gone = finish_shut_down;
    connections->server = server;
    rpc_accounts_init(&connections->accounts, seed);
    list_init(&connections->list);
    list_init(&connections->dirty);
    uv_timer_init(loop, &server->timer);
    uv_timer_init(loop, &server->sweeper);
    uv_timer_init(loop, &connections->flusher);
    server->timer.data = server;
    server->sweeper.data = server;
    connections->flusher.data = connections;
    server->open_timers = 3;
    return server;
}

static void server_timer_closed(uv_handle_t *handle)
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
    list_for_each_safe (node, &server->connections.list) {
        struct rpc_connection *connection = container_of(node, struct rpc_connection, node);
        if (!connection->ending)
            rpc_connection_abort(connection, -ECANCELED);
        rpc_calls_end(connection, false, GRPC_UNAVAILABLE, NULL);
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
    server->connections.flusher.data = server;
    uv_close((uv_handle_t *)&server->timer, server_timer_closed);
    uv_close((uv_handle_t *)&server->connections.flusher, server_timer_closed);
    uv_close((uv_handle_t *)&server->sweeper, server_timer_closed);
}

static void on_shut_down_timer(uv_timer_t *timer)
{
    struct rpc_server *server = timer->data;
    if (list_empty(&server->connections.list))
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
    list_for_each_safe (node, &server->connections.list) {
        struct rpc_connection *connection = container_of(node, struct rpc_connection, node);
        bool busy = connection->busy;
        connection->busy = true; /* so that the statuses and the GOAWAY leave together */
        rpc_calls_end(connection, true, GRPC_UNAVAILABLE, "the node is shutting down");
        h2_server_shut_down(connection->session);
        connection->busy = busy;
        rpc_connection_flush(connection);
    }
    /* `done` never runs before this returns */
    uv_timer_start(&server->timer, on_shut_down_timer,
                   list_empty(&server->connections.list) ? 0 : timeout_ms, 0);
}

void rpc_server_disconnect(struct rpc_server *server, unsigned roles, const char *id,
                           const char *text)
{
    list_for_each_safe (node, &server->connections.list) {
        struct rpc_connection *connection = container_of(node, struct rpc_connection, node);
        if ((connection->caller->roles & roles) == 0 || strcmp(connection->caller->id, id) != 0 ||
            connection->ending)
            continue;
        rpc_calls_end(connection, false, GRPC_PERMISSION_DENIED, text);
        h2_server_shut_down(connection->session);
        rpc_connection_flush(connection);
        if (!connection->busy)
            rpc_connection_close(connection);
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
    return rpc_methods_add(&server->methods, methods, count, ctx);
}

bool rpc_server_has_service(const struct rpc_server *server, const char *service)
{
    return rpc_methods_has_service(&server->methods, service);
}

void rpc_server_each_count(const struct rpc_server *server,
                           void (*each)(void *ctx, const char *method, enum grpc_code code,
                                        uint64_t count),
                           void *ctx)
{
    rpc_methods_each_count(&server->methods, each, ctx);
}

size_t rpc_server_connection_count(const struct rpc_server *server)
{
    size_t count = 0;
    list_for_each_safe (at, &server->connections.list) {
        (void)at;
        count++;
    }
    return count;
}

int rpc_server_listen(struct rpc_server *server, const struct address *address,
                      struct transport_tls *tls, uint32_t fwmark,
                      const struct transport_limits *limits, struct err *err)
{
    const struct transport_options options = {
        .address = address, .tls = tls, .fwmark = fwmark, .limits = limits};
    if (server->listener_count == RPC_LISTENERS_MAX)
        return err_set(err, -ENOMEM, "at most %d listeners", RPC_LISTENERS_MAX);
    int rv = transport_listen(&server->listeners[server->listener_count], server->connections.loop,
                              &options, server_accepted, server, err);
    if (rv == 0)
        server->addresses[server->listener_count++] = *address;
    return rv;
}

void rpc_server_unlisten(struct rpc_server *server, const struct address *address)
{
    for (size_t i = 0; i < server->listener_count; i++) {
        if (!address_equal(&server->addresses[i], address))
            continue;
        transport_listener_close(server->listeners[i]);
        server->listener_count--;
        server->listeners[i] = server->listeners[server->listener_count];
        server->addresses[i] = server->addresses[server->listener_count];
        return;
    }
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
