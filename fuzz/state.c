#include "control/state/state.h"
#include "base/buffer.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/log.h"
#include "control/state/peer_config.h"
#include "control/state/plan.h"
#include "control/state/plan_diff.h"
#include "control/state/plan_node.h"
#include "control/state/plan_peer.h"
#include "fuzz/fuzz.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Applies stored records of any content in any order. The state must find by every index what its
 * listings hold, make a plan of whatever it has, and equal one that was loaded from the records
 * that are left. */

enum { RECORDS = 24, NAMES = 4, OPERATIONS = 40 };

struct stored {
    bool is_set;
    char key[64];
    char field[64]; /* "": none */
    size_t len;
    uint8_t value[512];
};

static const char *const ids[NAMES] = {"6d6e1b2c-alpha", "0f3f9a40-beta", "c0ffee00-gamma", "x"};
static const char *const labels[NAMES] = {"alpha", "beta", "gamma", ""};
static const char *const addresses[NAMES] = {"10.51.0.2", "10.51.0.3", "fd00::2", "bad"};
static const char *const networks[NAMES] = {"10.11.0.0/16", "10.12.0.0/16", "0.0.0.0/0", "bad/x"};

static size_t pack(const ProtobufCMessage *message, uint8_t *out)
{
    require(protobuf_c_message_get_packed_size(message) <= 400);
    return protobuf_c_message_pack(message, out);
}

static void make_key(char out[BASE64_KEY_LEN + 1], uint8_t number)
{
    uint8_t key[32];
    memset(key, 1 + number % 4, sizeof key);
    bytes_to_base64(out, key, sizeof key);
}

static size_t make_node(struct input *input, size_t n, uint8_t *out)
{
    char key[BASE64_KEY_LEN + 1];
    uint8_t what = input_byte(input);
    Pb__KeyPair keypair;
    Pb__Node node;
    pb__key_pair__init(&keypair);
    pb__node__init(&node);
    make_key(key, what);
    keypair.public_key = key;
    node.keypair = &keypair;
    node.id = (char *)ids[n];
    node.name = (char *)labels[what >> 2 & 3];
    node.endpoint_ip = (char *)addresses[what >> 4 & 3];
    node.endpoint_port = 10100;
    node.network = (char *)networks[what >> 6 & 3];
    node.gateway_ip = (char *)(what & 0x40 ? "10.12.0.1" : "10.11.0.1");
    node.join_seq = input_byte(input) % 4;
    node.psk_version = what & 1;
    return pack(&node.base, out);
}

static size_t make_peer(struct input *input, size_t n, uint8_t *out)
{
    char key[BASE64_KEY_LEN + 1];
    uint8_t what = input_byte(input);
    Pb__KeyPair keypair;
    Pb__Peer peer;
    pb__key_pair__init(&keypair);
    pb__peer__init(&peer);
    make_key(key, what);
    keypair.public_key = key;
    peer.keypair = &keypair;
    peer.id = (char *)ids[n];
    peer.name = (char *)(what & 4 ? "" : labels[what >> 3 & 3]);
    peer.peer_ip = (char *)addresses[what >> 5 & 1];
    peer.peer_ip6 = (char *)(what & 0x40 ? "fd00::2" : "");
    peer.psk_version = what >> 7;
    return pack(&peer.base, out);
}

static size_t make_route(struct input *input, size_t n, uint8_t *out)
{
    Pb__Route route;
    pb__route__init(&route);
    route.node_id = (char *)ids[input_byte(input) % NAMES];
    route.network = (char *)networks[n];
    return pack(&route.base, out);
}

static size_t make_authorization(uint8_t how, size_t n, uint8_t *out)
{
    Pb__Authorization authorization;
    pb__authorization__init(&authorization);
    authorization.id = (char *)ids[n];
    authorization.name = (char *)(how & 1 ? "" : labels[how >> 1 & 3]);
    return pack(&authorization.base, out);
}

/* Makes a valid value, which may then get one bit flipped, or random bytes. */
static void make_value(struct input *input, size_t kind, size_t n, struct stored *stored)
{
    uint8_t how = input_byte(input);
    Pb__Route network;
    if (how >= 224) {
        stored->len = input_byte(input);
        input_fill(input, stored->value, stored->len);
        return;
    }
    switch (kind) {
    case 0:
        stored->len = make_node(input, n, stored->value);
        break;
    case 1:
        stored->len = make_peer(input, n, stored->value);
        break;
    case 2:
        stored->len = make_route(input, n, stored->value);
        break;
    case 3:
        stored->len = make_authorization(how, n, stored->value);
        break;
    case 4:
        pb__route__init(&network);
        network.node_id = (char *)ids[n];
        network.network = (char *)networks[how % NAMES];
        stored->len = pack(&network.base, stored->value);
        break;
    case 5:
        stored->len = strlen(ids[how % NAMES]);
        memcpy(stored->value, ids[how % NAMES], stored->len);
        break;
    }
    if (how >= 160 && stored->len > 0)
        stored->value[input_byte(input) % stored->len] ^= (uint8_t)(1 << how % 8);
}

static void name_record(struct stored *stored, size_t kind, size_t n)
{
    static const char *const keys[] = {RECORD_KEY_NODES,        RECORD_KEY_PEERS,
                                       RECORD_KEY_ROUTES,       RECORD_KEY_AUTHORIZED,
                                       RECORD_KEY_NODENETWORKS, RECORD_KEY_PEERIPS};
    bool is_hash = kind == 3 || kind == 5;
    const char *name = kind == 2 ? networks[n] : kind == 5 ? addresses[n] : ids[n];
    snprintf(stored->key, sizeof stored->key, "%s%s", keys[kind], is_hash ? "" : name);
    snprintf(stored->field, sizeof stored->field, "%s", is_hash ? name : "");
}

static void apply(struct state *state, const struct stored *stored, bool remove)
{
    struct record_op op = {.key = stored->key,
                           .field = stored->field[0] != '\0' ? stored->field : NULL};
    if (remove) {
        op.kind = op.field != NULL ? RECORD_HDEL : RECORD_DEL;
    } else {
        op.kind = op.field != NULL ? RECORD_HSET : RECORD_SET;
        op.value = stored->value;
        op.len = stored->len;
    }
    require(state_apply(state, &op) == 0);
}

static void set_meta(struct state *state)
{
    static const char *const fields[][2] = {{"cluster", "c"},
                                            {"node_network", "10.10.0.0/16"},
                                            {"peer_network", "10.51.0.0/16"},
                                            {"peer_network6", "fd00::/64"}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        struct record_op op = {.kind = RECORD_HSET,
                               .key = RECORD_KEY_META,
                               .field = fields[i][0],
                               .value = (const uint8_t *)fields[i][1],
                               .len = strlen(fields[i][1])};
        require(state_apply(state, &op) == 0);
    }
}

/* A key or name that two records have (damaged data only) stays with the first record, and is not
 * found after that one is removed. */
static void check_node_by(const struct state_node *node, const struct state_node *by_key,
                          const struct state_node *by_name)
{
    require(by_key == NULL || memcmp(by_key->public_key, node->public_key, 32) == 0);
    require(by_name == NULL || strcmp(by_name->name, node->name) == 0);
}

static void check_peer_by(const struct state_peer *peer, const struct state_peer *by_key,
                          const struct state_peer *by_name)
{
    require(by_key == NULL || memcmp(by_key->public_key, peer->public_key, 32) == 0);
    require(by_name == NULL || strcmp(by_name->name, peer->name) == 0);
}

static void check_indices(const struct state *state)
{
    for (size_t i = 0; i < state_node_count(state); i++) {
        const struct state_node *node = state_node_at(state, i);
        require(state_node(state, node->id) == node);
        check_node_by(node, state_node_by_key(state, node->public_key),
                      state_node_by_name(state, node->name));
        if (i > 0)
            require(state_node_at(state, i - 1)->join_seq <= node->join_seq);
    }
    for (size_t i = 0; i < state_peer_count(state); i++) {
        const struct state_peer *peer = state_peer_at(state, i);
        require(state_peer(state, peer->id) == peer);
        check_peer_by(peer, state_peer_by_key(state, peer->public_key),
                      state_peer_by_name(state, peer->name));
        if (i > 0)
            require(strcmp(state_peer_at(state, i - 1)->id, peer->id) < 0);
    }
    for (size_t i = 0; i < state_route_count(state); i++) {
        const struct state_route *route = state_route_at(state, i);
        require(state_route(state, &route->network) == route);
    }
    for (size_t i = 0; i < state_authorization_count(state); i++) {
        const struct state_authorization *authorization = state_authorization_at(state, i);
        require(state_authorization(state, authorization->id) == authorization);
        const struct state_authorization *by_name =
            state_authorization_by_name(state, authorization->name);
        require(by_name == NULL || strcmp(by_name->name, authorization->name) == 0);
    }
}

static bool is_owned_once(const struct plan *plan, size_t peer, const struct ip_prefix *prefix)
{
    size_t count = 0;
    for (size_t i = 0; i <= peer; i++) {
        for (size_t j = 0; j < plan->peers[i].allowed_ip_count; j++)
            count += ip_prefix_equal(&plan->peers[i].allowed_ips[j].prefix, prefix);
    }
    return count == 1;
}

static void check_plans(const struct state *state)
{
    for (size_t i = 0; i < state_node_count(state); i++) {
        struct plan plan;
        struct plan again;
        struct plan_delta delta;
        const char *id = state_node_at(state, i)->id;
        require(plan_of_node(state, id, "cluster key", NULL, &plan) == 0 &&
                plan_of_node(state, id, "cluster key", NULL, &again) == 0);
        for (size_t j = 0; j < plan.peer_count; j++) {
            /* the same key twice only from damaged data */
            if (j > 0)
                require(memcmp(plan.peers[j - 1].public_key, plan.peers[j].public_key, 32) <= 0);
            for (size_t k = 0; k < plan.peers[j].allowed_ip_count; k++)
                require(is_owned_once(&plan, j, &plan.peers[j].allowed_ips[k].prefix));
        }
        require(plan_diff(&plan, &again, &delta) == 0);
        require(delta.wg.peer_count == 0 && delta.routes_added_count == 0 &&
                delta.routes_removed_count == 0);
        plan_delta_fini(&delta);
        plan_fini(&plan);
        plan_fini(&again);
    }
    for (size_t i = 0; i < state_peer_count(state); i++) {
        Pb__ConnectResponse *response =
            peer_config_build(state, state_peer_at(state, i)->id, "heimdall");
        static const uint8_t key[32] = {1};
        struct plan_self self = {.id = state_peer_at(state, i)->id, .public_key = key};
        struct plan plan;
        struct err err;
        require(response != NULL);
        int rc = plan_of_peer(response, &self, &plan, &err);
        require(rc == 0 || rc == -EINVAL);
        plan_fini(&plan);
        pb__connect_response__free_unpacked(response, NULL);
    }
}

static void check_reload(const struct state *state, const struct stored stored[RECORDS])
{
    struct state *fresh;
    struct buffer a;
    struct buffer b;
    static const uint8_t seed[16] = {9};
    require(state_create(&fresh, seed) == 0);
    set_meta(fresh);
    for (size_t i = RECORDS; i-- > 0;) { /* in another order */
        if (stored[i].is_set)
            apply(fresh, &stored[i], false);
    }
    buffer_init(&a);
    buffer_init(&b);
    state_dump(state, &a);
    state_dump(fresh, &b);
    require(!buffer_failed(&a) && !buffer_failed(&b) && buffer_len(&a) == buffer_len(&b));
    require(memcmp(buffer_data(&a), buffer_data(&b), buffer_len(&a)) == 0);
    buffer_fini(&a);
    buffer_fini(&b);
    state_destroy(fresh);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    static struct stored stored[RECORDS];
    static const uint8_t seed[16] = {7};
    struct state *state;
    log_set_level(LOG_ERROR);
    memset(stored, 0, sizeof stored);
    require(state_create(&state, seed) == 0);
    set_meta(state);
    for (int i = 0; i < OPERATIONS && input_has(&input); i++) {
        uint8_t what = input_byte(&input);
        size_t place = what % RECORDS;
        struct stored *record = &stored[place];
        name_record(record, place / NAMES, place % NAMES);
        if (what >= 200) {
            record->is_set = false;
        } else {
            record->is_set = true;
            make_value(&input, place / NAMES, place % NAMES, record);
        }
        apply(state, record, !record->is_set);
        check_indices(state);
    }
    check_plans(state);
    check_reload(state, stored);
    state_destroy(state);
    return 0;
}
