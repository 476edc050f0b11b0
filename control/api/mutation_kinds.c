/* Every request that changes the network, by name: the message it comes in, the builder of change.h
 * that makes the change, and what the log says. */
#include "base/err.h"
#include "base/log.h"
#include "control/api/mutation.h"
#include "control/state/record_time.h"
#include "control/state/state.h"
#include "proto/cluster.pb-c.h"
#include "proto/mutation.pb-c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- peers ---- */

static enum grpc_code build_connect(struct change *change, const struct state *state,
                                    const ProtobufCMessage *message, uint64_t made_ns,
                                    struct err *err)
{
    const Pb__ConnectRequest *request = (const Pb__ConnectRequest *)message;
    struct change_peer peer = {
        .id = request->id,
        .name = request->name,
        .public_key = request->public_key,
        .version = request->version,
        .no_ipv6 = request->no_ipv6,
        .psk_version = request->psk_version,
        .now_ns = made_ns,
    };
    return change_connect_peer(change, state, &peer, err);
}

const struct mutation_kind mutation_connect = {
    .name = "Connect",
    .request = &pb__connect_request__descriptor,
    .build = build_connect,
    .done_message = "connected peer",
    .subject = offsetof(Pb__ConnectRequest, id),
};

static enum grpc_code build_authorize(struct change *change, const struct state *state,
                                      const ProtobufCMessage *message, uint64_t made_ns,
                                      struct err *err)
{
    const Pb__AuthorizePeerRequest *request = (const Pb__AuthorizePeerRequest *)message;
    return change_authorize_peer_secret(change, state, request->id, request->wire_secret.data,
                                        request->wire_secret.len, made_ns, err);
}

const struct mutation_kind mutation_authorize_peer = {
    .name = "AuthorizePeer",
    .request = &pb__authorize_peer_request__descriptor,
    .build = build_authorize,
    .is_kept = true,
    .done_message = "authorized peer",
    .subject = offsetof(Pb__AuthorizePeerRequest, id),
};

static enum grpc_code build_deauthorize(struct change *change, const struct state *state,
                                        const ProtobufCMessage *message, uint64_t made_ns,
                                        struct err *err)
{
    const Pb__DeauthorizePeerRequest *request = (const Pb__DeauthorizePeerRequest *)message;
    (void)made_ns;
    return change_deauthorize_peer(change, state, request->id, err);
}

static bool is_deauthorized(const struct state *state, const ProtobufCMessage *message)
{
    const Pb__DeauthorizePeerRequest *request = (const Pb__DeauthorizePeerRequest *)message;
    return state_authorization(state, request->id) == NULL;
}

const struct mutation_kind mutation_deauthorize_peer = {
    .name = "DeauthorizePeer",
    .request = &pb__deauthorize_peer_request__descriptor,
    .build = build_deauthorize,
    .holds = is_deauthorized,
    .is_kept = true,
    .done_message = "deauthorized peer",
    .subject = offsetof(Pb__DeauthorizePeerRequest, id),
};

static enum grpc_code build_rekey(struct change *change, const struct state *state,
                                  const ProtobufCMessage *message, uint64_t made_ns,
                                  struct err *err)
{
    const Pb__RekeyPeerRequest *request = (const Pb__RekeyPeerRequest *)message;
    (void)made_ns;
    return change_rekey_peer(change, state, request->id, err);
}

const struct mutation_kind mutation_rekey_peer = {
    .name = "RekeyPeer",
    .request = &pb__rekey_peer_request__descriptor,
    .build = build_rekey,
    .is_kept = true,
    .done_message = "the peer may bring a new key, once",
    .subject = offsetof(Pb__RekeyPeerRequest, id),
};

static enum grpc_code build_rename(struct change *change, const struct state *state,
                                   const ProtobufCMessage *message, uint64_t made_ns,
                                   struct err *err)
{
    const Pb__RenamePeerRequest *request = (const Pb__RenamePeerRequest *)message;
    (void)made_ns;
    return change_rename_peer(change, state, request->id, request->name, err);
}

const struct mutation_kind mutation_rename_peer = {
    .name = "RenamePeer",
    .request = &pb__rename_peer_request__descriptor,
    .build = build_rename,
    .is_kept = true,
    .done_message = "renamed peer",
    .subject = offsetof(Pb__RenamePeerRequest, id),
};

/* ---- routes ---- */

static enum grpc_code build_create_route(struct change *change, const struct state *state,
                                         const ProtobufCMessage *message, uint64_t made_ns,
                                         struct err *err)
{
    const Pb__CreateRouteRequest *request = (const Pb__CreateRouteRequest *)message;
    (void)made_ns;
    const struct change_route route = {request->node_id, request->network, request->inbound};
    return change_create_route(change, state, &route, err);
}

static bool has_route(const struct state *state, const ProtobufCMessage *message)
{
    const Pb__CreateRouteRequest *request = (const Pb__CreateRouteRequest *)message;
    struct ip_prefix network;
    if (!ip_prefix_parse(&network, request->network))
        return false;
    const struct state_route *route = state_route(state, &network);
    return route != NULL && strcmp(route->node_id, request->node_id) == 0;
}

const struct mutation_kind mutation_create_route = {
    .name = "CreateRoute",
    .request = &pb__create_route_request__descriptor,
    .build = build_create_route,
    .holds = has_route,
    .is_kept = true,
    .done_message = "created route",
    .subject_name = "network",
    .subject = offsetof(Pb__CreateRouteRequest, network),
};

static enum grpc_code build_delete_route(struct change *change, const struct state *state,
                                         const ProtobufCMessage *message, uint64_t made_ns,
                                         struct err *err)
{
    const Pb__DeleteRouteRequest *request = (const Pb__DeleteRouteRequest *)message;
    (void)made_ns;
    return change_delete_route(change, state, request->network, err);
}

static bool has_no_route(const struct state *state, const ProtobufCMessage *message)
{
    const Pb__DeleteRouteRequest *request = (const Pb__DeleteRouteRequest *)message;
    struct ip_prefix network;
    return ip_prefix_parse(&network, request->network) && state_route(state, &network) == NULL;
}

const struct mutation_kind mutation_delete_route = {
    .name = "DeleteRoute",
    .request = &pb__delete_route_request__descriptor,
    .build = build_delete_route,
    .holds = has_no_route,
    .is_kept = true,
    .done_message = "deleted route",
    .subject_name = "network",
    .subject = offsetof(Pb__DeleteRouteRequest, network),
};

/* ---- what nodes ask for themselves ---- */

static enum grpc_code bad_request(struct change *change, struct err *err, const char *what)
{
    change_init(change);
    err_set(err, -EINVAL, "%s", what);
    return GRPC_INVALID_ARGUMENT;
}

/* An empty text is family 0: none. */
static bool read_network(struct ip_prefix *out, const char *text)
{
    *out = (struct ip_prefix){0};
    return text[0] == '\0' || ip_prefix_parse(out, text);
}

static enum grpc_code build_bootstrap(struct change *change, const struct state *state,
                                      const ProtobufCMessage *message, uint64_t made_ns,
                                      struct err *err)
{
    const Pb__BootstrapClusterRequest *request = (const Pb__BootstrapClusterRequest *)message;
    struct change_cluster cluster = {.cluster = request->cluster_id};
    (void)made_ns;
    if (!read_network(&cluster.node_network, request->node_network) ||
        !read_network(&cluster.peer_network, request->peer_network) ||
        !read_network(&cluster.node_network6, request->node_network6) ||
        !read_network(&cluster.peer_network6, request->peer_network6))
        return bad_request(change, err, "a network of the cluster cannot be read");
    return change_bootstrap_cluster(change, state, &cluster, err);
}

const struct mutation_kind mutation_bootstrap_cluster = {
    .name = "BootstrapCluster",
    .request = &pb__bootstrap_cluster_request__descriptor,
    .build = build_bootstrap,
    .subject_name = "cluster",
    .subject = offsetof(Pb__BootstrapClusterRequest, cluster_id),
};

/* Nodes come before peers in names, so that no peer keeps a node from starting. */
static void log_name_taken(const struct state *state, const struct change_node *node)
{
    char id[9];
    const struct state_peer *peer = state_peer_by_name(state, node->name);
    if (peer != NULL)
        log_warn("a node takes its name from a peer, which goes on without one",
                 F_STR("name", node->name), F_STR("node", node->id),
                 F_STR("peer", log_short_id(id, peer->id)));
}

static enum grpc_code build_put_node(struct change *change, const struct state *state,
                                     const ProtobufCMessage *message, uint64_t made_ns,
                                     struct err *err)
{
    const Pb__PutNodeRequest *request = (const Pb__PutNodeRequest *)message;
    const Pb__Node *pb = request->node;
    size_t count = request->n_host_networks;
    if (pb == NULL || pb->keypair == NULL || pb->endpoint_port > UINT16_MAX)
        return bad_request(change, err, "the node's record is not whole");
    struct ip_prefix *networks = calloc(count + 1, sizeof *networks);
    bool good = networks != NULL;
    for (size_t i = 0; i < count && good; i++)
        good = ip_prefix_parse(&networks[i], request->host_networks[i]);
    struct change_node node = {
        .id = pb->id,
        .name = pb->name,
        .public_key = pb->keypair->public_key,
        .addr = pb->addr,
        .endpoint_ip = pb->endpoint_ip,
        .endpoint_port = (uint16_t)pb->endpoint_port,
        .interface_name = pb->interface_name,
        .version = pb->version,
        .psk_version = pb->psk_version,
        .no_ipv6 = request->no_ipv6,
        .host_networks = networks,
        .host_network_count = count,
        .now_ns = made_ns,
    };
    enum grpc_code code = good ? change_put_node(change, state, &node, err)
                               : bad_request(change, err, "a network of the host cannot be read");
    if (code == GRPC_OK)
        log_name_taken(state, &node);
    free(networks);
    return code;
}

const struct mutation_kind mutation_put_node = {
    .name = "PutNode",
    .request = &pb__put_node_request__descriptor,
    .build = build_put_node,
};

static enum grpc_code build_seen(struct change *change, const struct state *state,
                                 const ProtobufCMessage *message, uint64_t made_ns, struct err *err)
{
    const Pb__PeersSeenRequest *request = (const Pb__PeersSeenRequest *)message;
    (void)made_ns;
    struct change_seen *seen = calloc(request->n_peers + 1, sizeof *seen);
    if (seen == NULL) {
        change_init(change);
        err_set(err, -ENOMEM, "out of memory");
        return GRPC_RESOURCE_EXHAUSTED;
    }
    for (size_t i = 0; i < request->n_peers; i++)
        seen[i] = (struct change_seen){request->peers[i]->id, request->peers[i]->seen_ns,
                                       request->peers[i]->absent_s};
    enum grpc_code code = change_peers_seen(change, state, seen, request->n_peers, err);
    free(seen);
    return code;
}

const struct mutation_kind mutation_peers_seen = {
    .name = "PeersSeen",
    .request = &pb__peers_seen_request__descriptor,
    .build = build_seen,
};

/* A peer that was seen between the request and now stays. */
static enum grpc_code build_expire(struct change *change, const struct state *state,
                                   const ProtobufCMessage *message, uint64_t made_ns,
                                   struct err *err)
{
    const Pb__ExpirePeerRequest *request = (const Pb__ExpirePeerRequest *)message;
    const struct state_peer *peer = state_peer(state, request->id);
    (void)made_ns;
    change_init(change);
    if (peer == NULL || record_time_ns(peer->pb->last_seen) != request->seen_ns)
        return GRPC_OK;
    return change_deauthorize_peer(change, state, request->id, err);
}

const struct mutation_kind mutation_expire_peer = {
    .name = "ExpirePeer",
    .request = &pb__expire_peer_request__descriptor,
    .build = build_expire,
    .subject = offsetof(Pb__ExpirePeerRequest, id),
};

const struct mutation_kind *mutation_kind_find(const char *name)
{
    static const struct mutation_kind *const kinds[] = {
        &mutation_connect,      &mutation_authorize_peer,    &mutation_deauthorize_peer,
        &mutation_rekey_peer,   &mutation_rename_peer,       &mutation_create_route,
        &mutation_delete_route, &mutation_bootstrap_cluster, &mutation_put_node,
        &mutation_peers_seen,   &mutation_expire_peer,
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i]->name, name) == 0)
            return kinds[i];
    return NULL;
}
