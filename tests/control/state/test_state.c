#include "control/state/state.h"

#include "tests/control/network_fixture.h"

#include <errno.h>

static void set(struct network *network, const char *key, const void *value, size_t len)
{
    struct record_op op = {RECORD_SET, key, NULL, value, len};
    ck_assert_int_eq(state_apply(network->state, &op), 0);
}

static void hset(struct network *network, const char *key, const char *field, const char *value)
{
    struct record_op op = {RECORD_HSET, key, field, (const uint8_t *)value, strlen(value)};
    ck_assert_int_eq(state_apply(network->state, &op), 0);
}

static void del(struct network *network, const char *key)
{
    struct record_op op = {.kind = RECORD_DEL, .key = key};
    ck_assert_int_eq(state_apply(network->state, &op), 0);
}

static void set_message(struct network *network, const char *key, const ProtobufCMessage *message)
{
    uint8_t packed[512];
    ck_assert_uint_lt(protobuf_c_message_get_packed_size(message), sizeof packed);
    set(network, key, packed, protobuf_c_message_pack(message, packed));
}

START_TEST(keys)
{
    static const struct {
        const char *key, *field;
        enum record_kind kind;
        const char *name;
    } table[] = {{"heimdall:meta", "epoch", RECORD_META, "epoch"},
                 {"heimdall:master", NULL, RECORD_MASTER, NULL},
                 {"heimdall:nodes:x", NULL, RECORD_NODE, "x"},
                 {"heimdall:nodes:", NULL, RECORD_UNKNOWN, NULL},
                 {"heimdall:nodenetworks:x", NULL, RECORD_NODENETWORK, "x"},
                 {"heimdall:peers:x:y", NULL, RECORD_PEER, "x:y"},
                 {"heimdall:authorized", "x", RECORD_AUTHORIZATION, "x"},
                 {"heimdall:peerips", "10.0.0.1", RECORD_PEERIP, "10.0.0.1"},
                 {"heimdall:routes:10.0.0.0/8", NULL, RECORD_ROUTE, "10.0.0.0/8"},
                 {"heimdall:changes", NULL, RECORD_UNKNOWN, NULL},
                 {"other", NULL, RECORD_UNKNOWN, NULL}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const char *name = "unset";
        ck_assert_int_eq(record_key_parse(table[i].key, table[i].field, &name), table[i].kind);
        ck_assert_pstr_eq(name, table[i].name);
    }
}
END_TEST

START_TEST(look_ups_and_order)
{
    struct network network;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "b"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 2, "a"), GRPC_OK);
    for (unsigned n = 10; n < 60; n++)
        network_add_peer(&network, n, "");
    network_add_peer(&network, 60, "named");
    ck_assert_uint_eq(state_node_count(network.state), 2);
    ck_assert_str_eq(state_node_at(network.state, 0)->name, "b"); /* by age */
    ck_assert_str_eq(state_node_at(network.state, 1)->name, "a");
    ck_assert_uint_eq(state_network_count(network.state), 2);
    ck_assert_uint_eq(state_peer_count(network.state), 51);
    ck_assert_uint_eq(state_authorization_count(network.state), 51);
    for (size_t i = 1; i < 51; i++) {
        ck_assert_int_lt(
            strcmp(state_peer_at(network.state, i - 1)->id, state_peer_at(network.state, i)->id),
            0);
        ck_assert_int_lt(strcmp(state_authorization_at(network.state, i - 1)->id,
                                state_authorization_at(network.state, i)->id),
                         0);
    }
    const struct state_peer *peer = state_peer(network.state, test_id(60));
    ck_assert_ptr_nonnull(peer);
    ck_assert_ptr_eq(state_peer_by_name(network.state, "NAMED"), peer);
    ck_assert_ptr_eq(state_peer_by_key(network.state, peer->public_key), peer);
    ck_assert_ptr_null(state_node_by_key(network.state, peer->public_key));
    ck_assert_ptr_null(state_peer(network.state, test_id(61)));
    ck_assert_ptr_null(state_peer_by_name(network.state, ""));
    static const char *const networks[] = {"fd77::/32", "10.99.0.0/16", "10.9.0.0/16",
                                           "10.99.0.0/17", "::/0"};
    static const char *const ordered[] = {"10.9.0.0/16", "10.99.0.0/16", "10.99.0.0/17", "::/0",
                                          "fd77::/32"};
    for (size_t i = 0; i < 5; i++)
        ck_assert_int_eq(network_create_route(&network, 1, networks[i]), GRPC_OK);
    for (size_t i = 0; i < 5; i++) {
        struct ip_prefix prefix = test_prefix(ordered[i]);
        ck_assert_str_eq(state_route_at(network.state, i)->pb->network, ordered[i]);
        ck_assert_ptr_eq(state_route(network.state, &prefix), state_route_at(network.state, i));
    }
    network_fini(&network);
}
END_TEST

START_TEST(changes_must_follow)
{
    struct network network;
    network_init_empty(&network);
    struct record_op op = {RECORD_HSET, RECORD_KEY_META, "cluster", (const uint8_t *)"x", 1};
    struct record_change change = {
        .epoch = 1, .rev = 2, .prev_epoch = 1, .prev_rev = 0, .ops = &op, .op_count = 1};
    ck_assert_int_eq(state_apply_change(network.state, &change), -ESTALE);
    change.prev_rev = 1;
    change.prev_epoch = 2;
    ck_assert_int_eq(state_apply_change(network.state, &change), -ESTALE);
    ck_assert_str_eq(state_settings(network.state)->cluster, "");
    change.prev_epoch = 1;
    ck_assert_int_eq(state_apply_change(network.state, &change), 0);
    ck_assert_str_eq(state_settings(network.state)->cluster, "x");
    ck_assert_uint_eq(state_rev(network.state), 2);
    network_fini(&network);
}
END_TEST

START_TEST(damaged_records)
{
    struct network network;
    Pb__Node node;
    Pb__Route route;
    Pb__KeyPair keypair;
    char key[128];
    network_init(&network);
    size_t damaged = 0;
    pb__route__init(&route);
    pb__node__init(&node);
    pb__key_pair__init(&keypair);
    for (int i = 0; i < 12; i++) {
        keypair.public_key = (char *)(uintptr_t)test_key(1);
        node = (Pb__Node){.base = node.base,
                          .id = (char *)(uintptr_t)test_id(1),
                          .addr = "",
                          .keypair = &keypair,
                          .endpoint_ip = "",
                          .gateway_ip = "10.11.0.1",
                          .interface_name = "",
                          .name = "a",
                          .network = "10.11.0.0/16",
                          .gateway_ip6 = "",
                          .network6 = ""};
        switch (i) {
        case 0:
            node.id = "other";
            break;
        case 1:
            keypair.public_key = "AAAA";
            break;
        case 2:
            node.keypair = NULL;
            break;
        case 3:
            node.network = "10.11.0.1/16";
            break;
        case 4:
            node.network = "fd00::/64";
            break;
        case 5:
            node.gateway_ip = "10.12.0.1";
            break;
        case 6:
            node.gateway_ip = "";
            break;
        case 7:
            node.network6 = "10.0.0.0/8";
            break;
        case 8:
            node.network6 = "fd00::/64"; /* without a gateway */
            break;
        case 9:
            node.network = "";
            break;
        }
        damaged += i < 10;
        snprintf(key, sizeof key, "%s%s", RECORD_KEY_NODES, test_id(1));
        set_message(&network, key, &node.base);
        ck_assert_uint_eq(state_damaged(network.state), damaged);
        ck_assert_int_eq(state_node(network.state, test_id(1)) != NULL, i >= 10);
    }
    set(&network, key, "\xff\xff\xff", 3); /* a damaged value replaces a good one: both are gone */
    ck_assert_uint_eq(state_damaged(network.state), ++damaged);
    ck_assert_ptr_null(state_node(network.state, test_id(1)));
    ck_assert_ptr_null(state_node_by_name(network.state, "a"));

    static const char *const peerips[][2] = {
        {"10.51.0.300", "id"}, {"10.51.00.3", "id"}, {"10.51.0.3/32", "id"}, {"10.51.0.3", ""}};
    for (size_t i = 0; i < ARRAY_LEN(peerips); i++) {
        hset(&network, RECORD_KEY_PEERIPS, peerips[i][0], peerips[i][1]);
        ck_assert_uint_eq(state_damaged(network.state), ++damaged);
    }
    route.node_id = "n";
    route.network = "10.99.0.1/16";
    set_message(&network, "heimdall:routes:10.99.0.1/16", &route.base);
    route.network = "10.99.0.0/16";
    set_message(&network, "heimdall:routes:10.98.0.0/16", &route.base);
    damaged += 2;
    ck_assert_uint_eq(state_damaged(network.state), damaged);
    ck_assert_uint_eq(state_route_count(network.state), 0);
    hset(&network, "heimdall:routes:10.99.0.0/16", "f", "v"); /* a hash where the key is none */
    set(&network, RECORD_KEY_AUTHORIZED, "x", 1);
    hset(&network, RECORD_KEY_META, "peer_network", "10.51.0.9/16");
    damaged += 3;
    ck_assert_uint_eq(state_damaged(network.state), damaged);
    set(&network, "heimdall:future:1", "x", 1); /* newer, not damaged */
    hset(&network, RECORD_KEY_META, "future", "x");
    ck_assert_uint_eq(state_damaged(network.state), damaged);
    network_fini(&network);
}
END_TEST

/* A field that this version does not know survives a change of the record. */
START_TEST(unknown_fields_survive)
{
    struct network network;
    char key[128];
    uint8_t packed[512];
    network_init(&network);
    network_add_peer(&network, 2, "x");
    const Pb__Peer *pb = state_peer(network.state, test_id(2))->pb;
    size_t len = pb__peer__pack(pb, packed);
    memcpy(packed + len, "\xa2\x3f\x03new", 6); /* field 1012, 3 bytes */
    snprintf(key, sizeof key, "%s%s", RECORD_KEY_PEERS, test_id(2));
    set(&network, key, packed, len + 6);
    ck_assert_int_eq(network_connect(&network, test_id(2), "renamed", test_key(2)), GRPC_OK);
    pb = state_peer(network.state, test_id(2))->pb;
    ck_assert_str_eq(pb->name, "renamed");
    ck_assert_uint_eq(pb->base.n_unknown_fields, 1);
    ck_assert_uint_eq(pb->base.unknown_fields[0].tag, 1012);
    network_fini(&network);
}
END_TEST

START_TEST(whole_keys_removed)
{
    struct network network;
    network_init(&network);
    for (unsigned n = 2; n < 40; n++)
        network_add_peer(&network, n, "");
    del(&network, RECORD_KEY_AUTHORIZED);
    ck_assert_uint_eq(state_authorization_count(network.state), 0);
    ck_assert_uint_eq(state_peer_offset_floor(network.state), 40);
    del(&network, RECORD_KEY_PEERIPS);
    ck_assert_uint_eq(state_peer_offset_floor(network.state), 2);
    struct ip_addr addr = test_addr("10.51.0.7");
    ck_assert_ptr_null(state_address_owner(network.state, &addr));
    del(&network, RECORD_KEY_META);
    ck_assert_str_eq(state_settings(network.state)->cluster, "");
    del(&network, "heimdall:peers:nobody");
    network_fini(&network);
}
END_TEST

/* The order in which records are loaded does not matter. */
START_TEST(floor_in_any_order)
{
    struct network network;
    network_init_empty(&network);
    hset(&network, RECORD_KEY_PEERIPS, "10.51.0.3", "b");
    hset(&network, RECORD_KEY_PEERIPS, "10.51.0.2", "a");
    hset(&network, RECORD_KEY_PEERIPS, "10.51.0.5", "c");
    hset(&network, RECORD_KEY_META, "peer_network", "10.51.0.0/16");
    ck_assert_uint_eq(state_peer_offset_floor(network.state), 4);
    hset(&network, RECORD_KEY_PEERIPS, "10.51.0.4", "d");
    ck_assert_uint_eq(state_peer_offset_floor(network.state), 6);
    network_fini(&network);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("state");
    tcase_add_test(tc, keys);
    tcase_add_test(tc, look_ups_and_order);
    tcase_add_test(tc, changes_must_follow);
    tcase_add_test(tc, damaged_records);
    tcase_add_test(tc, unknown_fields_survive);
    tcase_add_test(tc, whole_keys_removed);
    tcase_add_test(tc, floor_in_any_order);
    return unit_run(tc);
}
