#ifndef CONTROL_TRANSPORT_CONN_H
#define CONTROL_TRANSPORT_CONN_H

#include "control/transport.h"

/* What listeners and dialers need of a connection. For the files of the transport only. */

union transport_handle {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

/* Who is told about an accepted connection, and counts it. The owner outlives its connections. */
struct transport_owner {
    void (*authenticated)(void *ctx, struct transport_conn *conn);
    /* `was_authenticated` says whether the other function ran. */
    void (*gone)(void *ctx, bool was_authenticated);
    void *ctx;
};

/* Makes a connection for a client that waits at `listener` and starts the handshake. 0 or a
 * negative errno; the client is turned away then. */
int transport_conn_accept(uv_stream_t *listener, bool is_unix, struct transport_tls *tls,
                          const struct transport_limits *limits,
                          const struct transport_owner *owner);

/* Gives an initialised handle a socket with the mark. 0 or a negative errno. */
int transport_tcp_open(uv_tcp_t *tcp, int family, uint32_t fwmark);

#endif
