#include "control/api/status.h"

#include "base/clock.h"
#include "base/map.h"
#include "control/api/heimdall.h"
#include "control/api/live.h"
#include "control/api/report.h"
#include "control/api/watch_peer.h"
#include "control/rpc/server.h"
#include "proto/cluster.pb-c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct status {
    const struct api_env *env;
    const struct watch_peer *watch;
};

/* The peers that hold a stream, while an answer is made. */
struct watchers {
    struct map by_id;
    uint64_t now_ns;
};

static void add_watcher(void *ctx, const char *id, const uint64_t *since_ns)
{
    struct watchers *watchers = ctx;
    (void)map_put(&watchers->by_id, id, strlen(id), (void *)(uintptr_t)since_ns);
}

static void watchers_init(struct watchers *watchers, const struct watch_peer *watch)
{
    uint8_t seed[16] = {0};
    (void)!getrandom(seed, sizeof seed, 0);
    map_init(&watchers->by_id, seed);
    watchers->now_ns = clock_boottime_ns();
    watch_peer_each(watch, add_watcher, watchers);
}

static bool is_watching(void *ctx, const char *peer_id, uint64_t *for_ns)
{
    const struct watchers *watchers = ctx;
    const uint64_t *since_ns = map_get(&watchers->by_id, peer_id, strlen(peer_id));
    if (since_ns != NULL)
        *for_ns = watchers->now_ns - *since_ns;
    return since_ns != NULL;
}

static void answer(const struct status *self, struct rpc_call *call, const struct state *state,
                   const struct watchers *watchers, const struct live *live)
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
        .now_ns = clock_realtime_ns(),
        .ctx = (void *)(uintptr_t)watchers,
        .watching = is_watching,
    };
    if (report_create(&status, &facts) < 0) {
        rpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    report_cut(status, GRPC_MESSAGE_MAX);
    rpc_call_reply(call, &report_response(status)->base);
    report_destroy(status);
}

static void handle_status(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct status *self = ctx;
    const struct api_env *env = self->env;
    const struct state *state = env->state(env->ctx);
    struct watchers watchers;
    struct live live;
    (void)message;
    if (state == NULL) {
        rpc_call_fail(call, GRPC_UNAVAILABLE, "this node is still starting");
        return;
    }
    watchers_init(&watchers, self->watch);
    live_init(&live, env->tunnel_info, env->ctx);
    answer(self, call, state, &watchers, &live);
    live_fini(&live);
    map_fini(&watchers.by_id);
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
