#ifndef CONTROL_RPC_TRANSPORT_CONN_H
#define CONTROL_RPC_TRANSPORT_CONN_H

#include "base/list.h"
#include "control/rpc/transport_listener.h"

/* What listeners and dialers need of a connection. For the files of the transport only. */

union transport_handle {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

/* Connections of one kind, the oldest first: it makes room when a new one would be too many. */
struct transport_crowd {
    struct list conns;
    unsigned count;
    unsigned limit;
};

/* Who is told about an accepted connection, and counts it. The owner outlives its connections. */
struct transport_owner {
    void (*authenticated)(void *ctx, struct transport_conn *conn);
    void (*gone)(void *ctx);
    void *ctx;
    struct transport_crowd silent;  /* nothing has come from them yet */
    struct transport_crowd talking; /* in their handshake */
};

/* Makes a connection for a client that waits at `listener` and starts the handshake. 0 or a
 * negative errno; the client is turned away then. */
int transport_conn_accept(uv_stream_t *listener, bool is_unix, struct transport_tls *tls,
                          const struct transport_limits *limits, struct transport_owner *owner);

/* Gives an initialised handle a socket with the mark. 0 or a negative errno. */
int transport_tcp_open(uv_tcp_t *tcp, int family, uint32_t fwmark);

#endif
