#include "control/api/mutation_call.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "control/api/env.h"
#include "control/api/mutation.h"
#include "control/rpc/server.h"
#include "control/state/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
    if (mutation_withdraw(caller->mutation)) {
        rpc_call_explain(call, "nothing was changed");
        free(caller);
    } else {
        rpc_call_explain(call, "the change may still happen: repeat the request to make sure");
    }
}

/* 32 hex digits, with dashes anywhere: a UUID. */
static bool read_id(uint8_t out[MUTATION_ID_LEN], const char *text)
{
    char hex[2 * MUTATION_ID_LEN + 1];
    size_t len = 0;
    for (; *text != '\0'; text++) {
        if (*text == '-')
            continue;
        if (len == sizeof hex - 1)
            return false;
        hex[len++] = *text;
    }
    hex[len] = '\0';
    return len == sizeof hex - 1 && bytes_from_hex(out, MUTATION_ID_LEN, hex);
}

/* The ids that a call carries; false when one is malformed. `*id` is NULL without one, else
 * `bytes`. */
static bool read_ids(const struct rpc_call *call, uint8_t bytes[MUTATION_ID_LEN],
                     const uint8_t **id, char repeat_key[MUTATION_NAME])
{
    uint8_t key[MUTATION_ID_LEN];
    const char *text = rpc_call_metadata(call, "heimdall-request-id");
    const char *repeat = rpc_call_metadata(call, "heimdall-repeat-key");
    *id = text == NULL ? NULL : bytes;
    repeat_key[0] = '\0';
    if ((text != NULL && !read_id(bytes, text)) || (repeat != NULL && !read_id(key, repeat)))
        return false;
    if (repeat != NULL) {
        repeat_key[0] = '=';
        bytes_to_hex(repeat_key + 1, key, MUTATION_ID_LEN);
    }
    return true;
}

/* The log's reason, without the text for the client, which may hold the peer's id. */
static const char *denied_reason(const struct api_env *env, const struct mutation *mutation)
{
    const struct state *state = env->state(env->ctx);
    return state == NULL || state_authorization(state, mutation_subject(mutation)) == NULL
               ? "the peer is not authorized"
               : "another WireGuard key is bound to the peer's id";
}

/* A change for a peer that has gone is always logged: changes have a rate. */
static bool caller_may_log(void *ctx, unsigned *left_out)
{
    const struct caller *caller = ctx;
    return caller->call != NULL ? rpc_call_may_log(caller->call, left_out)
                                : caller->mutation->changed;
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
    uint8_t bytes[MUTATION_ID_LEN];
    char repeat_key[MUTATION_NAME];
    const uint8_t *id;
    if (!read_ids(call, bytes, &id, repeat_key)) {
        rpc_call_fail(call, GRPC_INVALID_ARGUMENT,
                      "heimdall-request-id and heimdall-repeat-key are UUIDs");
        return;
    }
    struct caller *caller = calloc(1, sizeof *caller);
    int code = caller == NULL ? -ENOMEM
                              : mutation_create(&mutation, kind, request, id, clock_realtime_ns());
    if (code < 0) {
        free(caller);
        rpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    *caller = (struct caller){.env = env, .call = call, .mutation = mutation, .reply = reply};
    memcpy(mutation->repeat_key, repeat_key, sizeof repeat_key);
    mutation->may_log = caller_may_log;
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
