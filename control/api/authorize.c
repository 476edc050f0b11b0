#include "control/api/authorize.h"

#include "base/bytes.h"
#include "base/err.h"
#include "control/api/env.h"
#include "control/api/mutation.h"
#include "control/api/mutation_call.h"
#include "control/rpc/call.h"
#include "control/rpc/transport_key.h"
#include "control/state/access.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* An authorization whose id is being stretched. */
struct authorizing {
    uv_work_t work;
    const struct api_env *env;
    struct rpc_call *call; /* NULL: the client has gone */
    char id[ACCESS_ID_MAX + 1];
    uint8_t secret[TRANSPORT_STRETCHED_LEN];
    int code;
};

static void authorizing_cancelled(void *ctx, struct rpc_call *call)
{
    struct authorizing *authorizing = ctx;
    rpc_call_explain(call, "nothing was changed");
    authorizing->call = NULL;
}

static void authorizing_stretch(uv_work_t *work)
{
    struct authorizing *authorizing = work->data;
    authorizing->code = transport_stretch_bytes(authorizing->secret, authorizing->id);
}

static void authorizing_free(struct authorizing *authorizing)
{
    bytes_wipe(authorizing, sizeof *authorizing);
    free(authorizing);
}

static void authorizing_done(uv_work_t *work, int status)
{
    struct authorizing *authorizing = work->data;
    Pb__AuthorizePeerRequest request = PB__AUTHORIZE_PEER_REQUEST__INIT;
    request.id = authorizing->id;
    request.wire_secret.data = authorizing->secret;
    request.wire_secret.len = sizeof authorizing->secret;
    if (authorizing->call != NULL && (status < 0 || authorizing->code < 0))
        rpc_call_fail(authorizing->call, GRPC_INTERNAL, "the id's secret cannot be derived");
    else if (authorizing->call != NULL)
        mutation_call(authorizing->env, authorizing->call, &mutation_authorize_peer, &request.base,
                      mutation_reply_empty);
    authorizing_free(authorizing);
}

void authorize_call(const struct api_env *env, struct rpc_call *call,
                    const ProtobufCMessage *message)
{
    const Pb__AuthorizePeerRequest *request = (const Pb__AuthorizePeerRequest *)message;
    struct err err;
    if (access_check_id(request->id, "peer id", &err) != 0) { /* before it costs anything */
        rpc_call_fail(call, GRPC_INVALID_ARGUMENT, "%s", err.text);
        return;
    }
    struct authorizing *authorizing = calloc(1, sizeof *authorizing);
    if (authorizing == NULL)
        goto fail;
    authorizing->env = env;
    authorizing->call = call;
    authorizing->work.data = authorizing;
    memcpy(authorizing->id, request->id, strlen(request->id) + 1);
    if (uv_queue_work(rpc_call_loop(call), &authorizing->work, authorizing_stretch,
                      authorizing_done) < 0)
        goto fail;
    rpc_call_on_cancel(call, authorizing_cancelled, authorizing);
    return;
fail:
    free(authorizing);
    rpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
}
