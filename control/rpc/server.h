#ifndef CONTROL_RPC_SERVER_H
#define CONTROL_RPC_SERVER_H

#include "base/err.h"
#include "control/rpc/address.h"
#include "control/rpc/transport_listener.h"
#include "proto/grpc.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* The gRPC server: tables of methods over any number of listeners. It checks role, request and
 * deadline before a handler runs; a handler may answer at once or later. */

struct rpc_server;
struct rpc_call;

enum rpc_kind {
    RPC_UNARY,
    RPC_SERVER_STREAM,
    RPC_BIDI_STREAM, /* the handler runs for every message; the call ends OK when the client is done
                      */
};

struct rpc_method {
    const char *path; /* "/package.Service/Method" */
    enum rpc_kind kind;
    unsigned roles; /* who may call it: bits of enum transport_role */
    const ProtobufCMessageDescriptor *request;
    const ProtobufCMessageDescriptor *response;
    /* `request` is freed when the handler returns. `call` lives until it is finished or `cancelled`
     * has run. */
    void (*handle)(void *ctx, struct rpc_call *call, const ProtobufCMessage *request);
};

/* The server keeps listening for what it is given until destroyed. NULL when memory is short. */
struct rpc_server *rpc_server_create(uv_loop_t *loop);

/* Stops listening, ends every call and closes every connection; call before the loop closes and run
 * the loop until it is idle afterwards. Takes NULL. */
void rpc_server_destroy(struct rpc_server *server);

/* How long a connection may be without a call: until its first one (30 s unless set; also what a
 * call has for its request), and after its last one (30 min). Before there are connections. */
void rpc_server_set_patience(struct rpc_server *server, uint64_t first_call_ms, uint64_t idle_ms);

/* Adds methods; the table and `ctx` outlive the server. 0 or -ENOMEM. */
int rpc_server_add(struct rpc_server *server, const struct rpc_method *methods, size_t count,
                   void *ctx);

/* Whether methods of this service ("package.Service") were added. */
bool rpc_server_has_service(const struct rpc_server *server, const char *service);

/* 0 or a negative errno with a text that names the address. `limits` NULL: the defaults. */
int rpc_server_listen(struct rpc_server *server, const struct address *address,
                      struct transport_tls *tls, uint32_t fwmark,
                      const struct transport_limits *limits, struct err *err);

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

/* Calls that have ended, by method and code; those of unknown methods under "unknown". Zero counts
 * are left out. */
void rpc_server_each_count(const struct rpc_server *server,
                           void (*each)(void *ctx, const char *method, enum grpc_code code,
                                        uint64_t count),
                           void *ctx);
size_t rpc_server_connection_count(const struct rpc_server *server);

const struct transport_caller *rpc_call_caller(const struct rpc_call *call);

/* The first metadata value of this name (lower case), or NULL. */
const char *rpc_call_metadata(const struct rpc_call *call, const char *name);

void *rpc_call_user(const struct rpc_call *call);
void rpc_call_set_user(struct rpc_call *call, void *user);

/* Called once when the call ends before the handler finished it: cancelled, deadline passed,
 * connection lost. The call is gone when it returns. */
void rpc_call_on_cancel(struct rpc_call *call, void (*cancelled)(void *ctx, struct rpc_call *call),
                        void *ctx);

/* Finishes a unary call; `call` is gone when it returns. */
void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *response);

/* Finishes a call with a status; `call` is gone when it returns. GRPC_OK ends a stream well. */
void rpc_call_finish(struct rpc_call *call, enum grpc_code code, const char *text);
void rpc_call_fail(struct rpc_call *call, enum grpc_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* PERMISSION_DENIED with `text`, and a line in the log: `reason`, where the call comes from and
 * what it asks for. No secret in `reason`. */
void rpc_call_deny(struct rpc_call *call, const char *reason, const char *text);

/* The same as rpc_call_fail with the code that fits a negative errno (-ENOENT: NOT_FOUND, -EEXIST:
 * ALREADY_EXISTS, -EINVAL: INVALID_ARGUMENT, -EPERM and -EACCES: PERMISSION_DENIED, -EAGAIN:
 * UNAVAILABLE, ...). */
void rpc_call_fail_err(struct rpc_call *call, const struct err *err);

/* -ENOENT: NOT_FOUND and so on; INTERNAL for what has no code of its own. */
enum grpc_code rpc_code_from_errno(int code);

/* Sends one message of a stream. 0 or a negative errno (-ENOBUFS: the reader is too slow). */
int rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message);

/* Bytes sent that the reader has not taken yet. */
size_t rpc_call_pending(const struct rpc_call *call);

/* Finishes a stream whose reader is too slow: what it has not begun to take is dropped, so that it
 * hears why next. `call` is gone when it returns. */
void rpc_call_cut_off(struct rpc_call *call, enum grpc_code code, const char *text);

/* For streams where only the latest state matters: send only while this is true, else wait for
 * `writable`, which runs each time it becomes true again. */
bool rpc_call_is_writable(struct rpc_call *call);
void rpc_call_on_writable(struct rpc_call *call, void (*writable)(void *ctx, struct rpc_call *call),
                          void *ctx);

#endif
