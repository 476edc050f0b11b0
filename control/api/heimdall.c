/* A change goes: handler -> mutation (a copy of the request's words) -> writer -> store -> state ->
 * data plane -> answer. The caller may be gone before the answer; the change is made all the same.
 */
#include "control/api/heimdall.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/api/live.h"
#include "control/cluster/writer.h"
#include "control/rpc/server.h"
#include "control/state/access.h"
#include "control/state/change.h"
#include "control/state/peer_config.h"
#include "control/state/record_time.h"
#include "control/state/state.h"
#include "proto/cluster.pb-c.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct heimdall_service {
    struct api_env env;
};

/* ---- changes ---- */

enum { WORDS = 5 };

struct mutation {
    struct heimdall_service *handlers;
    struct rpc_call *call; /* NULL: the caller has gone */
    enum grpc_code (*build)(const struct mutation *mutation, struct change *change,
                            const struct state *state, struct err *err);
    void (*reply)(const struct mutation *mutation, struct rpc_call *call);
    const char *done_message; /* for the log */
    const char *word_name;    /* what the logged first word is, or NULL: a peer's id */
    uint64_t now_ns;
    char *words[WORDS]; /* of the request, as `build` knows them */
};

static void mutation_free(struct mutation *mutation)
{
    for (size_t i = 0; i < WORDS; i++)
        free(mutation->words[i]);
    free(mutation);
}

static void mutation_cancelled(void *ctx, struct rpc_call *call)
{
    struct mutation *mutation = ctx;
    (void)call;
    mutation->call = NULL;
}

static enum grpc_code mutation_build(void *ctx, struct change *change, const struct state *state,
                                     struct err *err)
{
    const struct mutation *mutation = ctx;
    return mutation->build(mutation, change, state, err);
}

static void mutation_log(const struct mutation *mutation, uint64_t rev)
{
    char id[9];
    if (mutation->word_name != NULL)
        log_info(mutation->done_message, F_STR(mutation->word_name, mutation->words[0]),
                 F_INT("rev", rev));
    else
        log_info(mutation->done_message, F_STR("peer", log_short_id(id, mutation->words[0])),
                 F_INT("rev", rev));
}

/* For the log; the caller's text may hold its id. */
static const char *denied_reason(const struct mutation *mutation)
{
    const struct api_env *env = &mutation->handlers->env;
    const struct state *state = env->state(env->ctx);
    return state == NULL || state_authorization(state, mutation->words[0]) == NULL
               ? "the peer is not authorized"
               : "another WireGuard key is bound to the peer's id";
}

static void mutation_done(void *ctx, enum grpc_code status, const struct err *err, uint64_t rev)
{
    struct mutation *mutation = ctx;
    const struct api_env *env = &mutation->handlers->env;
    if (status == GRPC_OK) {
        mutation_log(mutation, rev);
        env->settle(env->ctx);
    }
    /* settling may have ended the call: a peer that was just deauthorized */
    struct rpc_call *call = mutation->call;
    if (call != NULL && status == GRPC_OK)
        mutation->reply(mutation, call);
    else if (call != NULL && status == GRPC_PERMISSION_DENIED)
        rpc_call_deny(call, denied_reason(mutation), err->text);
    else if (call != NULL)
        rpc_call_finish(call, status, err->text);
    mutation_free(mutation);
}

static void reply_empty(const struct mutation *mutation, struct rpc_call *call)
{
    Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
    (void)mutation;
    rpc_call_reply(call, &empty.base);
}

/* What the kinds of change differ in, besides their words. */
struct mutation_kind {
    enum grpc_code (*build)(const struct mutation *mutation, struct change *change,
                            const struct state *state, struct err *err);
    void (*reply)(const struct mutation *mutation, struct rpc_call *call);
    const char *done_message;
    const char *word_name;
};

static void mutate(struct heimdall_service *handlers, struct rpc_call *call,
                   const struct mutation_kind *kind, const char *const words[WORDS])
{
    struct mutation *mutation = calloc(1, sizeof *mutation);
    bool failed = mutation == NULL;
    for (size_t i = 0; i < WORDS && !failed && words[i] != NULL; i++) {
        mutation->words[i] = strdup(words[i]);
        failed = mutation->words[i] == NULL;
    }
    if (failed) {
        if (mutation != NULL)
            mutation_free(mutation);
        rpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    mutation->handlers = handlers;
    mutation->call = call;
    mutation->build = kind->build;
    mutation->reply = kind->reply;
    mutation->done_message = kind->done_message;
    mutation->word_name = kind->word_name;
    mutation->now_ns = clock_realtime_ns();
    rpc_call_on_cancel(call, mutation_cancelled, mutation);
    writer_submit(
        handlers->env.writer,
        &(struct writer_request){.ctx = mutation, .build = mutation_build, .done = mutation_done});
}

static enum grpc_code build_authorize(const struct mutation *mutation, struct change *change,
                                      const struct state *state, struct err *err)
{
    return change_authorize_peer(change, state, mutation->words[0], mutation->now_ns, err);
}

static void handle_authorize(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    static const struct mutation_kind kind = {build_authorize, reply_empty, "authorized peer",
                                              NULL};
    const Pb__AuthorizePeerRequest *request = (const Pb__AuthorizePeerRequest *)message;
    mutate(ctx, call, &kind, (const char *const[WORDS]){request->id});
}

static enum grpc_code build_deauthorize(const struct mutation *mutation, struct change *change,
                                        const struct state *state, struct err *err)
{
    return change_deauthorize_peer(change, state, mutation->words[0], err);
}

static void handle_deauthorize(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    static const struct mutation_kind kind = {build_deauthorize, reply_empty, "deauthorized peer",
                                              NULL};
    const Pb__DeauthorizePeerRequest *request = (const Pb__DeauthorizePeerRequest *)message;
    mutate(ctx, call, &kind, (const char *const[WORDS]){request->id});
}

static enum grpc_code build_rekey(const struct mutation *mutation, struct change *change,
                                  const struct state *state, struct err *err)
{
    return change_rekey_peer(change, state, mutation->words[0], err);
}

static void handle_rekey(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    static const struct mutation_kind kind = {build_rekey, reply_empty,
                                              "the peer may bring a new key, once", NULL};
    const Pb__RekeyPeerRequest *request = (const Pb__RekeyPeerRequest *)message;
    mutate(ctx, call, &kind, (const char *const[WORDS]){request->id});
}

static enum grpc_code build_rename(const struct mutation *mutation, struct change *change,
                                   const struct state *state, struct err *err)
{
    return change_rename_peer(change, state, mutation->words[0], mutation->words[1], err);
}

static void handle_rename(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    static const struct mutation_kind kind = {build_rename, reply_empty, "renamed peer", NULL};
    const Pb__RenamePeerRequest *request = (const Pb__RenamePeerRequest *)message;
    mutate(ctx, call, &kind, (const char *const[WORDS]){request->id, request->name});
}

static enum grpc_code build_create_route(const struct mutation *mutation, struct change *change,
                                         const struct state *state, struct err *err)
{
    return change_create_route(change, state, mutation->words[1], mutation->words[0], err);
}

static void handle_create_route(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    static const struct mutation_kind kind = {build_create_route, reply_empty, "created route",
                                              "network"};
    const Pb__CreateRouteRequest *request = (const Pb__CreateRouteRequest *)message;
    mutate(ctx, call, &kind, (const char *const[WORDS]){request->network, request->node_id});
}

static enum grpc_code build_delete_route(const struct mutation *mutation, struct change *change,
                                         const struct state *state, struct err *err)
{
    return change_delete_route(change, state, mutation->words[0], err);
}

static void handle_delete_route(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    static const struct mutation_kind kind = {build_delete_route, reply_empty, "deleted route",
                                              "network"};
    const Pb__DeleteRouteRequest *request = (const Pb__DeleteRouteRequest *)message;
    mutate(ctx, call, &kind, (const char *const[WORDS]){request->network});
}

static enum grpc_code build_connect(const struct mutation *mutation, struct change *change,
                                    const struct state *state, struct err *err)
{
    struct change_peer peer = {
        .id = mutation->words[0],
        .name = mutation->words[1],
        .public_key = mutation->words[2],
        .version = mutation->words[3],
        .no_ipv6 = mutation->words[4] != NULL,
        .now_ns = mutation->now_ns,
    };
    return change_connect_peer(change, state, &peer, err);
}

Pb__ConnectResponse *api_env_connect_response(const struct api_env *env, const char *peer_id)
{
    Pb__ConnectResponse *response =
        peer_config_build(env->state(env->ctx), peer_id, env->dns_domain(env->ctx));
    char *public_key = strdup(env->public_key);
    if (response == NULL || public_key == NULL) {
        free(public_key);
        pb__connect_response__free_unpacked(response, NULL);
        return NULL;
    }
    response->node_public_key = public_key;
    response->node_run = env->run;
    return response;
}

static void reply_connect(const struct mutation *mutation, struct rpc_call *call)
{
    const struct api_env *env = &mutation->handlers->env;
    Pb__ConnectResponse *response = api_env_connect_response(env, mutation->words[0]);
    if (response == NULL) {
        rpc_call_fail(call, GRPC_UNAVAILABLE, "the peer is already gone again, or memory is short");
        return;
    }
    rpc_call_reply(call, &response->base);
    pb__connect_response__free_unpacked(response, NULL);
}

static void handle_connect(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    static const struct mutation_kind kind = {build_connect, reply_connect, "connected peer", NULL};
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
    mutate(ctx, call, &kind,
           (const char *const[WORDS]){request->id, request->name, request->public_key,
                                      request->version, request->no_ipv6 ? "no IPv6" : NULL});
}

/* ---- answers from the state ---- */

static const struct state *state_or_fail(const struct heimdall_service *handlers,
                                         struct rpc_call *call)
{
    const struct state *state = handlers->env.state(handlers->env.ctx);
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

/* The record of a node says when it last wrote it; of ourselves we know that we live now. */
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
        if (strcmp(node->id, handlers->env.node_id) == 0) {
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
    live_init(&live, handlers->env.tunnel_info, handlers->env.ctx);
    response.n_peers = count;
    for (size_t i = 0; i < count; i++) {
        const struct state_peer *peer = state_peer_at(state, i);
        live_peer_fill(&peers[i], peer, live_find(&live, peer->public_key));
        response.peers[i] = &peers[i].pb;
    }
    rpc_call_reply(call, &response.base);
    live_fini(&live);
out:
    free(response.peers);
    free(peers);
}

/* ---- joining ---- */

static void handle_join(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct heimdall_service *handlers = ctx;
    const Pb__JoinRequest *request = (const Pb__JoinRequest *)message;
    size_t len = strlen(handlers->env.cluster_key);
    if (strlen(request->cluster_key) != len ||
        !bytes_equal_ct(request->cluster_key, handlers->env.cluster_key, len))
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
                            const struct api_env *env)
{
    *out = NULL;
    struct heimdall_service *handlers = calloc(1, sizeof *handlers);
    if (handlers == NULL)
        return -ENOMEM;
    handlers->env = *env;
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
