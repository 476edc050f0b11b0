#include "control/api/heimdall.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "control/api/env.h"
#include "control/api/live.h"
#include "control/api/mutation.h"
#include "control/api/mutation_call.h"
#include "control/rpc/server.h"
#include "control/state/record_time.h"
#include "control/state/state.h"
#include "proto/cluster.pb-c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct heimdall_service {
    const struct api_env *env;
    const struct watch_peer *watch;
};

/* ---- answers from the state ---- */

static const struct state *state_or_fail(const struct heimdall_service *handlers,
                                         struct rpc_call *call)
{
    const struct state *state = handlers->env->state(handlers->env->ctx);
    if (state == NULL)
        rpc_call_fail(call, GRPC_UNAVAILABLE, "this node is still starting");
    return state;
}

static void *array_or_fail(struct rpc_call *call, size_t count, size_t size)
{
    void *array = calloc(count + 1, size);
    if (array == NULL)
        rpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    return array;
}

static void handle_authorized(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct state *state = state_or_fail(ctx, call);
    Pb__AuthorizedPeersResponse response;
    (void)message;
    if (state == NULL)
        return;
    pb__authorized_peers_response__init(&response);
    response.ids = array_or_fail(call, state_authorization_count(state), sizeof *response.ids);
    if (response.ids == NULL)
        return;
    response.n_ids = state_authorization_count(state);
    for (size_t i = 0; i < response.n_ids; i++)
        response.ids[i] = state_authorization_at(state, i)->pb->id;
    rpc_call_reply(call, &response.base);
    free(response.ids);
}

static void handle_routes(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct state *state = state_or_fail(ctx, call);
    Pb__RoutesResponse response;
    (void)message;
    if (state == NULL)
        return;
    pb__routes_response__init(&response);
    response.routes = array_or_fail(call, state_route_count(state), sizeof *response.routes);
    if (response.routes == NULL)
        return;
    response.n_routes = state_route_count(state);
    for (size_t i = 0; i < response.n_routes; i++)
        response.routes[i] = state_route_at(state, i)->pb;
    rpc_call_reply(call, &response.base);
    free(response.routes);
}

/* A node's record holds when that node last wrote it. The node that answers is alive now. */
static void handle_nodes(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct heimdall_service *handlers = ctx;
    const struct state *state = state_or_fail(handlers, call);
    Google__Protobuf__Timestamp now = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    Pb__NodesResponse response;
    Pb__Node self;
    (void)message;
    if (state == NULL)
        return;
    pb__nodes_response__init(&response);
    response.nodes = array_or_fail(call, state_node_count(state), sizeof *response.nodes);
    if (response.nodes == NULL)
        return;
    response.n_nodes = state_node_count(state);
    for (size_t i = 0; i < response.n_nodes; i++) {
        const struct state_node *node = state_node_at(state, i);
        response.nodes[i] = node->pb;
        if (strcmp(node->id, handlers->env->node_id) == 0) {
            self = *node->pb;
            now = record_time(clock_realtime_ns());
            self.updated = &now;
            response.nodes[i] = &self;
        }
    }
    rpc_call_reply(call, &response.base);
    free(response.nodes);
}

static void handle_peers(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct heimdall_service *handlers = ctx;
    const struct state *state = state_or_fail(handlers, call);
    struct live live;
    Pb__PeersResponse response;
    (void)message;
    if (state == NULL)
        return;
    pb__peers_response__init(&response);
    size_t count = state_peer_count(state);
    struct live_peer *peers = calloc(count + 1, sizeof *peers);
    response.peers = calloc(count + 1, sizeof *response.peers);
    if (peers == NULL || response.peers == NULL) {
        rpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        goto out;
    }
    live_init_now(&live, handlers->env, handlers->watch);
    response.n_peers = count;
    for (size_t i = 0; i < count; i++) {
        live_peer_fill(&peers[i], &live, state_peer_at(state, i));
        response.peers[i] = &peers[i].pb;
    }
    rpc_call_reply(call, &response.base);
    live_fini(&live);
out:
    free(response.peers);
    free(peers);
}

/* ---- changes ---- */

static void handle_authorize(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct heimdall_service *handlers = ctx;
    mutation_call(handlers->env, call, &mutation_authorize_peer, message, mutation_reply_empty);
}

static void handle_deauthorize(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct heimdall_service *handlers = ctx;
    mutation_call(handlers->env, call, &mutation_deauthorize_peer, message, mutation_reply_empty);
}

static void handle_rekey(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct heimdall_service *handlers = ctx;
    mutation_call(handlers->env, call, &mutation_rekey_peer, message, mutation_reply_empty);
}

static void handle_rename(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct heimdall_service *handlers = ctx;
    mutation_call(handlers->env, call, &mutation_rename_peer, message, mutation_reply_empty);
}

static void handle_create_route(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct heimdall_service *handlers = ctx;
    mutation_call(handlers->env, call, &mutation_create_route, message, mutation_reply_empty);
}

static void handle_delete_route(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct heimdall_service *handlers = ctx;
    mutation_call(handlers->env, call, &mutation_delete_route, message, mutation_reply_empty);
}

static void reply_connect(const struct api_env *env, const ProtobufCMessage *message,
                          struct rpc_call *call)
{
    const Pb__ConnectRequest *request = (const Pb__ConnectRequest *)message;
    Pb__ConnectResponse *response = api_env_connect_response(env, request->id);
    if (response == NULL) {
        rpc_call_fail(call, GRPC_UNAVAILABLE,
                      "the peer was removed meanwhile, or memory is short: retry");
        return;
    }
    rpc_call_reply(call, &response->base);
    pb__connect_response__free_unpacked(response, NULL);
}

static void handle_connect(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct heimdall_service *handlers = ctx;
    const Pb__ConnectRequest *request = (const Pb__ConnectRequest *)message;
    const struct transport_caller *caller = rpc_call_caller(call);
    if (caller->id[0] != '\0' && strcmp(caller->id, request->id) != 0) {
        rpc_call_deny(call, "a peer may connect as itself only",
                      "a peer may connect as itself only");
        return;
    }
    if (request->public_key[0] == '\0') {
        rpc_call_fail(
            call, GRPC_FAILED_PRECONDITION,
            "this node makes no private keys for peers: upgrade to an hpeer that makes its "
            "own and sends its public key");
        return;
    }
    mutation_call(handlers->env, call, &mutation_connect, message, reply_connect);
}

/* ---- joining ---- */

static void handle_join(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct heimdall_service *handlers = ctx;
    const Pb__JoinRequest *request = (const Pb__JoinRequest *)message;
    size_t len = strlen(handlers->env->cluster_key);
    if (strlen(request->cluster_key) != len ||
        !bytes_equal_ct(request->cluster_key, handlers->env->cluster_key, len))
        rpc_call_fail(call, GRPC_PERMISSION_DENIED, "the cluster key is not this cluster's");
    else
        rpc_call_fail(call, GRPC_UNIMPLEMENTED,
                      "this version serves one node: other nodes cannot join yet");
}

#define CLUSTER "/heimdall.v1.Cluster/"
#define SERVICE "/dev.ehazlett.heimdall.api.v1.Heimdall/"
#define ADMINS  (TRANSPORT_NODE | TRANSPORT_ADMIN)
#define EMPTY   google__protobuf__empty__descriptor

static const struct rpc_method methods[] = {
    {SERVICE "Connect", RPC_UNARY, TRANSPORT_PEER, &pb__connect_request__descriptor,
     &pb__connect_response__descriptor, handle_connect},
    {SERVICE "AuthorizePeer", RPC_UNARY, ADMINS, &pb__authorize_peer_request__descriptor, &EMPTY,
     handle_authorize},
    {SERVICE "DeauthorizePeer", RPC_UNARY, ADMINS, &pb__deauthorize_peer_request__descriptor,
     &EMPTY, handle_deauthorize},
    {SERVICE "AuthorizedPeers", RPC_UNARY, ADMINS, &pb__authorized_peers_request__descriptor,
     &pb__authorized_peers_response__descriptor, handle_authorized},
    {SERVICE "Join", RPC_UNARY, TRANSPORT_NODE, &pb__join_request__descriptor,
     &pb__join_response__descriptor, handle_join},
    {SERVICE "Routes", RPC_UNARY, ADMINS, &pb__routes_request__descriptor,
     &pb__routes_response__descriptor, handle_routes},
    {SERVICE "CreateRoute", RPC_UNARY, ADMINS, &pb__create_route_request__descriptor, &EMPTY,
     handle_create_route},
    {SERVICE "DeleteRoute", RPC_UNARY, ADMINS, &pb__delete_route_request__descriptor, &EMPTY,
     handle_delete_route},
    {SERVICE "Nodes", RPC_UNARY, ADMINS, &pb__nodes_request__descriptor,
     &pb__nodes_response__descriptor, handle_nodes},
    {SERVICE "Peers", RPC_UNARY, ADMINS, &pb__peers_request__descriptor,
     &pb__peers_response__descriptor, handle_peers},
    {CLUSTER "RekeyPeer", RPC_UNARY, ADMINS, &pb__rekey_peer_request__descriptor, &EMPTY,
     handle_rekey},
    {CLUSTER "RenamePeer", RPC_UNARY, ADMINS, &pb__rename_peer_request__descriptor, &EMPTY,
     handle_rename},
};

int heimdall_service_create(struct heimdall_service **out, struct rpc_server *server,
                            const struct api_env *env, const struct watch_peer *watch)
{
    *out = NULL;
    struct heimdall_service *handlers = calloc(1, sizeof *handlers);
    if (handlers == NULL)
        return -ENOMEM;
    handlers->env = env;
    handlers->watch = watch;
    int code = rpc_server_add(server, methods, sizeof methods / sizeof methods[0], handlers);
    if (code < 0) {
        free(handlers);
        return code;
    }
    *out = handlers;
    return 0;
}

void heimdall_service_destroy(struct heimdall_service *handlers)
{
    free(handlers);
}
