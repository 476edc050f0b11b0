#ifndef CONTROL_RPC_CLIENT_H
#define CONTROL_RPC_CLIENT_H

#include "base/err.h"
#include "control/rpc/address.h"
#include "control/rpc/transport_tls.h"
#include "proto/grpc.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* A gRPC client on a libuv loop. One object is one connection: to reconnect, create another. */

struct rpc_client;
struct rpc_stream;

struct rpc_client_events {
    void (*opened)(void *ctx, struct rpc_client *client);
    /* The last event, also when the connection never opened; not after rpc_client_destroy. `err`
     * has a line for the user and may carry a TRANSPORT_E code. Destroy the client then, or from
     * here. */
    void (*closed)(void *ctx, struct rpc_client *client, const struct err *err);
};

struct rpc_client_options {
    const struct address *addresses; /* copied; tried in order until one opens */
    size_t count;
    struct transport_tls *tls; /* for every TCP address; referenced */
    uint32_t fwmark;
    uint32_t connect_ms; /* to connect and authenticate with one address; 0: 5 s */
    uint32_t ping_ms;    /* liveness probe, answered within the same time or closed; 0: none */
};

/* Connects. 0 or a negative errno. */
int rpc_client_create(struct rpc_client **out, uv_loop_t *loop,
                      const struct rpc_client_options *options,
                      const struct rpc_client_events *events, void *ctx, struct err *err);

/* Ends every call without running its callback, closes, and frees once the loop has run. Takes
 * NULL. */
void rpc_client_destroy(struct rpc_client *client);

/* The address that opened. */
const struct address *rpc_client_address(const struct rpc_client *client);

/* Closes the connection unless the server answers a probe within this time. Does nothing before
 * `opened`. */
void rpc_client_probe(struct rpc_client *client, uint32_t within_ms);

/* A pair of metadata that calls carry from now on, the name a literal in lower case. `value` NULL:
 * none. Longer values than 63 characters are cut. */
void rpc_client_set_metadata(struct rpc_client *client, const char *name, const char *value);

/* A unary call; made before `opened`, it waits for that. `timeout_ms` 0: none. `done` runs once,
 * never before this returns; its `response` is NULL unless `code` is GRPC_OK, and freed when it
 * returns; `text` is never NULL. 0 or -ENOMEM, -EPIPE when closed. */
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

/* Ends the call without events. Takes NULL. */
void rpc_stream_cancel(struct rpc_stream *stream);

#endif
