#ifndef CONTROL_RPC_TRANSPORT_DIAL_H
#define CONTROL_RPC_TRANSPORT_DIAL_H

#include "control/rpc/transport.h"

/* Begins to connect to an address; `opened` or `closed` follows, never before this returns. 0 or a
 * negative errno with a text that names the address. */
int transport_dial(struct transport_conn **out, uv_loop_t *loop,
                   const struct transport_options *options, const struct transport_events *events,
                   void *ctx, struct err *err);

#endif
