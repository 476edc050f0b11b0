/*
 * Bytes received go through the session, whose events make and end calls. rpc_connection_flush()
 * then pulls what the session wants to send while the transport's queue is short, and continues
 * when the queue has drained. An answer given outside of a received event is flushed on the loop's
 * next round.
 * A client that does not read what it asked for is not read from either.
 */
#include "control/rpc/connection.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>

enum {
    PULL_CHUNK = 32 * 1024,
    CONTROL_FRAMES_MAX = 2000, /* of one connection in CONTROL_WINDOW_MS, besides */
    CONTROL_FRAMES_ANSWER = 8, /* these for each answer, for window updates and pings */
    CONTROL_WINDOW_MS = 10000,
    HELD_MAX = 128 * 1024 * 1024, /* requests and answers of all connections */
};

static void on_flush(uv_timer_t *timer)
{
    struct rpc_connections *among = timer->data;
    while (!list_empty(&among->dirty)) {
        struct rpc_connection *connection = list_first(&among->dirty, struct rpc_connection, dirty);
        list_remove(&connection->dirty);
        rpc_connection_flush(connection);
    }
}

void rpc_connection_flush_later(struct rpc_connection *connection)
{
    struct rpc_connections *among = connection->among;
    if (connection->busy || connection->ending || !list_empty(&connection->dirty))
        return;
    list_append(&among->dirty, &connection->dirty);
    uv_timer_start(&among->flusher, on_flush, 0, 0);
}

void rpc_connection_note_waiting(struct rpc_connection *connection)
{
    struct rpc_connections *among = connection->among;
    if (list_empty(&connection->calls))
        connection->idle_since_ms = uv_now(among->loop);
    among->sweep(among->server);
}

void rpc_connection_close(struct rpc_connection *connection)
{
    if (connection->ending)
        return;
    connection->ending = true;
    transport_close(connection->transport);
}

void rpc_connection_abort(struct rpc_connection *connection, int code)
{
    struct err err;
    err_set_errno(&err, code, "%s", connection->caller->remote);
    connection->ending = true;
    transport_abort(connection->transport, &err);
}

void rpc_connection_log(struct rpc_connection *connection, const char *message, const char *key,
                        const char *value)
{
    unsigned left_out;
    if (rpc_account_may_log(connection->account, clock_boottime_ns(), &left_out))
        log_warn(message, F_STR("remote", connection->caller->remote), F_STR(key, value),
                 F_INT("left_out", left_out));
}

static void log_closed(struct rpc_connection *connection, const char *reason)
{
    rpc_connection_log(connection, "control connection closed", "reason", reason);
}

static void set_held(struct rpc_connection *connection, size_t held)
{
    connection->among->held += held - connection->held;
    connection->account->held += held - connection->held;
    connection->held = held;
}

static void drop_greatest(struct rpc_connection *greatest, const char *reason)
{
    if (greatest == NULL)
        return;
    log_closed(greatest, reason);
    set_held(greatest, 0);
    rpc_connection_abort(greatest, -ENOBUFS);
}

/* Ends the connection of this caller that holds the most. */
static void make_room_in_account(struct rpc_account *account)
{
    struct rpc_connection *greatest = NULL;
    list_for_each (node, &account->connections) {
        struct rpc_connection *connection = container_of(node, struct rpc_connection, in_account);
        if (!connection->ending && (greatest == NULL || connection->held > greatest->held))
            greatest = connection;
    }
    drop_greatest(greatest, "the requests and answers of this caller hold too much memory");
}

static bool holds_more(const struct rpc_connection *a, const struct rpc_connection *b)
{
    if (b == NULL || a->account->is_unix != b->account->is_unix)
        return b == NULL || b->account->is_unix;
    return a->account->held != b->account->held ? a->account->held > b->account->held
                                                : a->held > b->held;
}

/* Ends the greatest connection of the caller that holds the most, the unix socket's last. */
static void make_room(struct rpc_connections *among)
{
    struct rpc_connection *greatest = NULL;
    list_for_each (node, &among->list) {
        struct rpc_connection *connection = container_of(node, struct rpc_connection, node);
        if (!connection->ending && holds_more(connection, greatest))
            greatest = connection;
    }
    drop_greatest(greatest, "of all that wait with requests and answers it holds the most");
}

static void count_held(struct rpc_connection *connection)
{
    set_held(connection, h2_server_held(connection->session));
    if (connection->account->held > connection->account->limits.held)
        make_room_in_account(connection->account);
    if (connection->among->held > HELD_MAX)
        make_room(connection->among);
}

/* 0 or a negative errno. */
static int send_queued(struct rpc_connection *connection)
{
    struct buffer out;
    int rv = 0;
    buffer_init(&out);
    while (rv == 0 && transport_queued(connection->transport) < TRANSPORT_LOW_WATER &&
           h2_server_wants_send(connection->session)) {
        rv = h2_server_pull(connection->session, &out, PULL_CHUNK);
        size_t len = buffer_len(&out);
        if (rv < 0 || len == 0)
            break;
        rv = transport_send(connection->transport, buffer_data(&out), len);
        buffer_clear(&out);
    }
    buffer_fini(&out);
    return rv;
}

void rpc_connection_flush(struct rpc_connection *connection)
{
    if (connection->busy || connection->ending)
        return;
    connection->busy = true;
    int rv = send_queued(connection);
    connection->busy = false;
    transport_set_reading(connection->transport,
                          transport_queued(connection->transport) < TRANSPORT_LOW_WATER ||
                              !h2_server_wants_send(connection->session));
    if (rv < 0)
        rpc_connection_abort(connection, rv);
    else if (h2_server_is_over(connection->session))
        rpc_connection_close(connection);
    else
        count_held(connection);
    if (!connection->ending)
        h2_server_rest(connection->session);
}

/* PING, SETTINGS and resets cost the sender less than the server. A busy client has some for each
 * answer. */
static bool floods(struct rpc_connection *connection)
{
    uint64_t now = uv_now(connection->among->loop);
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

static void connection_received(void *ctx, struct transport_conn *transport, const uint8_t *bytes,
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
        log_closed(connection, "too many control frames");
        rv = -ECONNABORTED;
    }
    rpc_connection_flush(connection);
    if (rv < 0)
        rpc_connection_close(connection);
}

static void connection_drained(void *ctx, struct transport_conn *transport)
{
    (void)transport;
    rpc_connection_flush(ctx);
}

static void connection_closed(void *ctx, struct transport_conn *transport, const struct err *err)
{
    struct rpc_connection *connection = ctx;
    struct rpc_connections *among = connection->among;
    (void)transport;
    unsigned left_out;
    if (err->code != 0 && log_enabled(LOG_DEBUG) &&
        log_limit_passes(&connection->account->debug_log, clock_boottime_ns(), &left_out))
        log_debug("control connection lost", F_STR("reason", err->text),
                  F_INT("left_out", left_out));
    connection->ending = true;
    set_held(connection, 0);
    list_remove(&connection->node);
    list_remove(&connection->dirty);
    list_remove(&connection->in_account);
    h2_server_destroy(connection->session);
    rpc_account_put(&among->accounts, connection->account, clock_boottime_ns());
    free(connection);
    if (list_empty(&among->list))
        among->gone(among->server);
}

static const struct transport_events connection_events = {
    .received = connection_received,
    .drained = connection_drained,
    .closed = connection_closed,
};

/* The oldest, because a caller that lost its network connects again. */
static void limit_connections(struct rpc_account *account)
{
    if (account->connection_count <= account->limits.connections)
        return;
    list_for_each (node, &account->connections) {
        struct rpc_connection *oldest = container_of(node, struct rpc_connection, in_account);
        if (oldest->ending)
            continue;
        log_closed(oldest, "this caller has too many connections");
        rpc_connection_abort(oldest, -EDQUOT);
        return;
    }
}

void rpc_connection_create(struct rpc_connections *among, struct transport_conn *transport,
                           const struct h2_server_events *events)
{
    struct rpc_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        goto fail;
    list_init(&connection->calls);
    list_init(&connection->dirty);
    connection->among = among;
    connection->transport = transport;
    connection->caller = transport_conn_caller(transport);
    connection->window_start_ms = uv_now(among->loop);
    connection->account =
        rpc_account_get(&among->accounts, connection->caller, clock_boottime_ns());
    if (connection->account == NULL)
        goto fail;
    connection->session = h2_server_create(events, connection, &h2_limits_default);
    if (connection->session == NULL) {
        rpc_account_put(&among->accounts, connection->account, clock_boottime_ns());
        goto fail;
    }
    limit_connections(connection->account);
    list_append(&connection->account->connections, &connection->in_account);
    list_append(&among->list, &connection->node);
    rpc_connection_note_waiting(connection);
    transport_conn_set_events(transport, &connection_events, connection);
    rpc_connection_flush(connection);
    return;
fail:
    free(connection);
    transport_abort(transport, NULL);
}
