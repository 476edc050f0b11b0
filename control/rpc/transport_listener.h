#ifndef CONTROL_RPC_TRANSPORT_LISTENER_H
#define CONTROL_RPC_TRANSPORT_LISTENER_H

#include "control/rpc/transport.h"

struct transport_listener;

/* Listens at an address. `accepted` runs when a client has authenticated; it sets the connection's
 * events with transport_conn_set_events, or closes it. 0 or a negative errno with a text that names
 * the address. */
int transport_listen(struct transport_listener **out, uv_loop_t *loop,
                     const struct transport_options *options,
                     void (*accepted)(void *ctx, struct transport_conn *conn), void *ctx,
                     struct err *err);

/* Stops listening and removes a unix socket's file, unless another one has its name now; its
 * connections live on. Takes NULL. */
void transport_listener_close(struct transport_listener *listener);

/* The bound port (for a listener on port 0). */
uint16_t transport_listener_port(const struct transport_listener *listener);

#endif
