#include "control/api/heimdall.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "control/api/authorize.h"
#include "control/api/env.h"
#include "control/api/live.h"
#include "control/api/mutation.h"
#include "control/api/mutation_call.h"
#include "control/api/page.h"
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

/* A list that is being answered: the page, and an array of pointers for its records. */
struct listing {
    const struct state *state;
    struct page page;
    void **records;
    size_t place; /* of the next record in the state */
    size_t count; /* in the state */
};

/* False with the call failed. listing_fini in either case. */
static bool listing_init(struct listing *listing, const struct heimdall_service *handlers,
                         struct rpc_call *call, enum walk_part part, uint64_t size,
                         const char *token)
{
    *listing = (struct listing){.state = state_or_fail(handlers, call)};
    if (listing->state == NULL || !page_init(&listing->page, call, part, size, token))
        return false;
    if (listing->page.walk.part != part) {
        rpc_call_fail(call, GRPC_INVALID_ARGUMENT, "page_token belongs to another list");
        return false;
    }
    listing->place = walk_place(&listing->page.walk, listing->state);
    listing->count = walk_count(&listing->page.walk, listing->state);
    listing->records = calloc(listing->count - listing->place + 1, sizeof *listing->records);
    if (listing->records == NULL)
        rpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    return listing->records != NULL;
}

static void listing_fini(struct listing *listing)
{
    free(listing->records);
}

/* Takes the next record, of this size in the answer. */
static bool listing_takes(struct listing *listing, size_t packed_size)
{
    if (listing->place == listing->count || !page_takes_bytes(&listing->page, packed_size))
        return false;
    walk_take(&listing->page.walk, listing->state, listing->place++);
    return true;
}

static void listing_reply(struct listing *listing, struct rpc_call *call,
                          const ProtobufCMessage *response)
{
    if (page_check(&listing->page, call, listing->count))
        rpc_call_reply(call, response);
}

static void handle_authorized(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pb__AuthorizedPeersRequest *request = (const Pb__AuthorizedPeersRequest *)message;
    Pb__AuthorizedPeersResponse response = PB__AUTHORIZED_PEERS_RESPONSE__INIT;
    struct listing listing;
    if (listing_init(&listing, ctx, call, WALK_AUTHORIZATIONS, request->page_size,
                     request->page_token)) {
        response.ids = (char **)listing.records;
        for (size_t i = listing.place; i < listing.count; i++) {
            char *id = state_authorization_at(listing.state, i)->pb->id;
            if (!listing_takes(&listing, strlen(id)))
                break;
            response.ids[response.n_ids++] = id;
        }
        response.next_page_token = page_next(&listing.page);
        listing_reply(&listing, call, &response.base);
    }
    listing_fini(&listing);
}

static void handle_routes(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pb__RoutesRequest *request = (const Pb__RoutesRequest *)message;
    Pb__RoutesResponse response = PB__ROUTES_RESPONSE__INIT;
    struct listing listing;
    if (listing_init(&listing, ctx, call, WALK_ROUTES, request->page_size, request->page_token)) {
        response.routes = (Pb__Route **)listing.records;
        for (size_t i = listing.place; i < listing.count; i++) {
            Pb__Route *route = state_route_at(listing.state, i)->pb;
            if (!listing_takes(&listing, pb__route__get_packed_size(route)))
                break;
            response.routes[response.n_routes++] = route;
        }
        response.next_page_token = page_next(&listing.page);
        listing_reply(&listing, call, &response.base);
    }
    listing_fini(&listing);
}

/* A node's record holds when that node last wrote it. The node that answers is alive now. */
static void handle_nodes(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct heimdall_service *handlers = ctx;
    const Pb__NodesRequest *request = (const Pb__NodesRequest *)message;
    Google__Protobuf__Timestamp now = record_time(clock_realtime_ns());
    Pb__NodesResponse response = PB__NODES_RESPONSE__INIT;
    struct listing listing;
    Pb__Node self;
    if (listing_init(&listing, handlers, call, WALK_NODES, request->page_size,
                     request->page_token)) {
        response.nodes = (Pb__Node **)listing.records;
        response.now = &now;
        for (size_t i = listing.place; i < listing.count; i++) {
            Pb__Node *node = state_node_at(listing.state, i)->pb;
            if (strcmp(node->id, handlers->env->node_id) == 0) {
                self = *node;
                self.updated = &now;
                node = &self;
            }
            if (!listing_takes(&listing, pb__node__get_packed_size(node)))
                break;
            response.nodes[response.n_nodes++] = node;
        }
        response.next_page_token = page_next(&listing.page);
        listing_reply(&listing, call, &response.base);
    }
    listing_fini(&listing);
}

static void handle_peers(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct heimdall_service *handlers = ctx;
    const Pb__PeersRequest *request = (const Pb__PeersRequest *)message;
    Pb__PeersResponse response = PB__PEERS_RESPONSE__INIT;
    struct live_peer *peers = NULL;
    struct listing listing;
    struct live live;
    if (!listing_init(&listing, handlers, call, WALK_PEERS, request->page_size,
                      request->page_token))
        goto out;
    size_t count = listing.count - listing.place;
    if (request->page_size != 0 && request->page_size < count)
        count = (size_t)request->page_size;
    peers = calloc(count + 1, sizeof *peers);
    if (peers == NULL) {
        rpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        goto out;
    }
    live_init_now(&live, handlers->env, handlers->watch);
    response.peers = (Pb__Peer **)listing.records;
    for (struct live_peer *peer = peers; listing.place < listing.count; peer++) {
        live_peer_fill(peer, &live, state_peer_at(listing.state, listing.place));
        if (!listing_takes(&listing, pb__peer__get_packed_size(&peer->pb)))
            break;
        response.peers[response.n_peers++] = &peer->pb;
    }
    response.next_page_token = page_next(&listing.page);
    listing_reply(&listing, call, &response.base);
    live_fini(&live);
out:
    free(peers);
    listing_fini(&listing);
}

/* ---- changes ---- */

static void handle_authorize(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct heimdall_service *handlers = ctx;
    authorize_call(handlers->env, call, message);
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
    const struct state_peer *peer = state_peer(env->state(env->ctx), request->id);
    if (env->peer_connected != NULL && peer != NULL)
        env->peer_connected(env->ctx, peer->public_key);
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
