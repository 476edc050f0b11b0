#include "control/api/mutation_call.h"

#include "base/clock.h"
#include "base/err.h"
#include "control/api/env.h"
#include "control/api/mutation.h"
#include "control/rpc/server.h"
#include "control/state/state.h"

#include <errno.h>
#include <stdlib.h>

struct caller {
    const struct api_env *env;
    struct rpc_call *call; /* NULL: the client has gone */
    struct mutation *mutation;
    void (*reply)(const struct api_env *env, const ProtobufCMessage *request,
                  struct rpc_call *call);
};

static void caller_cancelled(void *ctx, struct rpc_call *call)
{
    struct caller *caller = ctx;
    (void)call;
    caller->call = NULL;
    if (mutation_withdraw(caller->mutation))
        free(caller);
}

/* The log's reason, without the text for the client, which may hold the peer's id. */
static const char *denied_reason(const struct api_env *env, const struct mutation *mutation)
{
    const struct state *state = env->state(env->ctx);
    return state == NULL || state_authorization(state, mutation_subject(mutation)) == NULL
               ? "the peer is not authorized"
               : "another WireGuard key is bound to the peer's id";
}

static void caller_done(void *ctx, const struct mutation *mutation, enum grpc_code status,
                        const struct err *err, uint64_t rev)
{
    struct caller *caller = ctx;
    const struct api_env *env = caller->env;
    (void)rev;
    if (status == GRPC_OK)
        env->settle(env->ctx);
    /* settling ends the calls of a peer that was just deauthorized, perhaps this one */
    struct rpc_call *call = caller->call;
    if (call != NULL && status == GRPC_OK)
        caller->reply(env, mutation->request, call);
    else if (call != NULL && status == GRPC_PERMISSION_DENIED)
        rpc_call_deny(call, denied_reason(env, mutation), err->text);
    else if (call != NULL)
        rpc_call_finish(call, status, err->text);
    free(caller);
}

void mutation_call(const struct api_env *env, struct rpc_call *call,
                   const struct mutation_kind *kind, const ProtobufCMessage *request,
                   void (*reply)(const struct api_env *env, const ProtobufCMessage *request,
                                 struct rpc_call *call))
{
    struct mutation *mutation = NULL;
    struct caller *caller = calloc(1, sizeof *caller);
    int code = caller == NULL
                   ? -ENOMEM
                   : mutation_create(&mutation, kind, request, NULL, clock_realtime_ns());
    if (code < 0) {
        free(caller);
        rpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    *caller = (struct caller){.env = env, .call = call, .mutation = mutation, .reply = reply};
    mutation->owner = (struct writer_owner){rpc_call_account(call), rpc_call_is_peers(call)};
    rpc_call_on_cancel(call, caller_cancelled, caller);
    mutation_submit(mutation, env->writer, caller_done, caller);
}

void mutation_reply_empty(const struct api_env *env, const ProtobufCMessage *request,
                          struct rpc_call *call)
{
    Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
    (void)env;
    (void)request;
    rpc_call_reply(call, &empty.base);
}
