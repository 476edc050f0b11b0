#ifndef CONTROL_RPC_SERVER_H
#define CONTROL_RPC_SERVER_H

#include "base/err.h"
#include "control/rpc/address.h"
#include "control/rpc/call.h"
#include "control/rpc/methods.h"
#include "control/rpc/transport_listener.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* The gRPC server: tables of methods over any number of listeners. It checks role, request and
 * deadline before a handler runs; a handler may answer at once or later. */

struct rpc_server;

/* NULL when memory is short or there are no random numbers. */
struct rpc_server *rpc_server_create(uv_loop_t *loop);

/* Stops listening, ends every call and closes every connection. Call it before the loop closes, and
 * run the loop until it is idle afterwards. Takes NULL. */
void rpc_server_destroy(struct rpc_server *server);

/* How long a connection may be without a call: until its first one (30 s unless set; a call has as
 * long for its request), and after its last one (30 min). Set it before there are connections. */
void rpc_server_set_patience(struct rpc_server *server, uint64_t first_call_ms, uint64_t idle_ms);

/* Adds methods; the table and `ctx` outlive the server. 0 or -ENOMEM. */
int rpc_server_add(struct rpc_server *server, const struct rpc_method *methods, size_t count,
                   void *ctx);

/* Whether methods of this service ("package.Service") were added. */
bool rpc_server_has_service(const struct rpc_server *server, const char *service);

/* Listens until the server is destroyed. 0 or a negative errno with a text that names the address.
 * `limits` NULL: the defaults. */
int rpc_server_listen(struct rpc_server *server, const struct address *address,
                      struct transport_tls *tls, uint32_t fwmark,
                      const struct transport_limits *limits, struct err *err);

/* Ends the listening at this address. Its connections go on. */
void rpc_server_unlisten(struct rpc_server *server, const struct address *address);

/* The port of the first TCP listener. */
uint16_t rpc_server_port(const struct rpc_server *server);

/* Graceful: no new connections or calls; `done` runs when the last call has ended, or after
 * `timeout_ms`. Streams are ended with UNAVAILABLE. */
void rpc_server_shut_down(struct rpc_server *server, uint64_t timeout_ms, void (*done)(void *ctx),
                          void *ctx);

/* Closes every connection whose caller has one of these roles and this id, its calls ended with
 * PERMISSION_DENIED and `text`. */
void rpc_server_disconnect(struct rpc_server *server, unsigned roles, const char *id,
                           const char *text);

/* Calls that have ended, by method and code; calls of unknown methods as "unknown". Skips zeros. */
void rpc_server_each_count(const struct rpc_server *server,
                           void (*each)(void *ctx, const char *method, enum grpc_code code,
                                        uint64_t count),
                           void *ctx);
size_t rpc_server_connection_count(const struct rpc_server *server);

#endif
