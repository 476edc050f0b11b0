#include "base/err.h"
#include "control/state/change_build.h"
#include "control/state/ipam.h"
#include "control/state/prefix_rules.h"
#include "control/state/record_time.h"
#include "control/state/state.h"

#include <errno.h>
#include <string.h>

/* Checks what a node reports of itself; writes its name in lower case. */
static enum grpc_code check_node(const struct state *state, const struct change_node *node,
                                 char name[ACCESS_NAME_MAX + 1], struct err *err)
{
    uint8_t key[32];
    struct ip_addr endpoint;
    if (access_check_id(node->id, "node id", err) != 0)
        return GRPC_INVALID_ARGUMENT;
    bool has_endpoint = node->endpoint_ip[0] != '\0'; /* else the host has no address yet */
    if ((has_endpoint && !ip_addr_parse(&endpoint, node->endpoint_ip)) || node->endpoint_port == 0)
        return REFUSE(err, GRPC_INVALID_ARGUMENT,
                      "\"%.64s\" port %u is not an endpoint: expected an IP address and a port",
                      node->endpoint_ip, (unsigned)node->endpoint_port);
    if (strlen(node->addr) > 256 || strlen(node->interface_name) > 15)
        return REFUSE(err, GRPC_INVALID_ARGUMENT,
                      "the node's address or interface name is too long");
    if (change_check_version(node->version, err) != GRPC_OK)
        return GRPC_INVALID_ARGUMENT;
    enum grpc_code code = change_claim_key(state, node->id, node->public_key, key, err);
    if (code == GRPC_OK)
        code = change_claim_node_name(state, node->id, node->name, name, err);
    const struct state_node *have = state_node(state, node->id);
    if (code == GRPC_OK && have != NULL && memcmp(have->public_key, key, sizeof key) != 0)
        return REFUSE(
            err, GRPC_PERMISSION_DENIED,
            "the node id is bound to another WireGuard key: a node whose data dir was lost "
            "needs a new id");
    return code;
}

static uint64_t next_join_seq(const struct state *state)
{
    size_t count = state_node_count(state);
    return count == 0 ? 1 : state_node_at(state, count - 1)->join_seq + 1;
}

/* The texts that a new node's record points to. */
struct node_texts {
    char network[IP_PREFIX_TEXT];
    char network6[IP_PREFIX_TEXT];
    char gateway[IP_ADDR_TEXT];
    char gateway6[IP_ADDR_TEXT];
};

/* Gives a node the network that it had once, or a new one. */
static enum grpc_code give_network(const struct state *state, struct change *change,
                                   const struct change_node *node, Pb__Node *record,
                                   struct node_texts *texts, struct err *err)
{
    struct ip_prefix network;
    const struct state_network *given = state_network(state, record->id);
    if (given != NULL)
        network = given->network;
    else if (ipam_node_network(state, node->host_networks, node->host_network_count, &network) != 0)
        return REFUSE(err, GRPC_RESOURCE_EXHAUSTED,
                      "no free network is left for a node: all that follow --node-network are used "
                      "by the overlay, its routes or this host");
    struct ip_addr gateway = ipam_gateway(&network);
    record->network = change_text(ip_prefix_format(&network, texts->network));
    record->gateway_ip = change_text(ip_addr_format(&gateway, texts->gateway));
    record->join_seq = next_join_seq(state);
    Pb__Route route;
    pb__route__init(&route);
    route.node_id = record->id;
    route.network = record->network;
    change_add_message(change, RECORD_SET, RECORD_KEY_NODENETWORKS, record->id, &route.base);
    return GRPC_OK;
}

/* A node whose host has no IPv6 gets no IPv6 network: others would trust an address that the host
 * does not have. */
static enum grpc_code give_network6(const struct state *state, const struct change_node *node,
                                    Pb__Node *record, struct node_texts *texts, struct err *err)
{
    struct ip_prefix network;
    texts->network6[0] = texts->gateway6[0] = '\0';
    if (!node->no_ipv6 && record->network6[0] != '\0')
        return GRPC_OK;
    record->network6 = texts->network6;
    record->gateway_ip6 = texts->gateway6;
    int rc = node->no_ipv6 ? -EOPNOTSUPP
                           : ipam_node_network6(state, node->host_networks,
                                                node->host_network_count, &network);
    if (rc == -EOPNOTSUPP)
        return GRPC_OK;
    if (rc != 0)
        return REFUSE(err, GRPC_RESOURCE_EXHAUSTED, "no free IPv6 network is left for a node");
    struct ip_addr gateway = ipam_gateway(&network);
    ip_prefix_format(&network, texts->network6);
    ip_addr_format(&gateway, texts->gateway6);
    return GRPC_OK;
}

static bool node_is_current(const struct state_node *have, const Pb__Node *record)
{
    const Pb__Node *pb = have->pb;
    return strcmp(pb->name, record->name) == 0 && strcmp(pb->addr, record->addr) == 0 &&
           strcmp(pb->endpoint_ip, record->endpoint_ip) == 0 &&
           pb->endpoint_port == record->endpoint_port &&
           strcmp(pb->network6, record->network6) == 0 &&
           strcmp(pb->interface_name, record->interface_name) == 0 &&
           strcmp(pb->version, record->version) == 0 && pb->psk_version == record->psk_version;
}

/* A peer that had the node's name goes on without one; an administrator's name for a peer goes too. */
static void take_name(struct change *change, const struct state *state, const char *name)
{
    const struct state_peer *peer = state_peer_by_name(state, name);
    const struct state_authorization *given = state_authorization_by_name(state, name);
    if (peer != NULL) {
        Pb__Peer record = *peer->pb;
        record.name = change_text("");
        change_add_message(change, RECORD_SET, RECORD_KEY_PEERS, peer->id, &record.base);
    }
    if (given != NULL) {
        Pb__Authorization record = *given->pb;
        record.name = change_text("");
        change_add_message(change, RECORD_HSET, RECORD_KEY_AUTHORIZED, given->id, &record.base);
    }
}

static enum grpc_code put_node(struct change *change, const struct state *state,
                               const struct change_node *node, struct err *err)
{
    char name[ACCESS_NAME_MAX + 1];
    struct node_texts texts;
    enum grpc_code code = change_need_cluster(state, err);
    if (code == GRPC_OK)
        code = check_node(state, node, name, err);
    if (code != GRPC_OK)
        return code;
    const struct state_node *have = state_node(state, node->id);
    Pb__Node record;
    Pb__KeyPair keypair;
    pb__node__init(&record);
    pb__key_pair__init(&keypair);
    if (have != NULL)
        record = *have->pb;
    Google__Protobuf__Timestamp now = record_time(node->now_ns);
    keypair.public_key = change_text(node->public_key);
    record.id = change_text(node->id);
    record.name = name;
    record.addr = change_text(node->addr);
    record.keypair = &keypair;
    record.endpoint_ip = change_text(node->endpoint_ip);
    record.endpoint_port = node->endpoint_port;
    record.interface_name = change_text(node->interface_name);
    record.version = change_text(node->version);
    record.psk_version = node->psk_version;
    record.updated = &now;
    code = give_network6(state, node, &record, &texts, err);
    if (code != GRPC_OK || (have != NULL && node_is_current(have, &record)))
        return code;
    if (have == NULL && state_node_count(state) >= PREFIX_NODES_MAX)
        return REFUSE(err, GRPC_RESOURCE_EXHAUSTED,
                      "there are %d nodes, the most that peers follow", PREFIX_NODES_MAX);
    if (have == NULL)
        code = give_network(state, change, node, &record, &texts, err);
    if (code != GRPC_OK)
        return code;
    take_name(change, state, name);
    change_add_message(change, RECORD_SET, RECORD_KEY_NODES, node->id, &record.base);
    return GRPC_OK;
}

enum grpc_code change_put_node(struct change *change, const struct state *state,
                               const struct change_node *node, struct err *err)
{
    change_begin(change, state);
    return change_finish(change, put_node(change, state, node, err), err);
}
