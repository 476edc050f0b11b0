#include "control/state/plan_node.h"

#include "control/state/peer_config.h"
#include "control/state/plan_peer.h"
#include "tests/control/state/plan_text.h"

#include <errno.h>
#include <string.h>

START_TEST(one_node)
{
    struct network network;
    struct plan plan;
    network_init(&network);
    ck_assert_int_eq(plan_of_node(network.state, test_id(1), NULL, NULL, &plan), -ENOENT);
    plan_fini(&plan);
    ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
    network_add_peer(&network, 2, "client");
    network_add_peer(&network, 3, "");
    ck_assert_int_eq(network_create_route(&network, 1, "192.168.7.0/24"), GRPC_OK);
    build(&network, 1, &plan);
    ck_assert_str_eq(plan_text(&plan), "addr 10.11.0.1/16\n"
                                       "addr fd01:2:3:1::1/64\n"
                                       "wg 2 10.51.0.2/32 fd01:2:3:ffff::2/128\n"
                                       "wg 3 10.51.0.3/32 fd01:2:3:ffff::3/128\n"
                                       "route 10.51.0.0/16\n"
                                       "route fd01:2:3:ffff::/64\n"
                                       "overlay 10.11.0.0/16\n"
                                       "overlay 10.51.0.0/16\n"
                                       "overlay fd01:2:3:1::/64\n"
                                       "overlay fd01:2:3:ffff::/64\n"
                                       "peers 10.51.0.0/16\n"
                                       "peers fd01:2:3:ffff::/64\n"
                                       "own 192.168.7.0/24\n"
                                       "name client 10.51.0.2\n"
                                       "name router 10.11.0.1\n");
    plan_fini(&plan);
    network_fini(&network);
}
END_TEST

/* The firewall of the node that serves an inbound route lets its hosts in, and that of no other. */
START_TEST(inbound_routes)
{
    struct network network;
    struct plan plan;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "a"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 2, "b"), GRPC_OK);
    ck_assert_int_eq(network_create_route(&network, 1, "192.168.6.0/24"), GRPC_OK);
    network.inbound = true;
    ck_assert_int_eq(network_create_route(&network, 1, "192.168.7.0/24"), GRPC_OK);
    build(&network, 1, &plan);
    ck_assert_ptr_nonnull(strstr(plan_text(&plan), "own 192.168.6.0/24\nown 192.168.7.0/24\n"
                                                   "inbound 192.168.7.0/24\n"));
    ck_assert_uint_eq(plan.inbound_count, 1);
    plan_fini(&plan);
    build(&network, 2, &plan);
    ck_assert_uint_eq(plan.inbound_count, 0);
    plan_fini(&plan);
    network_fini(&network);
}
END_TEST

/* The name of a peer without IPv6 has no IPv6 address until its host has IPv6 again. */
START_TEST(a_peer_without_ipv6)
{
    struct network network;
    struct plan plan;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
    network_add_peer(&network, 2, "client");
    for (int off = 1; off >= 0; off--) {
        network.no_ipv6 = off != 0;
        ck_assert_int_eq(network_connect(&network, test_id(2), "client", test_key(2)), GRPC_OK);
        ck_assert_uint_gt(network.ops, 0);
        build(&network, 1, &plan);
        ck_assert_str_eq(plan.names[0].name, "client");
        ck_assert_uint_eq(plan.names[0].addr6.family, off ? 0 : 6);
        plan_fini(&plan);
    }
    network_fini(&network);
}
END_TEST

START_TEST(three_nodes)
{
    struct network network;
    struct plan plan;
    network_init_empty(&network);
    ck_assert_int_eq(network_bootstrap(&network, "10.10.0.0/16", "10.51.0.0/16", "", ""), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 1, "a"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 2, "b"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 3, "c"), GRPC_OK);
    network_add_peer(&network, 4, "p");
    ck_assert_int_eq(network_create_route(&network, 2, "10.99.0.0/16"), GRPC_OK);
    ck_assert_int_eq(network_create_route(&network, 2, "0.0.0.0/0"), GRPC_OK);
    /* the oldest node relays: the others send it traffic for the peer network */
    build(&network, 3, &plan);
    ck_assert_str_eq(plan_text(&plan),
                     "addr 10.13.0.1/16\n"
                     "wg 1 192.0.2.1:10100 10.11.0.0/16 10.51.0.0/16\n"
                     "wg 2 192.0.2.2:10100 10.12.0.0/16 10.99.0.0/16\n"
                     "wg 4 10.51.0.2/32\n"
                     "route 10.11.0.0/16\nroute 10.12.0.0/16\nroute 10.51.0.0/16\n"
                     "route 10.99.0.0/16\n"
                     "overlay 10.11.0.0/16\noverlay 10.12.0.0/16\noverlay 10.13.0.0/16\n"
                     "overlay 10.51.0.0/16\n"
                     "peers 10.51.0.0/16\n"
                     "name a 10.11.0.1\nname b 10.12.0.1\nname c 10.13.0.1\nname p 10.51.0.2\n");
    plan_fini(&plan);
    build(&network, 2, &plan);
    ck_assert_uint_eq(plan.own_route_count, 2); /* with its default route */
    ck_assert_uint_eq(plan.route_count,
                      3); /* its own network and route do not lead into the tunnel */
    plan_fini(&plan);
    network_fini(&network);
}
END_TEST

static const struct wg_peer_config *with_key(const struct plan *plan, unsigned n)
{
    for (size_t i = 0; i < plan->peer_count; i++)
        if (load_be32(plan->peers[i].public_key + 28) == n)
            return &plan->peers[i];
    ck_abort_msg("no such peer");
}

/* The preshared key of a pair by the plan of one end; zeros: none. */
static void psk_of(const struct network *network, unsigned self, unsigned other, uint8_t out[32])
{
    struct plan plan;
    struct err err = {0};
    memset(out, 0, 32);
    if (state_node(network->state, test_id(self)) != NULL) {
        ck_assert_int_eq(
            plan_of_node(network->state, test_id(self), "the cluster key", NULL, &plan), 0);
    } else {
        const char *id = test_id(self);
        struct plan_self peer = {.id = id,
                                 .public_key = state_peer(network->state, id)->public_key};
        Pb__ConnectResponse *response = peer_config_build(network->state, id, NULL);
        ck_assert_int_eq(plan_of_peer(response, &peer, &plan, &err), 0);
        pb__connect_response__free_unpacked(response, NULL);
    }
    const struct wg_peer_config *peer = with_key(&plan, other);
    if (peer->has_preshared_key)
        memcpy(out, peer->preshared_key, 32);
    ck_assert(peer->has_preshared_key != bytes_is_zero_ct(peer->preshared_key, 32));
    plan_fini(&plan);
}

static void check_pair(const struct network *network, unsigned a, unsigned b, uint8_t out[32])
{
    uint8_t other[32];
    psk_of(network, a, b, out);
    psk_of(network, b, a, other);
    ck_assert_mem_eq(out, other, 32);
}

/* Both ends derive the same key, every pair another one, and a rekey renews it. */
START_TEST(preshared_keys)
{
    struct network network;
    uint8_t psks[4][32];
    uint8_t renewed[32];
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "a"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 2, "b"), GRPC_OK);
    network_add_peer(&network, 3, "p");
    network_add_peer(&network, 4, "q");
    check_pair(&network, 1, 3, psks[0]);
    check_pair(&network, 2, 3, psks[1]);
    check_pair(&network, 1, 4, psks[2]);
    check_pair(&network, 1, 2, psks[3]);
    for (int i = 0; i < 4; i++) {
        ck_assert(!bytes_is_zero_ct(psks[i], 32));
        for (int j = 0; j < i; j++)
            ck_assert_mem_ne(psks[i], psks[j], 32);
    }
    ck_assert_int_eq(network_rekey(&network, test_id(3)), GRPC_OK);
    check_pair(&network, 1, 3, renewed);
    ck_assert_mem_ne(renewed, psks[0], 32);
    check_pair(&network, 1, 4, renewed);
    ck_assert_mem_eq(renewed, psks[2], 32);
    network_fini(&network);
}
END_TEST

/* Older programs go on without, on either side, and both ends follow an upgrade. */
START_TEST(preshared_keys_of_older_programs)
{
    struct network network;
    uint8_t psk[32];
    network_init(&network);
    network.no_psk = true;
    ck_assert_int_eq(network_put_node(&network, 1, "older"), GRPC_OK);
    network_add_peer(&network, 3, "older-peer");
    check_pair(&network, 1, 3, psk);
    ck_assert(bytes_is_zero_ct(psk, 32));
    network.no_psk = false;
    ck_assert_int_eq(network_put_node(&network, 2, "newer"), GRPC_OK);
    network_add_peer(&network, 4, "newer-peer");
    check_pair(&network, 1, 2, psk);
    ck_assert(bytes_is_zero_ct(psk, 32));
    check_pair(&network, 1, 4, psk);
    ck_assert(bytes_is_zero_ct(psk, 32));
    check_pair(&network, 2, 3, psk);
    ck_assert(bytes_is_zero_ct(psk, 32));
    check_pair(&network, 2, 4, psk);
    ck_assert(!bytes_is_zero_ct(psk, 32));
    ck_assert_int_eq(network_connect(&network, test_id(3), "older-peer", test_key(3)), GRPC_OK);
    check_pair(&network, 2, 3, psk);
    ck_assert(!bytes_is_zero_ct(psk, 32));
    network_fini(&network);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("plan_node");
    tcase_add_test(tc, one_node);
    tcase_add_test(tc, inbound_routes);
    tcase_add_test(tc, a_peer_without_ipv6);
    tcase_add_test(tc, three_nodes);
    tcase_add_test(tc, preshared_keys);
    tcase_add_test(tc, preshared_keys_of_older_programs);
    return unit_run(tc);
}
