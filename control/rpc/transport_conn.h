#ifndef CONTROL_RPC_TRANSPORT_CONN_H
#define CONTROL_RPC_TRANSPORT_CONN_H

#include "control/rpc/transport.h"
#include "control/rpc/transport_source.h"

/* What a connection is, for listeners and dialers. Private to the transport. */

union transport_handle {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

/* Who hears of an accepted connection, and counts it. The owner outlives its connections. */
struct transport_owner {
    void (*authenticated)(void *ctx, struct transport_conn *conn);
    void (*gone)(void *ctx);
    void *ctx;
    struct transport_pending pending; /* those that are not authenticated */
};

enum transport_state {
    TRANSPORT_RESOLVING,
    TRANSPORT_CONNECTING,
    TRANSPORT_HANDSHAKE,
    TRANSPORT_OPEN,
    TRANSPORT_ENDING,
    TRANSPORT_CLOSED,
};

struct transport_conn {
    union transport_handle io;
    struct transport_place place; /* among the owner's pending */
    uv_timer_t timer;
    enum transport_state state;
    unsigned holds; /* handles and requests that libuv still has */
    bool io_open;   /* `io` is a live handle */
    bool authenticated;
    bool paused;
    bool above_low_water;
    bool shut; /* uv_shutdown was called */
    struct transport_tls *tls;
    struct tls_session *session; /* NULL in plaintext */
    struct transport_limits limits;
    const struct transport_events *events;
    void *ctx;
    struct transport_owner *owner; /* of accepted ones, else NULL */
    struct transport_caller caller;
    enum address_kind kind;
    struct address *address; /* of dialers */
    uint32_t fwmark;
    struct transport_dial *dial;                    /* of dialers over TCP */
    void (*stop_dial)(struct transport_conn *conn); /* NULL: nothing is being dialed */
    size_t pending;
    struct err *err; /* why it ended; NULL: nothing went wrong */
};

/* A connection without a socket, with its timer running: in `io` the caller opens a handle and
 * counts it in `holds`. NULL when memory is short. */
struct transport_conn *transport_conn_create(uv_loop_t *loop,
                                             const struct transport_options *options);

/* Gives back one of `holds`: the last one frees a closed connection. */
void transport_conn_release(struct transport_conn *conn);

/* Ends a pending connection of the owner, so that another one has its place. False when none is
 * pending. */
bool transport_conn_make_room(struct transport_owner *owner);

/* Closes at once; takes a closed one. */
void transport_conn_shut(struct transport_conn *conn);

/* The same with a reason, which the address is put in front of. */
void transport_conn_fail(struct transport_conn *conn, int code, const char *text);

/* The socket is connected: names the other side and begins the handshake. */
void transport_conn_start(struct transport_conn *conn);

/* Makes a connection for a client that waits at `listener` and starts the handshake. 0 or a
 * negative errno; the client is turned away then. */
int transport_conn_accept(uv_stream_t *listener, bool is_unix,
                          const struct transport_options *options, struct transport_owner *owner);

/* Gives an initialised handle a socket with the mark. 0 or a negative errno. */
int transport_tcp_open(uv_tcp_t *tcp, int family, uint32_t fwmark);

#endif
