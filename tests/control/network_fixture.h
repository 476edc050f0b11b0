#ifndef TESTS_CONTROL_NETWORK_FIXTURE_H
#define TESTS_CONTROL_NETWORK_FIXTURE_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/map.h"
#include "control/state/change.h"
#include "control/state/state.h"

#include "tests/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* A state that changes are built on and applied to, in place of the daemon and its store. */
struct network {
    struct state *state;
    struct err err;
    uint64_t now_ns;
    bool no_ipv6;        /* the hosts of nodes and peers added from here on have none */
    const char *version; /* of their programs */
    bool no_psk;         /* their programs derive no preshared keys */
    bool inbound;        /* routes from here on are */
    size_t ops;          /* of the last change */
    /* called after each change that the state has taken; may be NULL */
    void (*changed)(void *ctx, const struct record_change *change);
    void *ctx;
};

static const uint8_t network_seed[16] = {7};

/* Distinct ids and keys by number. */
static inline const char *test_id(unsigned n)
{
    static char ids[8][37];
    static unsigned next;
    char *out = ids[next++ % 8];
    uint64_t hash = map_siphash((const uint8_t[16]){3}, &n, sizeof n);
    snprintf(out, 37, "%08x-5c3e-4b1a-9d27-%012llx", n * 2654435761u,
             (unsigned long long)(hash | 1ull << 47) & 0xffffffffffffull);
    return out;
}

static inline const char *test_key(unsigned n)
{
    static char keys[8][BASE64_KEY_LEN + 1];
    static unsigned next;
    uint8_t bytes[32] = {9}; /* 1 would be of low order for some n */
    char *out = keys[next++ % 8];
    store_be32(bytes + 28, n);
    bytes_to_base64(out, bytes, sizeof bytes);
    return out;
}

static inline struct ip_prefix test_prefix(const char *text)
{
    struct ip_prefix prefix = {0};
    if (text[0] != '\0')
        ck_assert_msg(ip_prefix_parse(&prefix, text), "%s", text);
    return prefix;
}

static inline struct ip_addr test_addr(const char *text)
{
    struct ip_addr addr;
    ck_assert_msg(ip_addr_parse(&addr, text), "%s", text);
    return addr;
}

/* Applies what a builder made; returns the builder's code. */
static inline enum grpc_code network_apply(struct network *network, struct change *change,
                                           enum grpc_code code)
{
    struct record_change applied = {.epoch = change->epoch,
                                    .rev = change->rev + 1,
                                    .prev_epoch = change->epoch,
                                    .prev_rev = change->rev,
                                    .ops = change->ops,
                                    .op_count = change->op_count};
    network->ops = change->op_count;
    if (code == GRPC_OK && change->op_count > 0) {
        ck_assert_int_eq(state_apply_change(network->state, &applied), 0);
        if (network->changed != NULL)
            network->changed(network->ctx, &applied);
    }
    if (code != GRPC_OK) {
        ck_assert_uint_eq(change->op_count, 0);
        ck_assert_msg(network->err.text[0] != '\0', "a refusal has a text");
    }
    change_fini(change);
    return code;
}

static inline enum grpc_code network_bootstrap(struct network *network, const char *nodes,
                                               const char *peers, const char *nodes6,
                                               const char *peers6)
{
    struct change change;
    struct change_cluster cluster = {.cluster = test_id(1000),
                                     .node_network = test_prefix(nodes),
                                     .peer_network = test_prefix(peers),
                                     .node_network6 = test_prefix(nodes6),
                                     .peer_network6 = test_prefix(peers6)};
    enum grpc_code code =
        change_bootstrap_cluster(&change, network->state, &cluster, &network->err);
    return network_apply(network, &change, code);
}

/* No cluster yet. */
static inline void network_init_empty(struct network *network)
{
    log_set_level(LOG_ERROR);
    *network = (struct network){.now_ns = 1000 * NS_PER_SEC, .version = "1.0.0"};
    ck_assert_int_eq(state_create(&network->state, network_seed), 0);
    state_set_position(network->state, 1, 1);
}

static inline void network_init(struct network *network)
{
    network_init_empty(network);
    ck_assert_int_eq(network_bootstrap(network, "10.10.0.0/16", "10.51.0.0/16", "fd01:2:3::/64",
                                       "fd01:2:3:ffff::/64"),
                     GRPC_OK);
}

static inline void network_fini(struct network *network)
{
    state_destroy(network->state);
}

static inline enum grpc_code network_put_node(struct network *network, unsigned n, const char *name)
{
    struct change change;
    char addr[64];
    char ip[32];
    snprintf(addr, sizeof addr, "tcp://192.0.2.%u:9000", n);
    snprintf(ip, sizeof ip, "192.0.2.%u", n);
    struct change_node node = {.id = test_id(n),
                               .name = name,
                               .public_key = test_key(n),
                               .addr = addr,
                               .endpoint_ip = ip,
                               .endpoint_port = 10100,
                               .interface_name = "darknet",
                               .version = network->version,
                               .no_ipv6 = network->no_ipv6,
                               .psk_version = network->no_psk ? 0 : RECORD_PSK_VERSION,
                               .now_ns = network->now_ns};
    enum grpc_code code = change_put_node(&change, network->state, &node, &network->err);
    return network_apply(network, &change, code);
}

static inline enum grpc_code network_authorize(struct network *network, const char *id)
{
    struct change change;
    enum grpc_code code =
        change_authorize_peer(&change, network->state, id, network->now_ns, &network->err);
    return network_apply(network, &change, code);
}

static inline enum grpc_code network_deauthorize(struct network *network, const char *id)
{
    struct change change;
    enum grpc_code code = change_deauthorize_peer(&change, network->state, id, &network->err);
    return network_apply(network, &change, code);
}

static inline enum grpc_code network_rekey(struct network *network, const char *id)
{
    struct change change;
    enum grpc_code code = change_rekey_peer(&change, network->state, id, &network->err);
    return network_apply(network, &change, code);
}

static inline enum grpc_code network_rename(struct network *network, const char *id,
                                            const char *name)
{
    struct change change;
    enum grpc_code code = change_rename_peer(&change, network->state, id, name, &network->err);
    return network_apply(network, &change, code);
}

static inline enum grpc_code network_connect(struct network *network, const char *id,
                                             const char *name, const char *key)
{
    struct change change;
    struct change_peer peer = {.id = id,
                               .name = name,
                               .public_key = key,
                               .version = network->version,
                               .no_ipv6 = network->no_ipv6,
                               .psk_version = network->no_psk ? 0 : RECORD_PSK_VERSION,
                               .now_ns = network->now_ns};
    enum grpc_code code = change_connect_peer(&change, network->state, &peer, &network->err);
    return network_apply(network, &change, code);
}

/* Authorizes and connects peer `n`. */
static inline void network_add_peer(struct network *network, unsigned n, const char *name)
{
    ck_assert_int_eq(network_authorize(network, test_id(n)), GRPC_OK);
    ck_assert_int_eq(network_connect(network, test_id(n), name, test_key(n)), GRPC_OK);
}

static inline enum grpc_code network_create_route(struct network *network, unsigned n,
                                                  const char *text)
{
    struct change change;
    enum grpc_code code = change_create_route(
        &change, network->state, &(struct change_route){test_id(n), text, network->inbound},
        &network->err);
    return network_apply(network, &change, code);
}

static inline enum grpc_code network_delete_route(struct network *network, const char *text)
{
    struct change change;
    enum grpc_code code = change_delete_route(&change, network->state, text, &network->err);
    return network_apply(network, &change, code);
}

#endif
