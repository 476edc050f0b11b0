#ifndef PROTO_H2_SERVER_H
#define PROTO_H2_SERVER_H

#include "base/buffer.h"
#include "proto/grpc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The server's side of one gRPC connection, without IO: received bytes go in, events come out as
 * callbacks, bytes to send are pulled. A client's error ends its call or its connection here, so
 * that the callbacks see well-formed calls only. */

struct h2_server;
struct h2_call; /* one stream; valid from `started` until `closed` returns */

struct h2_server_events {
    /* The headers of a gRPC request have arrived. */
    void (*started)(void *ctx, struct h2_call *call);
    void (*message)(void *ctx, struct h2_call *call, const uint8_t *bytes, size_t len);
    /* The client sends no more messages. */
    void (*half_closed)(void *ctx, struct h2_call *call);
    /* Everything queued for the stream has been pulled (h2_call_pending is 0 again). */
    void (*writable)(void *ctx, struct h2_call *call);
    /* The stream is gone, answered or cancelled; the last event of every call that was started. */
    void (*closed)(void *ctx, struct h2_call *call);
};

struct h2_limits {
    uint32_t streams;      /* concurrent calls of a connection */
    uint32_t header_bytes; /* decoded header list */
    size_t message_bytes;  /* one request message */
    size_t partial_bytes;  /* incomplete request messages of a connection, together */
    size_t buffered_bytes; /* queued towards the client before h2_call_send refuses, per stream */
    size_t queued_bytes;   /* the same of all streams of a connection */
};

/* 100 calls, 16 KiB of headers, 4 MiB messages (16 MiB incomplete), 8 MiB queued (32 MiB for all).
 */
extern const struct h2_limits h2_limits_default;

/* NULL when memory is short. `events` and `ctx` outlive the session. */
struct h2_server *h2_server_create(const struct h2_server_events *events, void *ctx,
                                   const struct h2_limits *limits);

/* Ends every call, with a `closed` for each, and frees the session. */
void h2_server_destroy(struct h2_server *server);

/* Takes bytes from the client. 0, or a negative errno: the connection is beyond repair; send what
 * h2_server_pull still gives and close. Not to be called from an event. */
int h2_server_receive(struct h2_server *server, const uint8_t *bytes, size_t len);

/* Appends up to about `max` bytes for the client. Not to be called from an event. 0 or -ENOMEM. */
int h2_server_pull(struct h2_server *server, struct buffer *out, size_t max);
bool h2_server_wants_send(const struct h2_server *server);

/* Whether the session is over: close the connection after sending what is left. */
bool h2_server_is_over(const struct h2_server *server);

/* Gives memory back that only sending needs, while nothing waits to be sent. To be called when the
 * connection has nothing to do for now. */
void h2_server_rest(struct h2_server *server);

/* Sends GOAWAY: open calls go on, new ones are refused. h2_server_is_over holds after the last. */
void h2_server_shut_down(struct h2_server *server);
size_t h2_server_calls(const struct h2_server *server);

/* Bytes of calls with their headers, of incomplete requests, and of answers that were not pulled
 * yet. */
size_t h2_server_held(const struct h2_server *server);

/* Frames received so far that carry no part of a call: PING, SETTINGS, PRIORITY, RST_STREAM, empty
 * DATA, anything for a stream that is closed. The caller, who has a clock, limits their rate. */
uint64_t h2_server_control_frames(const struct h2_server *server);

/* ":path", for example "/pkg.Service/Method". */
const char *h2_call_path(const struct h2_call *call);

/* The first header of this name (lower case), or NULL. */
const char *h2_call_metadata(const struct h2_call *call, const char *name);

/* Frees path and metadata, which are not asked for any more. */
void h2_call_forget_headers(struct h2_call *call);

/* From grpc-timeout; UINT64_MAX when there is none. */
uint64_t h2_call_timeout_ns(const struct h2_call *call);

void *h2_call_user(const struct h2_call *call);
void h2_call_set_user(struct h2_call *call, void *user);

/* Queues one message. 0, -ENOMEM, -ENOBUFS over the limit, -EPIPE after h2_call_finish. */
int h2_call_send(struct h2_call *call, const void *message, size_t len);

/* Bytes queued and not yet pulled. */
size_t h2_call_pending(const struct h2_call *call);

/* Drops the queued messages, except one that has been pulled in part. */
void h2_call_drop_queue(struct h2_call *call);

/* Ends the call with a status (trailers, or trailers-only when nothing was sent) behind what is
 * queued. `text` may be NULL. Further calls are ignored. */
void h2_call_finish(struct h2_call *call, enum grpc_code code, const char *text);

#endif
