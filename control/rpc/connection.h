#ifndef CONTROL_RPC_CONNECTION_H
#define CONTROL_RPC_CONNECTION_H

#include "base/list.h"
#include "control/rpc/account.h"
#include "control/rpc/methods.h"
#include "control/rpc/transport.h"
#include "proto/h2_server.h"

/* One HTTP/2 session over one accepted transport. Private to the server: server.c creates
 * connections, call.c makes calls of their streams, and connection.c moves bytes between session
 * and transport. */

struct rpc_server;

/* What the connections of a server share; embedded in it. */
struct rpc_connections {
    uv_loop_t *loop;
    struct list list;
    struct list dirty; /* connections to flush on the loop's next round */
    uv_timer_t flusher;
    size_t held; /* bytes that all connections hold for their calls */
    struct rpc_accounts accounts;
    struct rpc_methods *methods;
    void (*sweep)(struct rpc_server *server); /* a connection is idle, or a call has no request */
    void (*gone)(struct rpc_server *server);  /* the last connection has gone */
    struct rpc_server *server;
};

struct rpc_connection {
    struct list node;
    struct list dirty;      /* among its siblings, while it waits for a flush */
    struct list in_account; /* the oldest first */
    struct list calls;
    struct rpc_account *account;
    struct rpc_connections *among;
    struct transport_conn *transport;
    struct h2_server *session;
    const struct transport_caller *caller; /* the transport's */
    size_t held;                           /* as counted among its siblings */
    uint64_t idle_since_ms;                /* when its last call ended */
    bool used;                             /* it has made a call */
    uint64_t answers;                      /* messages and statuses that it was given */
    bool busy;                             /* inside the session, so that flushing waits */
    bool ending;                           /* transport_close or transport_abort was called */
    uint64_t window_start_ms;
    uint64_t window_frames; /* control frames when the window began */
    uint64_t window_answers;
};

/* Takes over an authenticated transport, or aborts it when memory is short. Aborts the caller's
 * oldest connection when this one is too many. `events` get the
 * connection as their context. */
void rpc_connection_create(struct rpc_connections *among, struct transport_conn *transport,
                           const struct h2_server_events *events);

/* Sends what the session has queued, as much as the transport takes, and ends the connection when
 * the session is over. */
void rpc_connection_flush(struct rpc_connection *connection);

/* Flushes on the loop's next round. */
void rpc_connection_flush_later(struct rpc_connection *connection);

/* To be called when the connection has no calls from now on, or one without its request. */
void rpc_connection_note_waiting(struct rpc_connection *connection);

/* Sends what is queued, then closes; does nothing while ending. */
void rpc_connection_close(struct rpc_connection *connection);

/* Closes at once. */
void rpc_connection_abort(struct rpc_connection *connection, int code);

/* Logs a warning about the caller with its address and a pair, as often as its account allows. */
void rpc_connection_log(struct rpc_connection *connection, const char *message, const char *key,
                        const char *value);

#endif
