#include "control/state/change.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/map.h"
#include "control/state/access.h"
#include "control/state/change_build.h"
#include "control/state/ipam.h"
#include "control/state/state.h"

#include <errno.h>
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the list of operations */

void change_init(struct change *change)
{
    *change = (struct change){0};
}

static void free_op(struct record_op *op)
{
    free((void *)(uintptr_t)op->key);
    free((void *)(uintptr_t)op->field);
    free((void *)(uintptr_t)op->value);
}

void change_fini(struct change *change)
{
    for (size_t i = 0; i < change->op_count; i++)
        free_op(&change->ops[i]);
    free(change->ops);
    change_init(change);
}

static bool reserve(struct change *change)
{
    if (change->op_count < change->op_capacity)
        return true;
    size_t capacity = change->op_capacity == 0 ? 8 : change->op_capacity * 2;
    struct record_op *ops = realloc(change->ops, capacity * sizeof *ops);
    if (ops == NULL)
        return false;
    change->ops = ops;
    change->op_capacity = capacity;
    return true;
}

void change_add(struct change *change, enum record_op_kind kind, const char *key, const char *field,
                const void *value, size_t len)
{
    if (change->failed || !reserve(change)) {
        change->failed = true;
        return;
    }
    struct record_op op = {.kind = kind, .len = len};
    uint8_t *copy = value == NULL ? NULL : malloc(len + 1);
    if (copy != NULL)
        memcpy(copy, value, len);
    op.key = strdup(key);
    op.field = field == NULL ? NULL : strdup(field);
    op.value = copy;
    if (op.key != NULL && (field == NULL || op.field != NULL) && (value == NULL || copy != NULL)) {
        change->ops[change->op_count++] = op;
        return;
    }
    free_op(&op);
    change->failed = true;
}

void change_add_message(struct change *change, enum record_op_kind kind, const char *key,
                        const char *name, const ProtobufCMessage *message)
{
    char full[192];
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(len + 1);
    if (packed == NULL || snprintf(full, sizeof full, "%s%s", key, name) >= (int)sizeof full) {
        free(packed);
        change->failed = true;
        return;
    }
    protobuf_c_message_pack(message, packed);
    if (kind == RECORD_HSET)
        change_add(change, RECORD_HSET, key, name, packed, len);
    else
        change_add(change, RECORD_SET, full, NULL, packed, len);
    free(packed);
}

void change_add_del(struct change *change, const char *key, const char *name)
{
    char full[192];
    if (snprintf(full, sizeof full, "%s%s", key, name) >= (int)sizeof full)
        change->failed = true;
    else
        change_add(change, RECORD_DEL, full, NULL, NULL, 0);
}

/* ---- begin and end of every builder */

void change_begin(struct change *change, const struct state *state)
{
    change_init(change);
    change->epoch = state_epoch(state);
    change->rev = state_rev(state);
}

enum grpc_code change_finish(struct change *change, enum grpc_code code, struct err *err)
{
    if (code == GRPC_OK && change->failed) {
        err_set(err, -ENOMEM, "out of memory");
        code = GRPC_INTERNAL;
    }
    if (code != GRPC_OK)
        change_fini(change);
    return code;
}

Google__Protobuf__Timestamp change_timestamp(uint64_t ns)
{
    Google__Protobuf__Timestamp out = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    out.seconds = (int64_t)(ns / NS_PER_SEC);
    out.nanos = (int32_t)(ns % NS_PER_SEC);
    return out;
}

enum grpc_code change_need_cluster(const struct state *state, struct err *err)
{
    if (state_settings(state)->cluster[0] != '\0')
        return GRPC_OK;
    return REFUSE(err, GRPC_UNAVAILABLE, "there is no cluster yet: the node is still starting");
}

/* ---- the cluster */

void change_default_networks6(const char *cluster, struct ip_prefix *node_network6,
                              struct ip_prefix *peer_network6)
{
    static const uint8_t seed[16] = "heimdall ULA";
    uint64_t hash = map_siphash(seed, cluster, strlen(cluster));
    struct ip_prefix network = {.addr = {.family = 6, .bytes = {0xfd}}, .len = 64};
    for (int i = 1; i <= 5; i++)
        network.addr.bytes[i] = (uint8_t)(hash >> (8 * i));
    *node_network6 = network;
    network.addr.bytes[6] = 0xff;
    network.addr.bytes[7] = 0xff;
    *peer_network6 = network;
}

static bool same_cluster(const struct state_settings *have, const struct change_cluster *want)
{
    return ip_prefix_equal(&have->node_network, &want->node_network) &&
           ip_prefix_equal(&have->peer_network, &want->peer_network) &&
           ip_prefix_equal(&have->node_network6, &want->node_network6) &&
           ip_prefix_equal(&have->peer_network6, &want->peer_network6);
}

static void add_meta(struct change *change, const char *field, const char *text)
{
    change_add(change, RECORD_HSET, RECORD_KEY_META, field, text, strlen(text));
}

static void add_meta_network(struct change *change, const char *field,
                             const struct ip_prefix *network)
{
    char text[IP_PREFIX_TEXT] = "";
    if (network->addr.family != 0)
        ip_prefix_format(network, text);
    add_meta(change, field, text);
}

static enum grpc_code bootstrap(struct change *change, const struct state *state,
                                const struct change_cluster *cluster, struct err *err)
{
    const struct state_settings *have = state_settings(state);
    if (strlen(cluster->cluster) >= sizeof have->cluster || cluster->cluster[0] == '\0')
        return REFUSE(err, GRPC_INVALID_ARGUMENT, "the cluster id must have 1 to 63 characters");
    if (have->cluster[0] != '\0' && strcmp(have->cluster, cluster->cluster) != 0)
        return REFUSE(err, GRPC_FAILED_PRECONDITION, "the data belong to another cluster, %s",
                      have->cluster);
    if (have->cluster[0] != '\0' && !same_cluster(have, cluster))
        return REFUSE(err, GRPC_FAILED_PRECONDITION,
                      "the cluster was made with other node or peer networks, which cannot change");
    if (have->cluster[0] != '\0')
        return GRPC_OK;
    if (ipam_check_networks(&cluster->node_network, &cluster->peer_network, &cluster->node_network6,
                            &cluster->peer_network6, err) != 0)
        return GRPC_INVALID_ARGUMENT;
    add_meta(change, "layout", RECORD_LAYOUT);
    add_meta(change, "cluster", cluster->cluster);
    add_meta_network(change, "node_network", &cluster->node_network);
    add_meta_network(change, "peer_network", &cluster->peer_network);
    add_meta_network(change, "node_network6", &cluster->node_network6);
    add_meta_network(change, "peer_network6", &cluster->peer_network6);
    return GRPC_OK;
}

enum grpc_code change_bootstrap_cluster(struct change *change, const struct state *state,
                                        const struct change_cluster *cluster, struct err *err)
{
    change_begin(change, state);
    return change_finish(change, bootstrap(change, state, cluster, err), err);
}

/* ---- what nodes and peers share */

enum grpc_code change_claim_name(const struct state *state, const char *id, const char *text,
                                 char name[ACCESS_NAME_MAX + 1], struct err *err)
{
    if (access_check_name(text, name, err) != 0)
        return GRPC_INVALID_ARGUMENT;
    const struct state_node *node = state_node_by_name(state, name);
    const struct state_peer *peer = state_peer_by_name(state, name);
    const struct state_authorization *given = state_authorization_by_name(state, name);
    bool others = (node != NULL && strcmp(node->id, id) != 0) ||
                  (peer != NULL && strcmp(peer->id, id) != 0) ||
                  (given != NULL && strcmp(given->id, id) != 0);
    if (others || strcmp(name, "localhost") == 0)
        return REFUSE(err, GRPC_ALREADY_EXISTS, "the name %s is taken: choose another one", name);
    return GRPC_OK;
}

enum grpc_code change_claim_key(const struct state *state, const char *id, const char *text,
                                uint8_t key[32], struct err *err)
{
    if (access_check_public_key(text, key, err) != 0)
        return GRPC_INVALID_ARGUMENT;
    const struct state_node *node = state_node_by_key(state, key);
    const struct state_peer *peer = state_peer_by_key(state, key);
    if ((node != NULL && strcmp(node->id, id) != 0) || (peer != NULL && strcmp(peer->id, id) != 0))
        return REFUSE(err, GRPC_ALREADY_EXISTS,
                      "the WireGuard key is in use under another id: make a new one");
    return GRPC_OK;
}

enum grpc_code change_check_version(const char *version, struct err *err)
{
    size_t len = strlen(version);
    bool good = len <= CHANGE_VERSION_MAX;
    for (size_t i = 0; i < len && good; i++)
        good = version[i] >= '!' && version[i] <= '~';
    if (!good)
        return REFUSE(err, GRPC_INVALID_ARGUMENT,
                      "a version has at most %d visible characters and no spaces",
                      CHANGE_VERSION_MAX);
    return GRPC_OK;
}

/* ---- nodes */

/* What a node says of itself, checked. */
static enum grpc_code check_node(const struct state *state, const struct change_node *node,
                                 char name[ACCESS_NAME_MAX + 1], struct err *err)
{
    uint8_t key[32];
    struct ip_addr endpoint;
    if (access_check_id(node->id, "node id", err) != 0)
        return GRPC_INVALID_ARGUMENT;
    if (!ip_addr_parse(&endpoint, node->endpoint_ip) || node->endpoint_port == 0)
        return REFUSE(err, GRPC_INVALID_ARGUMENT,
                      "\"%.64s\" port %u is no endpoint: an IP address and a port are",
                      node->endpoint_ip, (unsigned)node->endpoint_port);
    if (strlen(node->addr) > 256 || strlen(node->interface_name) > 15)
        return REFUSE(err, GRPC_INVALID_ARGUMENT,
                      "the node's address or interface name is too long");
    if (change_check_version(node->version, err) != GRPC_OK)
        return GRPC_INVALID_ARGUMENT;
    enum grpc_code code = change_claim_key(state, node->id, node->public_key, key, err);
    if (code == GRPC_OK)
        code = change_claim_name(state, node->id, node->name, name, err);
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

/* The network that the node had once, or a new one. */
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
                      "no free network is left for a node: all that follow --node-network are in "
                      "use, by the overlay, its routes or this host");
    struct ip_addr gateway = ipam_gateway(&network);
    record->network = (char *)(uintptr_t)ip_prefix_format(&network, texts->network);
    record->gateway_ip = (char *)(uintptr_t)ip_addr_format(&gateway, texts->gateway);
    record->join_seq = next_join_seq(state);
    Pb__Route route;
    pb__route__init(&route);
    route.node_id = record->id;
    route.network = record->network;
    change_add_message(change, RECORD_SET, RECORD_KEY_NODENETWORKS, record->id, &route.base);
    return GRPC_OK;
}

/* Others would believe an address that the node's host does not have. */
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
           strcmp(pb->version, record->version) == 0;
}

char *change_text(const char *in)
{
    return (char *)(uintptr_t)in; /* protobuf-c has no const; packing does not write */
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
    Google__Protobuf__Timestamp now = change_timestamp(node->now_ns);
    keypair.public_key = change_text(node->public_key);
    record.id = change_text(node->id);
    record.name = name;
    record.addr = change_text(node->addr);
    record.keypair = &keypair;
    record.endpoint_ip = change_text(node->endpoint_ip);
    record.endpoint_port = node->endpoint_port;
    record.interface_name = change_text(node->interface_name);
    record.version = change_text(node->version);
    record.updated = &now;
    code = give_network6(state, node, &record, &texts, err);
    if (code != GRPC_OK || (have != NULL && node_is_current(have, &record)))
        return code;
    if (have == NULL)
        code = give_network(state, change, node, &record, &texts, err);
    if (code == GRPC_OK)
        change_add_message(change, RECORD_SET, RECORD_KEY_NODES, node->id, &record.base);
    return code;
}

enum grpc_code change_put_node(struct change *change, const struct state *state,
                               const struct change_node *node, struct err *err)
{
    change_begin(change, state);
    return change_finish(change, put_node(change, state, node, err), err);
}

/* ---- routes */

/* What no route may lead to: loopback, link-local, multicast, "this network" (RFC 6890). */
static bool is_special(const struct ip_prefix *network)
{
    static const char *const special[] = {"0.0.0.0/8",   "127.0.0.0/8", "169.254.0.0/16",
                                          "224.0.0.0/3", "::/16",       "fe80::/10",
                                          "ff00::/8"};
    for (size_t i = 0; i < sizeof special / sizeof special[0]; i++) {
        struct ip_prefix prefix;
        if (ip_prefix_parse(&prefix, special[i]) && ip_prefix_overlaps(&prefix, network))
            return true;
    }
    return false;
}

static enum grpc_code parse_network(const char *in, struct ip_prefix *network, struct err *err)
{
    char form[IP_PREFIX_TEXT];
    if (strchr(in, '/') == NULL || !ip_prefix_parse(network, in))
        return REFUSE(
            err, GRPC_INVALID_ARGUMENT,
            "\"%.64s\" is no network: expected is an address and a length, as 10.20.0.0/16", in);
    if (ip_prefix_is_masked(network))
        return GRPC_OK;
    struct ip_prefix meant = *network;
    ip_prefix_mask(&meant);
    return REFUSE(err, GRPC_INVALID_ARGUMENT, "%.64s has bits behind its length: the network is %s",
                  in, ip_prefix_format(&meant, form));
}

/* The text names what the route would run into. */
static enum grpc_code check_overlap(const struct state *state, const struct ip_prefix *network,
                                    const char *in, struct err *err)
{
    const struct state_settings *settings = state_settings(state);
    char other[IP_PREFIX_TEXT];
    const struct ip_prefix *const peers[] = {&settings->peer_network, &settings->peer_network6};
    for (size_t i = 0; i < 2; i++)
        if (ip_prefix_overlaps(peers[i], network))
            return REFUSE(err, GRPC_INVALID_ARGUMENT, "%s overlaps the peer network %s", in,
                          ip_prefix_format(peers[i], other));
    for (size_t i = 0; i < state_node_count(state); i++) {
        const struct state_node *node = state_node_at(state, i);
        const struct ip_prefix *const own[] = {&node->network, &node->network6};
        for (size_t j = 0; j < 2; j++)
            if (ip_prefix_overlaps(own[j], network))
                return REFUSE(err, GRPC_INVALID_ARGUMENT, "%s overlaps the network %s of node %s",
                              in, ip_prefix_format(own[j], other), node->name);
    }
    return GRPC_OK;
}

static enum grpc_code create_route(struct change *change, const struct state *state,
                                   const char *node_id, const char *in, struct err *err)
{
    struct ip_prefix network;
    char form[IP_PREFIX_TEXT];
    enum grpc_code code = change_need_cluster(state, err);
    if (code == GRPC_OK)
        code = parse_network(in, &network, err);
    if (code != GRPC_OK)
        return code;
    if (network.len > 0 && is_special(&network))
        return REFUSE(err, GRPC_INVALID_ARGUMENT, "%s is reserved and cannot be a route", in);
    if (network.len > 0)
        code = check_overlap(state, &network, in, err);
    if (code != GRPC_OK)
        return code;
    if (state_node(state, node_id) == NULL)
        return REFUSE(err, GRPC_NOT_FOUND, "there is no node %.64s: see hctl nodes list", node_id);
    const struct state_route *have = state_route(state, &network);
    if (have != NULL)
        return REFUSE(err, GRPC_ALREADY_EXISTS, "%s is already a route, of node %.64s", in,
                      have->node_id);
    Pb__Route record;
    pb__route__init(&record);
    record.node_id = change_text(node_id);
    record.network = change_text(ip_prefix_format(&network, form));
    change_add_message(change, RECORD_SET, RECORD_KEY_ROUTES, record.network, &record.base);
    return GRPC_OK;
}

enum grpc_code change_create_route(struct change *change, const struct state *state,
                                   const char *node_id, const char *network, struct err *err)
{
    change_begin(change, state);
    return change_finish(change, create_route(change, state, node_id, network, err), err);
}

static enum grpc_code delete_route(struct change *change, const struct state *state, const char *in,
                                   struct err *err)
{
    struct ip_prefix network;
    char form[IP_PREFIX_TEXT];
    enum grpc_code code = change_need_cluster(state, err);
    if (code == GRPC_OK)
        code = parse_network(in, &network, err);
    if (code != GRPC_OK)
        return code;
    if (state_route(state, &network) == NULL)
        return REFUSE(err, GRPC_NOT_FOUND, "%s is no route: see hctl routes list", in);
    change_add_del(change, RECORD_KEY_ROUTES, ip_prefix_format(&network, form));
    return GRPC_OK;
}

enum grpc_code change_delete_route(struct change *change, const struct state *state,
                                   const char *network, struct err *err)
{
    change_begin(change, state);
    return change_finish(change, delete_route(change, state, network, err), err);
}
