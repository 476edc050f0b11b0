#ifndef CONTROL_RPC_METHODS_H
#define CONTROL_RPC_METHODS_H

#include "proto/grpc.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The tables of methods that a server offers, and how many calls of each have ended. */

struct rpc_call;

enum rpc_kind {
    RPC_UNARY,
    RPC_SERVER_STREAM,
    /* The handler runs for every message. The call ends with OK when the client has finished. */
    RPC_BIDI_STREAM,
};

struct rpc_method {
    const char *path; /* "/package.Service/Method" */
    enum rpc_kind kind;
    unsigned roles; /* who may call it: bits of enum transport_role */
    const ProtobufCMessageDescriptor *request;
    const ProtobufCMessageDescriptor *response;
    /* `request` is freed when the handler returns. `call` lives until it is finished or its
     * `cancelled` has run. */
    void (*handle)(void *ctx, struct rpc_call *call, const ProtobufCMessage *request);
};

enum {
    RPC_TABLES_MAX = 16,
    RPC_CODES = GRPC_UNAUTHENTICATED + 1,
};

struct rpc_methods {
    struct rpc_method_table {
        const struct rpc_method *methods;
        size_t count;
        void *ctx;
        uint64_t (*ended)[RPC_CODES]; /* calls, by method and code */
    } tables[RPC_TABLES_MAX];
    size_t count;
    uint64_t unknown; /* calls of methods that no table has */
};

/* An all-zero struct has no methods. */
void rpc_methods_fini(struct rpc_methods *methods);

/* Adds a table, which outlives `methods` like `ctx`. 0 or -ENOMEM. */
int rpc_methods_add(struct rpc_methods *methods, const struct rpc_method *table, size_t count,
                    void *ctx);

/* The method of this path, with its table's context in `*ctx`, or NULL. */
const struct rpc_method *rpc_methods_find(const struct rpc_methods *methods, const char *path,
                                          void **ctx);

/* Whether a method of this service ("package.Service") was added. */
bool rpc_methods_has_service(const struct rpc_methods *methods, const char *service);

/* Counts the end of a call. */
void rpc_methods_count(struct rpc_methods *methods, const struct rpc_method *method,
                       enum grpc_code code);

/* Calls that have ended, by method and code; calls of unknown methods as "unknown". Skips zeros. */
void rpc_methods_each_count(const struct rpc_methods *methods,
                            void (*each)(void *ctx, const char *method, enum grpc_code code,
                                         uint64_t count),
                            void *ctx);

#endif
