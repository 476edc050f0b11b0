#include "control/api/status.h"

#include "control/api/env.h"
#include "control/api/facts.h"
#include "control/api/live.h"
#include "control/api/page.h"
#include "control/api/report.h"
#include "control/rpc/server.h"
#include "proto/cluster.pb-c.h"

#include <errno.h>
#include <stdlib.h>

struct status {
    const struct api_env *env;
    const struct watch_peer *watch;
};

static void answer(const struct status *self, struct rpc_call *call, const struct state *state,
                   const struct live *live, struct page *page)
{
    const struct api_env *env = self->env;
    struct report_host host = {.interface_name = ""};
    struct report *status = NULL;
    env->host(env->ctx, &host);
    struct report_facts facts = {
        .state = state,
        .live = live,
        .host = &host,
        .node_id = env->node_id,
        .version = HEIMDALL_VERSION,
        .now_ns = live->now_ns,
    };
    if (report_create(&status, &facts, page) < 0) {
        rpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    rpc_call_reply(call, &report_response(status)->base);
    report_destroy(status);
}

static void handle_status(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct status *self = ctx;
    const struct api_env *env = self->env;
    const struct state *state = env->state(env->ctx);
    const Pb__StatusRequest *request = (const Pb__StatusRequest *)message;
    struct page page;
    struct live live;
    if (state == NULL) {
        rpc_call_fail(call, GRPC_UNAVAILABLE, "this node is still starting");
        return;
    }
    if (!page_init(&page, call, WALK_NODES, request->page_size, request->page_token))
        return;
    live_init_now(&live, env, self->watch);
    answer(self, call, state, &live, &page);
    live_fini(&live);
}

int status_create(struct status **out, struct rpc_server *server, const struct api_env *env,
                  const struct watch_peer *watch)
{
    static const struct rpc_method method = {
        "/heimdall.v1.Cluster/Status",    RPC_UNARY,
        TRANSPORT_NODE | TRANSPORT_ADMIN, &pb__status_request__descriptor,
        &pb__status_response__descriptor, handle_status};
    *out = NULL;
    struct status *status = calloc(1, sizeof *status);
    if (status == NULL)
        return -ENOMEM;
    status->env = env;
    status->watch = watch;
    int code = rpc_server_add(server, &method, 1, status);
    if (code < 0) {
        free(status);
        return code;
    }
    *out = status;
    return 0;
}

void status_destroy(struct status *status)
{
    free(status);
}
