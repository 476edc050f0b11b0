#ifndef CONTROL_RPC_CALL_H
#define CONTROL_RPC_CALL_H

#include "control/rpc/methods.h"
#include "control/rpc/transport_tls.h"
#include "proto/grpc.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* A call as its handler sees it, and what the server does with the calls of a connection. */

struct rpc_call;
struct rpc_connection;
struct h2_server_events;

const struct transport_caller *rpc_call_caller(const struct rpc_call *call);

uv_loop_t *rpc_call_loop(const struct rpc_call *call);

/* Who the call is counted for: an identity, or an address where there is none. */
const char *rpc_call_account(const struct rpc_call *call);

/* Whether that is a peer alone, whose changes are limited. */
bool rpc_call_is_peers(const struct rpc_call *call);

/* The first metadata value of this name (lower case), or NULL. */
const char *rpc_call_metadata(const struct rpc_call *call, const char *name);

/* `cancelled` runs once when the call ends before its handler finished it: cancelled, past its
 * deadline, connection lost. The call is gone when it returns. */
void rpc_call_on_cancel(struct rpc_call *call, void (*cancelled)(void *ctx, struct rpc_call *call),
                        void *ctx);

/* To be called from `cancelled`: what a caller whose deadline has passed should know, a literal. */
void rpc_call_explain(struct rpc_call *call, const char *text);

/* Finishes a unary call; `call` is gone when it returns. */
void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *response);

/* Finishes a call with a status; `call` is gone when it returns. GRPC_OK ends a stream well. */
void rpc_call_finish(struct rpc_call *call, enum grpc_code code, const char *text);
void rpc_call_fail(struct rpc_call *call, enum grpc_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Whether a line about what a peer asked for may be logged now; *left_out: how many were not before
 * it. Lines about other callers always may. */
bool rpc_call_may_log(struct rpc_call *call, unsigned *left_out);

/* Finishes a call with PERMISSION_DENIED and `text`, and logs `reason` with the caller's address
 * and the method. No secret in `reason`. */
void rpc_call_deny(struct rpc_call *call, const char *reason, const char *text);

/* Sends one message of a stream. 0 or a negative errno (-ENOBUFS: the reader is too slow). */
int rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message);

/* Bytes sent that the reader has not taken yet. */
size_t rpc_call_pending(const struct rpc_call *call);

/* Finishes a stream whose reader is too slow. Drops what the reader has not begun to take, so that
 * the status comes next. `call` is gone when it returns. */
void rpc_call_cut_off(struct rpc_call *call, enum grpc_code code, const char *text);

/* For streams where only the latest state matters: send only while this is true, else wait for
 * `writable`, which runs each time it becomes true again. */
bool rpc_call_is_writable(struct rpc_call *call);
void rpc_call_on_writable(struct rpc_call *call, void (*writable)(void *ctx, struct rpc_call *call),
                          void *ctx);

/* ---- for the server ---- */

/* What the events of a session do; their context is the connection. */
extern const struct h2_server_events rpc_call_events;

/* Ends the connection's calls (only its streams, if `streams_only`) with a status. */
void rpc_calls_end(struct rpc_connection *connection, bool streams_only, enum grpc_code code,
                   const char *text);

/* Ends calls that began before `before_ms` and whose request has not come. True when younger ones
 * wait for theirs. */
bool rpc_calls_end_late(struct rpc_connection *connection, uint64_t before_ms);

#endif
