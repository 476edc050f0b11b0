#include "cmd/hctl_lists.h"

#include "base/addr.h"
#include "base/clock.h"
#include "cmd/hctl_output.h"
#include "cmd/hctl_text.h"
#include "control/state/record.h"

#include <string.h>

#define COUNT(headers) (sizeof(headers) / sizeof((headers)[0]))

static const char *key_of(const Pb__KeyPair *keypair)
{
    return keypair != NULL ? keypair->public_key : "";
}

static enum grpc_code list_nodes(void *ctx, const ProtobufCMessage *message, struct err *err)
{
    static const char *const headers[] = {"ID",      "ADDR",    "ENDPOINT",
                                          "GATEWAY", "UPDATED", "PUBLIC KEY"};
    const Pb__NodesResponse *response = (const Pb__NodesResponse *)message;
    /* the node's clock: this host's may be another */
    int64_t now = response->now != NULL ? response->now->seconds
                                        : (int64_t)(clock_realtime_ns() / NS_PER_SEC);
    struct table table;
    table_init(&table, headers, COUNT(headers), response->n_nodes);
    for (size_t i = 0; i < response->n_nodes; i++) {
        const Pb__Node *node = response->nodes[i];
        char endpoint[ENDPOINT_TEXT];
        char age[TEXT_AGE] = "";
        table_set(&table, i, 0, node->id);
        table_set(&table, i, 1, node->addr);
        table_set(&table, i, 2,
                  text_endpoint(endpoint, sizeof endpoint, node->endpoint_ip, node->endpoint_port));
        table_set(&table, i, 3, node->gateway_ip);
        table_set(&table, i, 4, text_age(age, node->updated, now));
        table_set(&table, i, 5, key_of(node->keypair));
    }
    return output_table(ctx, &table, err);
}

static void format_allowed(char *out, size_t size, const Pb__Peer *peer)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < peer->n_allowed_ips && len < size; i++)
        len +=
            (size_t)snprintf(out + len, size - len, "%s%s", i > 0 ? "," : "", peer->allowed_ips[i]);
}

static enum grpc_code list_peers(void *ctx, const ProtobufCMessage *message, struct err *err)
{
    static const char *const headers[] = {"ID",      "PUBLIC KEY", "ENDPOINT",
                                          "ALLOWED", "PEER IP",    "NAME"};
    const Pb__PeersResponse *response = (const Pb__PeersResponse *)message;
    struct table table;
    table_init(&table, headers, COUNT(headers), response->n_peers);
    for (size_t i = 0; i < response->n_peers; i++) {
        const Pb__Peer *peer = response->peers[i];
        char allowed[1024];
        format_allowed(allowed, sizeof allowed, peer);
        table_set(&table, i, 0, peer->id);
        table_set(&table, i, 1, key_of(peer->keypair));
        table_set(&table, i, 2, peer->endpoint);
        table_set(&table, i, 3, allowed);
        table_set(&table, i, 4, peer->peer_ip);
        table_set(&table, i, 5, peer->name);
    }
    return output_table(ctx, &table, err);
}

static enum grpc_code list_authorized(void *ctx, const ProtobufCMessage *message, struct err *err)
{
    static const char *const headers[] = {"ID"};
    const Pb__AuthorizedPeersResponse *response = (const Pb__AuthorizedPeersResponse *)message;
    struct table table;
    table_init(&table, headers, COUNT(headers), response->n_ids);
    for (size_t i = 0; i < response->n_ids; i++)
        table_set(&table, i, 0, response->ids[i]);
    return output_table(ctx, &table, err);
}

static enum grpc_code list_routes(void *ctx, const ProtobufCMessage *message, struct err *err)
{
    static const char *const headers[] = {"NODE", "NETWORK"};
    const Pb__RoutesResponse *response = (const Pb__RoutesResponse *)message;
    struct table table;
    table_init(&table, headers, COUNT(headers), response->n_routes);
    for (size_t i = 0; i < response->n_routes; i++) {
        table_set(&table, i, 0, response->routes[i]->node_id);
        table_set(&table, i, 1, response->routes[i]->network);
    }
    return output_table(ctx, &table, err);
}

enum grpc_code nodes_list(struct invocation *invocation, struct err *err)
{
    return output_call(invocation, SESSION_HEIMDALL "Nodes", &pb__nodes_request__descriptor,
                       &pb__nodes_response__descriptor, list_nodes, err);
}

enum grpc_code peers_list(struct invocation *invocation, struct err *err)
{
    return output_call(invocation, SESSION_HEIMDALL "Peers", &pb__peers_request__descriptor,
                       &pb__peers_response__descriptor, list_peers, err);
}

enum grpc_code peers_authorized(struct invocation *invocation, struct err *err)
{
    return output_call(invocation, SESSION_HEIMDALL "AuthorizedPeers",
                       &pb__authorized_peers_request__descriptor,
                       &pb__authorized_peers_response__descriptor, list_authorized, err);
}

enum grpc_code routes_list(struct invocation *invocation, struct err *err)
{
    return output_call(invocation, SESSION_HEIMDALL "Routes", &pb__routes_request__descriptor,
                       &pb__routes_response__descriptor, list_routes, err);
}
