#include "control/state/ipam.h"

#include "tests/control/network_fixture.h"

#include <errno.h>

START_TEST(nodes_skip_what_is_taken)
{
    struct network network;
    struct ip_prefix next;
    char text[IP_PREFIX_TEXT];
    network_init_empty(&network);
    ck_assert_int_eq(
        network_bootstrap(&network, "10.48.0.0/16", "10.50.0.0/15", "fd01::/64", "fd01:0:0:2::/64"),
        GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 1, "a"), GRPC_OK);
    ck_assert_str_eq(state_node(network.state, test_id(1))->pb->network, "10.49.0.0/16");
    ck_assert_int_eq(network_put_node(&network, 2, "b"), GRPC_OK); /* 10.50 and 10.51: peers */
    ck_assert_str_eq(state_node(network.state, test_id(2))->pb->network, "10.52.0.0/16");
    ck_assert_str_eq(state_node(network.state, test_id(1))->pb->network6, "fd01:0:0:1::/64");
    ck_assert_str_eq(state_node(network.state, test_id(2))->pb->network6, "fd01:0:0:3::/64");
    ck_assert_int_eq(network_create_route(&network, 1, "10.53.7.0/24"), GRPC_OK);
    ck_assert_int_eq(network_create_route(&network, 1, "0.0.0.0/0"), GRPC_OK);
    ck_assert_int_eq(ipam_node_network(network.state, NULL, 0, &next), 0);
    ck_assert_str_eq(ip_prefix_format(&next, text), "10.54.0.0/16");
    ck_assert_int_eq(network_delete_route(&network, "10.53.7.0/24"), GRPC_OK);
    ck_assert_int_eq(ipam_node_network(network.state, NULL, 0, &next), 0);
    ck_assert_str_eq(ip_prefix_format(&next, text), "10.53.0.0/16");
    /* networks that the node's host is in */
    struct ip_prefix host[2];
    ck_assert(ip_prefix_parse(&host[0], "10.53.8.0/24") &&
              ip_prefix_parse(&host[1], "10.54.0.0/15"));
    ck_assert_int_eq(ipam_node_network(network.state, host, 2, &next), 0);
    ck_assert_str_eq(ip_prefix_format(&next, text), "10.56.0.0/16");
    network_fini(&network);
}
END_TEST

/* The number of nodes that fit: the walk ends with the private range that it began in. */
static const struct {
    const char *nodes, *peers;
    unsigned fit;
    const char *last;
} ranges[] = {
    {"10.10.0.0/16", "10.51.0.0/16", 244, "10.255.0.0/16"},
    {"10.250.0.0/16", "10.251.0.0/16", 4, "10.255.0.0/16"},
    {"172.30.0.0/16", "10.51.0.0/16", 1, "172.31.0.0/16"},
    {"192.168.250.0/24", "10.51.0.0/16", 5, "192.168.255.0/24"},
    {"100.127.254.0/24", "10.51.0.0/16", 1, "100.127.255.0/24"},
    {"198.255.252.0/23", "10.51.0.0/16", 1, "198.255.254.0/23"},
    {"255.255.255.0/25", "10.51.0.0/16", 1, "255.255.255.128/25"},
    {"10.255.0.0/16", "10.51.0.0/16", 0, NULL},
};

START_TEST(node_networks_run_out)
{
    struct network network;
    char name[16];
    network_init_empty(&network);
    ck_assert_int_eq(network_bootstrap(&network, ranges[_i].nodes, ranges[_i].peers, "", ""),
                     GRPC_OK);
    for (unsigned n = 1; n <= ranges[_i].fit; n++) {
        snprintf(name, sizeof name, "n%u", n);
        ck_assert_int_eq(network_put_node(&network, n, name), GRPC_OK);
        if (n == ranges[_i].fit)
            ck_assert_str_eq(state_node(network.state, test_id(n))->pb->network, ranges[_i].last);
    }
    ck_assert_int_eq(network_put_node(&network, 250, "more"), GRPC_RESOURCE_EXHAUSTED);
    network_fini(&network);
}
END_TEST

START_TEST(peers_use_all_and_reuse)
{
    struct network network;
    network_init_empty(&network);
    ck_assert_int_eq(network_bootstrap(&network, "10.10.0.0/16", "10.51.0.0/28", "", ""), GRPC_OK);
    for (unsigned n = 2; n <= 14; n++) {
        char expected[16];
        network_add_peer(&network, n, "");
        snprintf(expected, sizeof expected, "10.51.0.%u", n);
        ck_assert_str_eq(state_peer(network.state, test_id(n))->pb->peer_ip, expected);
        ck_assert_str_eq(state_peer(network.state, test_id(n))->pb->peer_ip6, "");
    }
    ck_assert_int_eq(network_authorize(&network, test_id(20)), GRPC_OK);
    ck_assert_int_eq(network_connect(&network, test_id(20), "", test_key(20)),
                     GRPC_RESOURCE_EXHAUSTED);
    ck_assert_int_eq(network_deauthorize(&network, test_id(9)), GRPC_OK);
    ck_assert_int_eq(network_deauthorize(&network, test_id(5)), GRPC_OK);
    ck_assert_int_eq(network_connect(&network, test_id(20), "", test_key(20)), GRPC_OK);
    ck_assert_str_eq(state_peer(network.state, test_id(20))->pb->peer_ip, "10.51.0.5");
    network_add_peer(&network, 21, "");
    ck_assert_str_eq(state_peer(network.state, test_id(21))->pb->peer_ip, "10.51.0.9");
    network_fini(&network);
}
END_TEST

/* All 65533 of the default network, without scanning all of them for each. */
START_TEST(a_whole_16)
{
    struct network network;
    char text[IP_ADDR_TEXT];
    struct ip_addr addr;
    struct ip_addr addr6;
    network_init(&network);
    for (unsigned n = 2; n < 65535; n++) {
        ck_assert_int_eq(ipam_peer_address(network.state, &addr, &addr6), 0);
        ip_addr_format(&addr, text);
        struct record_op op = {RECORD_HSET, RECORD_KEY_PEERIPS, text, (const uint8_t *)"id", 2};
        ck_assert_int_eq(state_apply(network.state, &op), 0);
    }
    ck_assert_str_eq(text, "10.51.255.254");
    ck_assert_str_eq(ip_addr_format(&addr6, text), "fd01:2:3:ffff::fffe");
    ck_assert_int_eq(ipam_peer_address(network.state, &addr, &addr6), -ENOSPC);
    network_fini(&network);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("ipam");
    tcase_set_timeout(tc, 20);
    tcase_add_test(tc, nodes_skip_what_is_taken);
    tcase_add_loop_test(tc, node_networks_run_out, 0, (int)ARRAY_LEN(ranges));
    tcase_add_test(tc, peers_use_all_and_reuse);
    tcase_add_test(tc, a_whole_16);
    return unit_run(tc);
}
