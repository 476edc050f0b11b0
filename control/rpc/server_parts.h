#ifndef CONTROL_RPC_SERVER_PARTS_H
#define CONTROL_RPC_SERVER_PARTS_H

#include "base/list.h"
#include "control/rpc/server.h"
#include "proto/h2_server.h"

/* What a server is made of; shared by rpc_server.c (listeners and connections) and rpc_call.c
 * (calls), and by nobody else. */

enum {
    RPC_TABLES_MAX = 16,
    RPC_LISTENERS_MAX = 16,
    RPC_CODES = GRPC_UNAUTHENTICATED + 1,
};

struct method_table {
    const struct rpc_method *methods;
    size_t count;
    void *ctx;
    uint64_t (*ended)[RPC_CODES]; /* calls, by method and code */
};

struct rpc_server {
    uv_loop_t *loop;
    struct method_table tables[RPC_TABLES_MAX];
    size_t table_count;
    uint64_t unknown; /* calls of methods that there are not */
    struct transport_listener *listeners[RPC_LISTENERS_MAX];
    size_t listener_count;
    struct list connections;
    struct list dirty; /* connections to flush on the next round */
    uv_timer_t timer;  /* ends a slow shutdown */
    uv_timer_t flusher;
    uv_timer_t sweeper; /* runs while a connection has no calls */
    uint64_t first_call_ms;
    uint64_t idle_ms;
    size_t held; /* what all connections hold */
    unsigned open_timers;
    bool destroyed;
    bool shutting_down;
    void (*done)(void *ctx);
    void *done_ctx;
};

struct rpc_connection {
    struct list node;
    struct list dirty; /* among the server's, when it waits for a flush */
    struct list calls;
    struct rpc_server *server;
    struct transport_conn *transport;
    struct h2_server *session;
    struct transport_caller caller;
    size_t held;            /* as counted in the server's */
    uint64_t idle_since_ms; /* when it last had no calls any more */
    bool used;              /* it has made a call */
    uint64_t answers;       /* messages and statuses that it was given */
    bool busy;              /* inside the session; flushing waits */
    bool ending;            /* transport_close was called */
    uint64_t window_start_ms;
    uint64_t window_frames; /* how many there were of each when the window began */
    uint64_t window_answers;
};

struct rpc_call {
    struct list node;       /* among its connection's */
    struct h2_call *stream; /* NULL once the stream has ended or has its status */
    struct rpc_connection *connection;
    const struct rpc_method *method;
    void *method_ctx;
    void *user;
    uv_timer_t deadline;
    bool has_deadline;
    uint64_t started_ms;
    bool requested; /* the one request of a non-bidi call has come, or the first of another */
    bool answered;  /* the handler has had its last word, or `cancelled` has run */
    bool waiting;   /* the handler was told that the call is not writable */
    void (*cancelled)(void *ctx, struct rpc_call *call);
    void *cancelled_ctx;
    void (*writable)(void *ctx, struct rpc_call *call);
    void *writable_ctx;
};

/* rpc_call.c: what a session's events do; their context is the connection. */
extern const struct h2_server_events rpc_call_events;

/* rpc_call.c: ends the connection's calls (only the streams, if so told) with a status. */
void rpc_connection_end_calls(struct rpc_connection *connection, bool streams_only,
                              enum grpc_code code, const char *text);

/* rpc_call.c: ends calls that began before `before_ms` and whose request has not come. True when
 * there are younger ones. */
bool rpc_connection_end_late_calls(struct rpc_connection *connection, uint64_t before_ms);

/* rpc_server.c: sends what the session has queued meanwhile, on the loop's next turn. */
void rpc_connection_flush_later(struct rpc_connection *connection);

/* rpc_server.c: the connection has no calls from now on, or one without its request. */
void rpc_connection_note_waiting(struct rpc_connection *connection);

#endif
