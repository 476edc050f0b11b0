#ifndef CONTROL_RPC_CLIENT_H
#define CONTROL_RPC_CLIENT_H

#include "base/err.h"
#include "control/rpc/address.h"
#include "control/rpc/transport_listener.h"
#include "proto/grpc.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* A gRPC client on a libuv loop: one object is one connection. Reconnecting means making another.
 */

struct rpc_client;
struct rpc_stream;

struct rpc_client_events {
    void (*opened)(void *ctx, struct rpc_client *client);
    /* The last event, also when the connection never opened; not after rpc_client_destroy. `err`
     * has a line for the user and may carry a TRANSPORT_E code. Destroy the client afterwards (also
     * from here). */
    void (*closed)(void *ctx, struct rpc_client *client, const struct err *err);
};

struct rpc_client_options {
    uint32_t fwmark;
    uint32_t connect_ms; /* to connect and authenticate with one address; 0: 5 s */
    uint32_t ping_ms;    /* liveness probe, answered within the same time or closed; 0: none */
};

/* Tries the addresses in order until one opens. `tls` serves every TCP address; it is referenced.
 * `options` may be NULL. 0 or a negative errno. */
int rpc_client_create(struct rpc_client **out, uv_loop_t *loop, const struct address *addresses,
                      size_t count, struct transport_tls *tls,
                      const struct rpc_client_options *options,
                      const struct rpc_client_events *events, void *ctx, struct err *err);

/* Ends every call without running its callback, closes, frees (once the loop has run). Takes NULL.
 */
void rpc_client_destroy(struct rpc_client *client);

/* The address that opened. */
const struct address *rpc_client_address(const struct rpc_client *client);

/* Looks now whether the server is still there: closed unless it answers within this time. Before
 * `opened` it does nothing. */
void rpc_client_probe(struct rpc_client *client, uint32_t within_ms);

/* A unary call; before `opened` it waits for it. `timeout_ms` 0: none. `done` runs once, never
 * before this returns; its `response` is NULL unless `code` is GRPC_OK, and freed when it returns;
 * `text` is never NULL. 0 or -ENOMEM, -EPIPE when closed. */
int rpc_client_call(struct rpc_client *client, const char *path, const ProtobufCMessage *request,
                    const ProtobufCMessageDescriptor *response, uint32_t timeout_ms,
                    void (*done)(void *ctx, enum grpc_code code, const char *text,
                                 const ProtobufCMessage *response),
                    void *ctx);

struct rpc_stream_events {
    void (*message)(void *ctx, struct rpc_stream *stream, const ProtobufCMessage *message);
    /* The last event; the stream is gone when it returns. */
    void (*finished)(void *ctx, struct rpc_stream *stream, enum grpc_code code, const char *text);
};

/* A server-streaming call. 0 or -ENOMEM, -EPIPE when closed. */
int rpc_client_stream(struct rpc_stream **out, struct rpc_client *client, const char *path,
                      const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response,
                      const struct rpc_stream_events *events, void *ctx);

/* Ends it without events. Takes NULL. */
void rpc_stream_cancel(struct rpc_stream *stream);

#endif
