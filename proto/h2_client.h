#ifndef PROTO_H2_CLIENT_H
#define PROTO_H2_CLIENT_H

#include "base/buffer.h"
#include "proto/grpc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The client's side of one gRPC connection, without IO. Calls are unary or server-streaming: one
 * request message goes out with the headers, then the client's half is closed. */

struct h2_client;
struct h2_request; /* one call; valid until its `finished` returns */

struct h2_request_events {
    void (*message)(void *ctx, struct h2_request *request, const uint8_t *bytes, size_t len);
    /* The last event. `text` is decoded, empty when the server sent none. */
    void (*finished)(void *ctx, struct h2_request *request, enum grpc_code code, const char *text);
};

/* `authority` becomes ":authority"; `tls` chooses ":scheme". NULL when memory is short. */
struct h2_client *h2_client_create(const char *authority, bool tls, size_t message_limit);

/* Ends every call with UNAVAILABLE and frees the session. */
void h2_client_destroy(struct h2_client *client);

/* Like h2_server_receive and h2_server_pull. */
int h2_client_receive(struct h2_client *client, const uint8_t *bytes, size_t len);
int h2_client_pull(struct h2_client *client, struct buffer *out, size_t max);
bool h2_client_wants_send(const struct h2_client *client);

/* Whether the server sent GOAWAY or the session failed, so that no new call can start. */
bool h2_client_is_draining(const struct h2_client *client);
bool h2_client_is_over(const struct h2_client *client);

/* A header field that later calls carry, in lower case, instead of the former one; borrowed. NULL:
 * none. */
void h2_client_set_metadata(struct h2_client *client, const char *name, const char *value);

/* Starts a call. `timeout_ns` UINT64_MAX sends no deadline; the caller enforces it.
 * `events` and `ctx` live until `finished`. NULL when the connection is draining or memory is
 * short. */
struct h2_request *h2_client_start(struct h2_client *client, const char *path, const void *message,
                                   size_t len, uint64_t timeout_ns,
                                   const struct h2_request_events *events, void *ctx);

/* Resets the stream and ends the call with this status; `finished` runs before it returns. */
void h2_request_cancel(struct h2_request *request, enum grpc_code code, const char *text);

/* Sends a PING; h2_client_pongs counts the answers. 0 or -ENOMEM. */
int h2_client_ping(struct h2_client *client);
uint64_t h2_client_pongs(const struct h2_client *client);

#endif
