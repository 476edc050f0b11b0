#include "control/state/change.h"

#include "control/state/change_build.h"

#include "base/map.h"
#include "control/cluster/store.h"
#include "tests/control/network_fixture.h"

START_TEST(nothing_before_the_cluster)
{
    struct network network;
    network_init_empty(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_UNAVAILABLE);
    ck_assert_int_eq(network_authorize(&network, test_id(2)), GRPC_UNAVAILABLE);
    ck_assert_int_eq(network_deauthorize(&network, test_id(2)), GRPC_UNAVAILABLE);
    ck_assert_int_eq(network_rekey(&network, test_id(2)), GRPC_UNAVAILABLE);
    ck_assert_int_eq(network_rename(&network, test_id(2), "a"), GRPC_UNAVAILABLE);
    ck_assert_int_eq(network_connect(&network, test_id(2), "", test_key(2)), GRPC_UNAVAILABLE);
    ck_assert_int_eq(network_create_route(&network, 1, "10.99.0.0/16"), GRPC_UNAVAILABLE);
    ck_assert_int_eq(network_delete_route(&network, "10.99.0.0/16"), GRPC_UNAVAILABLE);
    network_fini(&network);
}
END_TEST

static const struct {
    const char *nodes, *peers, *nodes6, *peers6;
    enum grpc_code code;
} clusters[] = {
    {"10.10.0.0/16", "10.51.0.0/16", "", "", GRPC_OK},
    {"10.10.0.0/16", "10.51.0.0/16", "fd00::/64", "fd00:0:0:1::/64", GRPC_OK},
    {"10.10.0.0/24", "10.10.1.0/24", "", "", GRPC_OK},
    {"10.10.0.0/16", "10.10.0.0/16", "", "", GRPC_INVALID_ARGUMENT},
    {"10.0.0.0/9", "10.51.0.0/16", "", "", GRPC_INVALID_ARGUMENT},
    {"10.10.0.1/16", "10.51.0.0/16", "", "", GRPC_INVALID_ARGUMENT},
    {"10.10.0.0/16", "10.51.0.0/30", "", "", GRPC_INVALID_ARGUMENT},
    {"10.10.0.0/30", "10.51.0.0/16", "", "", GRPC_INVALID_ARGUMENT},
    {"10.0.0.0/8", "192.168.0.0/16", "", "", GRPC_INVALID_ARGUMENT},
    {"fd00::/64", "10.51.0.0/16", "", "", GRPC_INVALID_ARGUMENT},
    {"10.10.0.0/16", "", "", "", GRPC_INVALID_ARGUMENT},
    {"10.10.0.0/16", "10.51.0.0/16", "fd00::/64", "", GRPC_INVALID_ARGUMENT},
    {"10.10.0.0/16", "10.51.0.0/16", "", "fd00::/64", GRPC_INVALID_ARGUMENT},
    {"10.10.0.0/16", "10.51.0.0/16", "fd00::/64", "fd00::/64", GRPC_INVALID_ARGUMENT},
    {"10.10.0.0/16", "10.51.0.0/16", "fd00::/64", "fd01::/120", GRPC_INVALID_ARGUMENT},
    {"10.10.0.0/16", "10.51.0.0/16", "fd00::/64", "fd01::/112", GRPC_OK},
    {"10.10.0.0/16", "10.51.0.0/16", "10.60.0.0/16", "fd01::/112", GRPC_INVALID_ARGUMENT},
};

START_TEST(bootstrap)
{
    struct network network;
    network_init_empty(&network);
    ck_assert_msg(network_bootstrap(&network, clusters[_i].nodes, clusters[_i].peers,
                                    clusters[_i].nodes6, clusters[_i].peers6) == clusters[_i].code,
                  "%s", network.err.text);
    bool made = clusters[_i].code == GRPC_OK;
    ck_assert_int_eq(state_settings(network.state)->cluster[0] != '\0', made);
    if (made) {
        /* repeated: nothing to do; with other values: refused */
        ck_assert_int_eq(network_bootstrap(&network, clusters[_i].nodes, clusters[_i].peers,
                                           clusters[_i].nodes6, clusters[_i].peers6),
                         GRPC_OK);
        ck_assert_uint_eq(network.ops, 0);
        ck_assert_int_eq(network_bootstrap(&network, "10.12.0.0/16", clusters[_i].peers, "", ""),
                         GRPC_FAILED_PRECONDITION);
        struct change change;
        struct change_cluster other = {.cluster = test_id(7)};
        ck_assert_int_eq(change_bootstrap_cluster(&change, network.state, &other, &network.err),
                         GRPC_FAILED_PRECONDITION);
        change_fini(&change);
    }
    network_fini(&network);
}
END_TEST

START_TEST(default_networks6)
{
    struct ip_prefix nodes;
    struct ip_prefix peers;
    struct ip_prefix again;
    struct ip_prefix others;
    change_default_networks6(test_id(1), &nodes, &peers);
    change_default_networks6(test_id(1), &again, &peers);
    change_default_networks6(test_id(2), &others, &peers);
    ck_assert(ip_prefix_equal(&nodes, &again));
    ck_assert(!ip_prefix_equal(&nodes, &others));
    ck_assert(ip_prefix_is_masked(&nodes));
    ck_assert_uint_eq(nodes.addr.bytes[0], 0xfd);
    ck_assert_uint_eq(nodes.len, 64);
    ck_assert_mem_eq(peers.addr.bytes, others.addr.bytes, 6);
    ck_assert_mem_eq(peers.addr.bytes + 6, "\xff\xff", 2);
}
END_TEST

START_TEST(first_node_and_peer)
{
    struct network network;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "Router"), GRPC_OK);
    const struct state_node *node = state_node(network.state, test_id(1));
    ck_assert_str_eq(node->pb->network, "10.11.0.0/16");
    ck_assert_str_eq(node->pb->gateway_ip, "10.11.0.1");
    ck_assert_str_eq(node->pb->network6, "fd01:2:3:1::/64");
    ck_assert_str_eq(node->pb->gateway_ip6, "fd01:2:3:1::1");
    ck_assert_str_eq(node->name, "router");
    ck_assert_uint_eq(node->join_seq, 1);
    ck_assert_uint_eq(endpoint_port(&node->endpoint), 10100);

    network_add_peer(&network, 2, "client");
    const struct state_peer *peer = state_peer(network.state, test_id(2));
    ck_assert_str_eq(peer->pb->peer_ip, "10.51.0.2");
    ck_assert_str_eq(peer->pb->peer_ip6, "fd01:2:3:ffff::2");
    ck_assert_uint_eq(peer->pb->n_allowed_ips, 2);
    ck_assert_str_eq(peer->pb->allowed_ips[0], "10.51.0.2/32");
    ck_assert_str_eq(peer->pb->allowed_ips[1], "fd01:2:3:ffff::2/128");
    ck_assert_str_eq(peer->pb->keypair->private_key, "");
    struct ip_addr addr = test_addr("10.51.0.2");
    ck_assert_str_eq(state_address_owner(network.state, &addr), test_id(2));
    network_fini(&network);
}
END_TEST

/* A host on which IPv6 is switched off and back on. */
START_TEST(a_node_without_ipv6)
{
    struct network network;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "a"), GRPC_OK);
    network.no_ipv6 = true;
    ck_assert_int_eq(network_put_node(&network, 2, "b"), GRPC_OK);
    ck_assert_str_eq(state_node(network.state, test_id(2))->pb->network, "10.12.0.0/16");
    ck_assert_str_eq(state_node(network.state, test_id(2))->pb->network6, "");
    ck_assert_int_eq(network_put_node(&network, 1, "a"), GRPC_OK);
    ck_assert_str_eq(state_node(network.state, test_id(1))->pb->network6, "");
    ck_assert_str_eq(state_node(network.state, test_id(1))->pb->gateway_ip6, "");
    ck_assert_int_eq(network_put_node(&network, 1, "a"), GRPC_OK);
    ck_assert_uint_eq(network.ops, 0);
    network.no_ipv6 = false;
    ck_assert_int_eq(network_put_node(&network, 2, "b"), GRPC_OK);
    ck_assert_str_eq(state_node(network.state, test_id(2))->pb->network6, "fd01:2:3:1::/64");
    ck_assert_str_eq(state_node(network.state, test_id(2))->pb->network, "10.12.0.0/16");
    ck_assert_uint_eq(state_node(network.state, test_id(2))->join_seq, 2);
    network_fini(&network);
}
END_TEST

/* Nodes come before peers: a node takes a peer's name, whoever gave it, and a peer never takes a
 * node's. The messages say whose the name is. */
START_TEST(names_of_nodes_come_first)
{
    struct network network;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "a"), GRPC_OK);
    ck_assert_int_eq(network_authorize(&network, test_id(5)), GRPC_OK);
    ck_assert_int_eq(network_connect(&network, test_id(5), "b", test_key(5)), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 2, "b"), GRPC_OK);
    ck_assert_ptr_nonnull(state_node_by_name(network.state, "b"));
    ck_assert_ptr_null(state_peer_by_name(network.state, "b"));
    ck_assert_str_eq(state_peer(network.state, test_id(5))->name, "");
    ck_assert_int_eq(network_connect(&network, test_id(5), "b", test_key(5)), GRPC_ALREADY_EXISTS);
    ck_assert_ptr_nonnull(strstr(network.err.text, "the name b is taken by a node"));
    ck_assert_int_eq(network_connect(&network, test_id(5), "c", test_key(5)), GRPC_OK);
    ck_assert_int_eq(network_authorize(&network, test_id(6)), GRPC_OK);
    ck_assert_int_eq(network_connect(&network, test_id(6), "c", test_key(6)), GRPC_ALREADY_EXISTS);
    ck_assert_ptr_nonnull(strstr(network.err.text, "the name c is taken by another peer"));
    ck_assert_int_eq(network_authorize(&network, test_id(7)), GRPC_OK);
    ck_assert_int_eq(network_rename(&network, test_id(7), "d"), GRPC_OK); /* not connected yet */
    ck_assert_int_eq(network_put_node(&network, 2, "d"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 2, "a"), GRPC_ALREADY_EXISTS);
    ck_assert_ptr_nonnull(strstr(network.err.text, "the name a is taken by another node"));
    network_fini(&network);
}
END_TEST

START_TEST(nodes)
{
    struct network network;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "a"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 2, "b"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 1, "a"), GRPC_OK);
    ck_assert_uint_eq(network.ops, 0); /* nothing new */
    ck_assert_int_eq(network_put_node(&network, 1, "c"), GRPC_OK);
    ck_assert_ptr_null(state_node_by_name(network.state, "a"));
    ck_assert_str_eq(state_node_by_name(network.state, "C")->pb->network, "10.11.0.0/16");
    ck_assert_int_eq(network_put_node(&network, 2, "C"), GRPC_ALREADY_EXISTS);
    ck_assert_int_eq(network_put_node(&network, 3, "localhost"), GRPC_ALREADY_EXISTS);
    ck_assert_int_eq(network_put_node(&network, 3, "no_name"), GRPC_INVALID_ARGUMENT);

    struct change change;
    struct change_node good = {.id = test_id(9),
                               .name = "z",
                               .public_key = test_key(9),
                               .addr = "tcp://192.0.2.9:9000",
                               .endpoint_ip = "192.0.2.9",
                               .endpoint_port = 1,
                               .interface_name = "darknet",
                               .version = "1.0.0"};
    for (int i = 0; i < 9; i++) {
        struct change_node node = good;
        enum grpc_code expected = GRPC_INVALID_ARGUMENT;
        if (i == 0)
            node.id = "weak";
        if (i == 1)
            node.public_key = "none";
        if (i == 2)
            node.endpoint_ip = "host.example";
        if (i == 3)
            node.endpoint_port = 0;
        if (i == 4)
            node.interface_name = "much-too-long-for-a-name";
        if (i == 5) {
            node.public_key = test_key(1);
            expected = GRPC_ALREADY_EXISTS;
        }
        if (i == 6) {
            node.id = test_id(1);
            expected = GRPC_PERMISSION_DENIED;
        }
        if (i == 7)
            node.version = "1.0 beta";
        if (i == 8)
            expected = GRPC_OK;
        enum grpc_code code = change_put_node(&change, network.state, &node, &network.err);
        ck_assert_msg(code == expected, "%d: %d %s", i, code, network.err.text);
        change_fini(&change);
    }
    network_fini(&network);
}
END_TEST

START_TEST(peers)
{
    struct network network;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
    ck_assert_int_eq(network_authorize(&network, "laptop"), GRPC_INVALID_ARGUMENT);
    ck_assert_int_eq(network_authorize(&network, test_id(1)), GRPC_ALREADY_EXISTS);
    ck_assert_int_eq(network_connect(&network, test_id(2), "x", test_key(2)),
                     GRPC_PERMISSION_DENIED);
    char line[128];
    snprintf(line, sizeof line, "hctl peers authorize %s", test_id(2));
    ck_assert_ptr_nonnull(strstr(network.err.text, line));
    ck_assert_int_eq(network_deauthorize(&network, test_id(2)), GRPC_NOT_FOUND);
    ck_assert_int_eq(network_authorize(&network, test_id(2)), GRPC_OK);
    ck_assert_int_eq(network_authorize(&network, test_id(2)), GRPC_OK);
    ck_assert_uint_eq(network.ops, 0);
    ck_assert_int_eq(network_connect(&network, test_id(2), "x", ""), GRPC_FAILED_PRECONDITION);
    ck_assert_int_eq(network_connect(&network, test_id(2), "x", "bad"), GRPC_INVALID_ARGUMENT);
    ck_assert_int_eq(network_connect(&network, test_id(2), "x y", test_key(2)),
                     GRPC_INVALID_ARGUMENT);
    ck_assert_int_eq(network_connect(&network, test_id(2), "router", test_key(2)),
                     GRPC_ALREADY_EXISTS);
    ck_assert_int_eq(network_connect(&network, test_id(2), "x", test_key(1)), GRPC_ALREADY_EXISTS);
    ck_assert_uint_eq(state_peer_count(network.state), 0);
    ck_assert_int_eq(network_connect(&network, test_id(2), "x", test_key(2)), GRPC_OK);
    /* repeated: nothing to do; another key: refused; another name: the address stays */
    ck_assert_int_eq(network_connect(&network, test_id(2), "x", test_key(2)), GRPC_OK);
    ck_assert_uint_eq(network.ops, 0);
    ck_assert_int_eq(network_connect(&network, test_id(2), "x", test_key(3)),
                     GRPC_PERMISSION_DENIED);
    network.now_ns += 86400 * NS_PER_SEC; /* a reconnect alone is not worth a record */
    ck_assert_int_eq(network_connect(&network, test_id(2), "x", test_key(2)), GRPC_OK);
    ck_assert_uint_eq(network.ops, 0);
    ck_assert_int_eq(network_connect(&network, test_id(2), "Y", test_key(2)), GRPC_OK);
    ck_assert_str_eq(state_peer_by_name(network.state, "y")->pb->peer_ip, "10.51.0.2");
    ck_assert_ptr_null(state_peer_by_name(network.state, "x"));
    /* a peer without a name, and one with a taken name */
    network_add_peer(&network, 3, "");
    network_add_peer(&network, 4, "");
    ck_assert_int_eq(network_connect(&network, test_id(4), "y", test_key(4)), GRPC_ALREADY_EXISTS);
    /* removed: the address is free again, and a new key is accepted */
    ck_assert_int_eq(network_deauthorize(&network, test_id(2)), GRPC_OK);
    struct ip_addr addr = test_addr("10.51.0.2");
    struct ip_addr addr6 = test_addr("fd01:2:3:ffff::2");
    ck_assert_ptr_null(state_address_owner(network.state, &addr));
    ck_assert_ptr_null(state_address_owner(network.state, &addr6));
    ck_assert_ptr_null(state_peer(network.state, test_id(2)));
    ck_assert_ptr_null(state_peer_by_name(network.state, "y"));
    ck_assert_ptr_null(state_authorization(network.state, test_id(2)));
    ck_assert_int_eq(network_connect(&network, test_id(2), "y", test_key(2)),
                     GRPC_PERMISSION_DENIED);
    network_add_peer(&network, 6, "y");
    ck_assert_str_eq(state_peer(network.state, test_id(6))->pb->peer_ip, "10.51.0.2");
    network_fini(&network);
}
END_TEST

/* One new key is accepted, once; the address and the name stay. */
START_TEST(rekey)
{
    struct network network;
    network_init(&network);
    ck_assert_int_eq(network_rekey(&network, test_id(2)), GRPC_NOT_FOUND);
    ck_assert_int_eq(network_authorize(&network, test_id(2)), GRPC_OK);
    ck_assert_int_eq(network_rekey(&network, test_id(2)), GRPC_OK);
    ck_assert_uint_eq(network.ops, 0); /* no key is bound yet */
    network_add_peer(&network, 2, "laptop");
    network_add_peer(&network, 3, "other");
    ck_assert_int_eq(network_connect(&network, test_id(2), "laptop", test_key(20)),
                     GRPC_PERMISSION_DENIED);
    char line[128];
    snprintf(line, sizeof line, "hctl peers rekey %s", test_id(2));
    ck_assert_ptr_nonnull(strstr(network.err.text, line));

    ck_assert_int_eq(network_rekey(&network, test_id(2)), GRPC_OK);
    ck_assert_uint_eq(network.ops, 1);
    ck_assert_int_eq(network_rekey(&network, test_id(2)), GRPC_OK);
    ck_assert_uint_eq(network.ops, 0);
    /* neither another id nor another peer's key profits; the old key does not use it up */
    ck_assert_int_eq(network_connect(&network, test_id(3), "other", test_key(20)),
                     GRPC_PERMISSION_DENIED);
    ck_assert_int_eq(network_connect(&network, test_id(2), "laptop", test_key(3)),
                     GRPC_ALREADY_EXISTS);
    ck_assert_int_eq(network_connect(&network, test_id(2), "laptop", test_key(2)), GRPC_OK);
    ck_assert(state_authorization(network.state, test_id(2))->pb->rekey);
    ck_assert_int_eq(network_connect(&network, test_id(2), "laptop", test_key(20)), GRPC_OK);
    const struct state_peer *peer = state_peer(network.state, test_id(2));
    ck_assert_str_eq(peer->pb->keypair->public_key, test_key(20));
    ck_assert_str_eq(peer->pb->peer_ip, "10.51.0.2");
    ck_assert_str_eq(peer->name, "laptop");
    ck_assert(!state_authorization(network.state, test_id(2))->pb->rekey);

    ck_assert_int_eq(network_connect(&network, test_id(2), "laptop", test_key(2)),
                     GRPC_PERMISSION_DENIED);
    ck_assert_int_eq(network_connect(&network, test_id(2), "laptop", test_key(21)),
                     GRPC_PERMISSION_DENIED);
    network_fini(&network);
}
END_TEST

START_TEST(rename_peer)
{
    struct network network;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
    ck_assert_int_eq(network_rename(&network, test_id(2), "desk"), GRPC_NOT_FOUND);
    network_add_peer(&network, 2, "Laptop");
    network_add_peer(&network, 3, "other");
    ck_assert_int_eq(network_authorize(&network, test_id(4)), GRPC_OK);

    static const char *const malformed[] = {"a b", "-a", "under_score", "a.b", "\xc3\xa9"};
    for (size_t i = 0; i < ARRAY_LEN(malformed); i++)
        ck_assert_int_eq(network_rename(&network, test_id(2), malformed[i]), GRPC_INVALID_ARGUMENT);
    static const char *const taken[] = {"router", "OTHER", "localhost"};
    for (size_t i = 0; i < ARRAY_LEN(taken); i++)
        ck_assert_int_eq(network_rename(&network, test_id(2), taken[i]), GRPC_ALREADY_EXISTS);
    ck_assert_str_eq(state_peer(network.state, test_id(2))->name, "laptop");

    ck_assert_int_eq(network_rename(&network, test_id(2), "Desk"), GRPC_OK);
    ck_assert_ptr_nonnull(state_peer_by_name(network.state, "desk"));
    ck_assert_ptr_null(state_peer_by_name(network.state, "laptop"));
    ck_assert_int_eq(network_rename(&network, test_id(2), "desk"), GRPC_OK);
    ck_assert_uint_eq(network.ops, 0);
    /* the peer's own name does not change the given one */
    ck_assert_int_eq(network_connect(&network, test_id(2), "portable", test_key(2)), GRPC_OK);
    ck_assert_int_eq(network_connect(&network, test_id(2), "router", test_key(2)), GRPC_OK);
    ck_assert_int_eq(network_connect(&network, test_id(2), "a b", test_key(2)),
                     GRPC_INVALID_ARGUMENT);
    ck_assert_str_eq(state_peer(network.state, test_id(2))->name, "desk");
    /* restored: its own name is taken, then free */
    ck_assert_int_eq(network_rename(&network, test_id(2), ""), GRPC_OK);
    ck_assert_str_eq(state_peer(network.state, test_id(2))->name, "");
    ck_assert_int_eq(network_connect(&network, test_id(2), "laptop", test_key(2)), GRPC_OK);
    ck_assert_int_eq(network_rename(&network, test_id(2), "desk"), GRPC_OK);
    ck_assert_int_eq(network_rename(&network, test_id(2), ""), GRPC_OK);
    ck_assert_str_eq(state_peer(network.state, test_id(2))->name, "laptop");

    /* named before it first connects; nobody else gets the name meanwhile */
    ck_assert_int_eq(network_rename(&network, test_id(4), "printer"), GRPC_OK);
    ck_assert_int_eq(network_rename(&network, test_id(3), "printer"), GRPC_ALREADY_EXISTS);
    ck_assert_int_eq(network_connect(&network, test_id(3), "printer", test_key(3)),
                     GRPC_ALREADY_EXISTS);
    ck_assert_int_eq(network_connect(&network, test_id(4), "x", test_key(4)), GRPC_OK);
    ck_assert_str_eq(state_peer(network.state, test_id(4))->name, "printer");
    ck_assert_int_eq(network_deauthorize(&network, test_id(4)), GRPC_OK);
    ck_assert_int_eq(network_rename(&network, test_id(3), "printer"), GRPC_OK);
    network_fini(&network);
}
END_TEST

START_TEST(versions)
{
    struct network network;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
    network_add_peer(&network, 2, "laptop");
    ck_assert_str_eq(state_node(network.state, test_id(1))->pb->version, "1.0.0");
    ck_assert_str_eq(state_peer(network.state, test_id(2))->pb->version, "1.0.0");
    network.version = "1.1.0"; /* upgraded: written at once */
    ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
    ck_assert_int_eq(network_connect(&network, test_id(2), "laptop", test_key(2)), GRPC_OK);
    ck_assert_str_eq(state_node(network.state, test_id(1))->pb->version, "1.1.0");
    ck_assert_str_eq(state_peer(network.state, test_id(2))->pb->version, "1.1.0");
    static const char *const malformed[] = {
        "1 0", "1\n", "\x7f", "0123456789012345678901234567890123456789012345678901234567890123x"};
    for (size_t i = 0; i < ARRAY_LEN(malformed); i++) {
        network.version = malformed[i];
        ck_assert_int_eq(network_connect(&network, test_id(2), "laptop", test_key(2)),
                         GRPC_INVALID_ARGUMENT);
    }
    network.version = ""; /* a client that reports no version */
    ck_assert_int_eq(network_connect(&network, test_id(2), "laptop", test_key(2)), GRPC_OK);
    network_fini(&network);
}
END_TEST

static const struct {
    const char *network;
    enum grpc_code code;
} routes[] = {
    {"10.99.0.0/16", GRPC_OK},
    {"192.168.7.0/24", GRPC_OK},
    {"fd77::/32", GRPC_OK},
    {"0.0.0.0/0", GRPC_OK},
    {"::/0", GRPC_OK},
    {"10.200.0.1/32", GRPC_OK},
    {"10.200.0.1", GRPC_INVALID_ARGUMENT},
    {"10.99.0.1/16", GRPC_INVALID_ARGUMENT},
    {"10.99.0.0/33", GRPC_INVALID_ARGUMENT},
    {"10.99.0.0/", GRPC_INVALID_ARGUMENT},
    {"", GRPC_INVALID_ARGUMENT},
    {"10.11.5.0/24", GRPC_INVALID_ARGUMENT}, /* inside the node's */
    {"10.0.0.0/8", GRPC_INVALID_ARGUMENT},   /* around it */
    {"10.51.0.0/24", GRPC_INVALID_ARGUMENT}, /* the peers' */
    {"fd01:2:3:1::/80", GRPC_INVALID_ARGUMENT},
    {"fd01:2:3:ffff::/64", GRPC_INVALID_ARGUMENT},
    {"127.0.0.0/8", GRPC_INVALID_ARGUMENT},
    {"0.0.0.0/1", GRPC_INVALID_ARGUMENT},
    {"224.0.0.0/4", GRPC_INVALID_ARGUMENT},
    {"169.254.1.0/24", GRPC_INVALID_ARGUMENT},
    {"fe80::/64", GRPC_INVALID_ARGUMENT},
    {"ff02::/16", GRPC_INVALID_ARGUMENT},
    {"10.99.0.0/16; reboot", GRPC_INVALID_ARGUMENT},
};

START_TEST(route)
{
    struct network network;
    const char *text = routes[_i].network;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
    enum grpc_code code = network_create_route(&network, 1, text);
    ck_assert_msg(code == routes[_i].code, "%s: %d %s", text, code, network.err.text);
    ck_assert_uint_eq(state_route_count(network.state), code == GRPC_OK);
    if (code == GRPC_OK) {
        ck_assert_int_eq(network_create_route(&network, 1, text), GRPC_ALREADY_EXISTS);
        ck_assert_int_eq(network_create_route(&network, 9, text), GRPC_NOT_FOUND);
        ck_assert_int_eq(network_delete_route(&network, text), GRPC_OK);
        ck_assert_int_eq(network_delete_route(&network, text), GRPC_NOT_FOUND);
        ck_assert_int_eq(network_create_route(&network, 9, text), GRPC_NOT_FOUND);
    } else
        ck_assert_int_ne(network_delete_route(&network, text), GRPC_OK);
    network_fini(&network);
}
END_TEST

/* Hosts of a network may open connections to peers only where the route says so. A second create
 * changes that, for the same node. */
START_TEST(inbound_route)
{
    struct network network;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "a"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 2, "b"), GRPC_OK);
    ck_assert_int_eq(network_create_route(&network, 1, "192.168.7.0/24"), GRPC_OK);
    ck_assert(!state_route_at(network.state, 0)->pb->inbound);
    network.inbound = true;
    ck_assert_int_eq(network_create_route(&network, 2, "192.168.7.0/24"), GRPC_ALREADY_EXISTS);
    ck_assert_int_eq(network_create_route(&network, 1, "192.168.7.0/24"), GRPC_OK);
    ck_assert(state_route_at(network.state, 0)->pb->inbound);
    ck_assert_int_eq(network_create_route(&network, 1, "192.168.7.0/24"), GRPC_ALREADY_EXISTS);
    ck_assert_int_eq(network_create_route(&network, 1, "0.0.0.0/0"), GRPC_INVALID_ARGUMENT);
    ck_assert_int_eq(network_create_route(&network, 1, "::/0"), GRPC_INVALID_ARGUMENT);
    network.inbound = false;
    ck_assert_int_eq(network_create_route(&network, 1, "192.168.7.0/24"), GRPC_OK);
    ck_assert(!state_route_at(network.state, 0)->pb->inbound);
    network_fini(&network);
}
END_TEST

/* ---- the largest change ---- */

START_TEST(largest_change)
{
    static char ids[CHANGE_OPS_MAX + 1][37];
    static struct change_seen seen[CHANGE_OPS_MAX + 1];
    struct network network;
    struct change change;
    network_init(&network);
    for (unsigned i = 0; i <= CHANGE_OPS_MAX; i++) {
        network_add_peer(&network, 10 + i, "");
        memcpy(ids[i], test_id(10 + i), sizeof ids[i]);
        seen[i] = (struct change_seen){ids[i], network.now_ns, 1};
    }
    for (size_t more = 0; more < 2; more++) {
        enum grpc_code code =
            change_peers_seen(&change, network.state, seen, CHANGE_OPS_MAX + more, &network.err);
        ck_assert_int_eq(code, more == 0 ? GRPC_OK : GRPC_RESOURCE_EXHAUSTED);
        ck_assert_uint_eq(change.op_count, more == 0 ? CHANGE_OPS_MAX : 0);
        change_fini(&change);
    }
    ck_assert_ptr_nonnull(strstr(network.err.text, "1025 records"));
    network_fini(&network);
}
END_TEST

START_TEST(largest_bytes)
{
    static char value[CHANGE_BYTES_MAX];
    struct network network;
    struct change change;
    network_init(&network);
    for (size_t len = CHANGE_BYTES_MAX - 3; len <= CHANGE_BYTES_MAX; len++) {
        change_begin(&change, network.state);
        change_add(&change, RECORD_SET, "key", NULL, value, len);
        enum grpc_code code = change_finish(&change, GRPC_OK, &network.err);
        ck_assert_int_eq(code, len + 3 <= CHANGE_BYTES_MAX ? GRPC_OK : GRPC_RESOURCE_EXHAUSTED);
        change_fini(&change);
    }
    network_fini(&network);
}
END_TEST

/* ---- random operations: replaying every change makes the state they were built on ---- */

struct replayed {
    struct state *state;
    unsigned codes[17];
};

static enum grpc_code random_change(struct network *network, struct change *change, uint64_t draw)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "", "", "", ""};
    static const char *const nets[] = {"10.20.0.0/16", "10.20.1.0/24", "10.13.0.0/16",
                                       "10.11.1.0/24", "0.0.0.0/0",    "fd99::/64"};
    unsigned n = (unsigned)(draw >> 8) % 12 + 1;
    unsigned m = (unsigned)(draw >> 16) % 6;
    const char *name = names[(draw >> 24) % ARRAY_LEN(names)];
    const char *id = test_id(n);
    const char *key = test_key((draw >> 32) % 8 == 0 ? m + 1 : n);
    const struct state *state = network->state;
    struct change_node node = {.id = test_id(m + 100),
                               .name = name,
                               .public_key = test_key(m + 100),
                               .addr = "tcp://192.0.2.1:9000",
                               .endpoint_ip = "192.0.2.1",
                               .endpoint_port = 10100,
                               .interface_name = "darknet",
                               .version = "1.0.0",
                               .now_ns = network->now_ns};
    struct change_peer peer = {
        .id = id, .name = name, .public_key = key, .version = "1.0.0", .now_ns = network->now_ns};
    switch (draw % 18) {
    case 16:
        return change_rekey_peer(change, state, id, &network->err);
    case 17:
        return change_rename_peer(change, state, id, name, &network->err);
    case 0:
        return change_put_node(change, state, &node, &network->err);
    case 1:
    case 2:
        return change_deauthorize_peer(change, state, id, &network->err);
    case 3:
    case 4:
        return change_create_route(
            change, state,
            &(struct change_route){test_id(m + 100), nets[(draw >> 40) % 6], (draw >> 50) % 2 != 0},
            &network->err);
    case 5:
        return change_delete_route(change, state, nets[(draw >> 40) % 6], &network->err);
    case 6:
    case 7:
    case 8:
        return change_authorize_peer(change, state, id, network->now_ns, &network->err);
    default:
        return change_connect_peer(change, state, &peer, &network->err);
    }
}

static void replay(struct replayed *replayed, const struct change *change)
{
    struct record_change applied = {.epoch = change->epoch,
                                    .rev = change->rev + 1,
                                    .prev_epoch = change->epoch,
                                    .prev_rev = change->rev,
                                    .ops = change->ops,
                                    .op_count = change->op_count};
    if (change->op_count > 0)
        ck_assert_int_eq(state_apply_change(replayed->state, &applied), 0);
}

static void assert_same(const struct state *a, const struct state *b)
{
    struct buffer x;
    struct buffer y;
    buffer_init(&x);
    buffer_init(&y);
    state_dump(a, &x);
    state_dump(b, &y);
    buffer_append(&x, "", 1);
    buffer_append(&y, "", 1);
    ck_assert(!buffer_failed(&x) && !buffer_failed(&y));
    ck_assert_str_eq((const char *)buffer_data(&x), (const char *)buffer_data(&y));
    buffer_fini(&x);
    buffer_fini(&y);
}

/* Addresses, names and keys are unique, every peer is authorized, every address has its peer. */
static void assert_sound(const struct state *state)
{
    for (size_t i = 0; i < state_peer_count(state); i++) {
        const struct state_peer *peer = state_peer_at(state, i);
        ck_assert_ptr_nonnull(state_authorization(state, peer->id));
        ck_assert_str_eq(state_address_owner(state, &peer->address), peer->id);
        ck_assert_str_eq(state_address_owner(state, &peer->address6), peer->id);
        ck_assert_ptr_eq(state_peer_by_key(state, peer->public_key), peer);
        if (peer->name[0] != '\0') {
            ck_assert_ptr_eq(state_peer_by_name(state, peer->name), peer);
            ck_assert_ptr_null(state_node_by_name(state, peer->name));
        }
    }
    for (size_t i = 0; i < state_authorization_count(state); i++) {
        const struct state_authorization *given = state_authorization_at(state, i);
        if (given->name[0] == '\0')
            continue;
        const struct state_peer *peer = state_peer_by_name(state, given->name);
        ck_assert_ptr_eq(state_authorization_by_name(state, given->name), given);
        ck_assert_ptr_null(state_node_by_name(state, given->name));
        ck_assert_ptr_eq(peer, state_peer(state, given->id));
    }
    for (size_t i = 0; i < state_node_count(state); i++) {
        const struct state_node *node = state_node_at(state, i);
        ck_assert_ptr_eq(state_node_by_name(state, node->name), node);
        for (size_t j = 0; j < i; j++)
            ck_assert(!ip_prefix_overlaps(&node->network, &state_node_at(state, j)->network));
        for (size_t j = 0; j < state_route_count(state); j++) {
            const struct ip_prefix *network = &state_route_at(state, j)->network;
            ck_assert(network->len == 0 || !ip_prefix_overlaps(&node->network, network));
        }
    }
}

START_TEST(random_operations)
{
    struct network network;
    struct replayed replayed = {0};
    uint8_t seed[16] = {(uint8_t)_i};
    network_init_empty(&network);
    ck_assert_int_eq(state_create(&replayed.state, network_seed), 0);
    state_set_position(replayed.state, 1, 1);
    struct change change;
    struct change_cluster cluster = {.cluster = test_id(1000),
                                     .node_network = test_prefix("10.10.0.0/16"),
                                     .peer_network = test_prefix("10.51.0.0/28"),
                                     .node_network6 = test_prefix("fd01:2:3::/64"),
                                     .peer_network6 = test_prefix("fd01:2:3:ffff::/64")};
    ck_assert_int_eq(change_bootstrap_cluster(&change, network.state, &cluster, &network.err),
                     GRPC_OK);
    replay(&replayed, &change);
    ck_assert_int_eq(network_apply(&network, &change, GRPC_OK), GRPC_OK);
    for (uint64_t i = 0; i < 3000; i++) {
        network.now_ns += NS_PER_SEC;
        enum grpc_code code = random_change(&network, &change, map_siphash(seed, &i, sizeof i));
        replayed.codes[code]++;
        replay(&replayed, &change);
        network_apply(&network, &change, code);
        assert_sound(network.state);
        if (i % 100 == 0)
            assert_same(network.state, replayed.state);
    }
    assert_same(network.state, replayed.state);
    static const enum grpc_code seen[] = {GRPC_OK, GRPC_NOT_FOUND, GRPC_ALREADY_EXISTS,
                                          GRPC_PERMISSION_DENIED, GRPC_INVALID_ARGUMENT};
    for (size_t i = 0; i < ARRAY_LEN(seen); i++)
        ck_assert_msg(replayed.codes[seen[i]] > 10, "%d was not exercised", seen[i]);
    state_destroy(replayed.state);
    network_fini(&network);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("change");
    tcase_add_test(tc, nothing_before_the_cluster);
    tcase_add_loop_test(tc, bootstrap, 0, (int)ARRAY_LEN(clusters));
    tcase_add_test(tc, default_networks6);
    tcase_add_test(tc, first_node_and_peer);
    tcase_add_test(tc, a_node_without_ipv6);
    tcase_add_test(tc, nodes);
    tcase_add_test(tc, names_of_nodes_come_first);
    tcase_add_test(tc, peers);
    tcase_add_test(tc, rekey);
    tcase_add_test(tc, rename_peer);
    tcase_add_test(tc, versions);
    tcase_add_test(tc, inbound_route);
    tcase_add_test(tc, largest_change);
    tcase_add_test(tc, largest_bytes);
    tcase_add_loop_test(tc, route, 0, (int)ARRAY_LEN(routes));
    tcase_add_loop_test(tc, random_operations, 0, 4);
    return unit_run(tc);
}
