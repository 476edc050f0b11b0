#include "control/state/peer_config.h"

#include "control/state/plan_peer.h"
#include "tests/control/state/plan_text.h"

#include <errno.h>
#include <string.h>

START_TEST(peer_view_without_dns)
{
    struct network network;
    struct plan plan;
    struct err err = {0};
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "a"), GRPC_OK);
    network_add_peer(&network, 4, "p");
    Pb__ConnectResponse *response = peer_config_build(network.state, test_id(4), NULL);
    ck_assert_ptr_nonnull(response);
    ck_assert_uint_eq(response->n_dns, 0);
    ck_assert_str_eq(response->dns_domain, "");
    ck_assert_int_eq(plan_of_peer(response, &(struct plan_self){0}, &plan, &err), 0);
    ck_assert_uint_eq(plan.dns_count, 0);
    plan_fini(&plan);
    pb__connect_response__free_unpacked(response, NULL);
    network_fini(&network);
}
END_TEST

START_TEST(peer_view)
{
    struct network network;
    struct plan plan;
    struct err err = {0};
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "a"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 2, "b"), GRPC_OK);
    network_add_peer(&network, 4, "p");
    network_add_peer(&network, 5, "q");
    ck_assert_int_eq(network_create_route(&network, 2, "10.99.0.0/16"), GRPC_OK);
    ck_assert_int_eq(network_create_route(&network, 2, "0.0.0.0/0"), GRPC_OK);
    ck_assert_ptr_null(peer_config_build(network.state, test_id(9), "heimdall"));
    Pb__ConnectResponse *response = peer_config_build(network.state, test_id(4), "heimdall");
    ck_assert_ptr_nonnull(response);
    ck_assert_str_eq(response->address, "10.51.0.2/16");
    ck_assert_str_eq(response->address6, "fd01:2:3:ffff::2/64");
    ck_assert_str_eq(response->dns_domain, "heimdall");
    ck_assert_str_eq(response->keypair->private_key, "");
    ck_assert_str_eq(response->keypair->public_key, test_key(4));
    ck_assert_uint_eq(response->n_peers, 2);
    ck_assert_str_eq(response->peers[0]->id, test_id(1));
    ck_assert_str_eq(response->peers[0]->name, "a");
    ck_assert_str_eq(response->peers[0]->peer_ip, "10.11.0.1");
    ck_assert_uint_eq(response->n_node_addresses, 2);
    ck_assert_str_eq(response->node_addresses[1], "tcp://192.0.2.2:9000");
    /* it holds nothing of the other peer */
    uint8_t packed[4096];
    size_t len = pb__connect_response__pack(response, packed);
    ck_assert_ptr_null(memmem(packed, len, test_id(5), 36));
    ck_assert_ptr_null(memmem(packed, len, test_key(5), BASE64_KEY_LEN));

    ck_assert_int_eq(plan_of_peer(response, &(struct plan_self){0}, &plan, &err), 0);
    ck_assert_str_eq(
        plan_text(&plan),
        "addr 10.51.0.2/16\naddr fd01:2:3:ffff::2/64\n"
        "wg 1 192.0.2.1:10100 keepalive 25 10.11.0.0/16 10.51.0.0/16 fd01:2:3:1::/64 "
        "fd01:2:3:ffff::/64\n"
        "wg 2 192.0.2.2:10100 keepalive 25 10.12.0.0/16 10.99.0.0/16 fd01:2:3:2::/64\n"
        "route 10.11.0.0/16\nroute 10.12.0.0/16\nroute 10.51.0.0/16\nroute 10.99.0.0/16\n"
        "route fd01:2:3:1::/64\nroute fd01:2:3:2::/64\nroute fd01:2:3:ffff::/64\n"
        "dns 10.11.0.1\ndns 10.12.0.1\n");
    plan_fini(&plan);
    ck_assert_int_eq(
        plan_of_peer(response, &(struct plan_self){.exit_node = test_id(2)}, &plan, &err), 0);
    ck_assert_str_eq(strstr(plan_text(&plan), "route 0"),
                     strstr(plan_text(&plan), "route 0.0.0.0/0\n"));
    ck_assert_ptr_nonnull(strstr(plan_text(&plan), "keepalive 25 0.0.0.0/0 10.12.0.0/16"));
    plan_fini(&plan);
    const struct {
        const char *exit_node;
        enum plan_exit exit;
    } wishes[] = {{NULL, PLAN_EXIT_OFF},
                  {"nobody", PLAN_EXIT_UNKNOWN},
                  {test_id(1), PLAN_EXIT_UNPUBLISHED},
                  {test_id(2), PLAN_EXIT_ON},
                  {"A", PLAN_EXIT_UNPUBLISHED},
                  {"b", PLAN_EXIT_ON}};
    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++) {
        ck_assert_int_eq(plan_of_peer(response,
                                      &(struct plan_self){.exit_node = wishes[i].exit_node}, &plan,
                                      &err),
                         0);
        ck_assert_int_eq(plan.exit, wishes[i].exit);
        bool has_default = strstr(plan_text(&plan), "0.0.0.0/0") != NULL;
        ck_assert(has_default == (wishes[i].exit == PLAN_EXIT_ON));
        plan_fini(&plan);
    }
    pb__connect_response__free_unpacked(response, NULL);
    network_fini(&network);
}
END_TEST

START_TEST(bad_answers)
{
    struct plan plan;
    struct err err = {0};
    char *allowed[] = {"10.11.0.0/16"};
    char *dns[] = {"10.11.0.1"};
    Pb__KeyPair keypair;
    Pb__Peer node;
    Pb__Peer *nodes[] = {&node, &node};
    Pb__ConnectResponse response;
    pb__key_pair__init(&keypair);
    pb__peer__init(&node);
    pb__connect_response__init(&response);
    for (int i = 0; i < 10; i++) {
        keypair.public_key = (char *)(uintptr_t)test_key(1);
        node.keypair = i == 1 ? NULL : &keypair;
        node.endpoint = i == 2 ? "router:10100" : "192.0.2.1:10100";
        node.allowed_ips = allowed;
        node.n_allowed_ips = 1;
        response.peers = nodes;
        response.n_peers = i == 3 ? 2 : 1;
        response.address = i == 4 ? "" : i == 5 ? "fd00::1/64" : "10.51.0.2/16";
        response.address6 = i == 6 ? "10.0.0.1/8" : "";
        allowed[0] = i == 7 ? "10.11.0.1/16" : i == 8 ? "x" : "10.11.0.0/16";
        dns[0] = i == 9 ? "router" : "10.11.0.1";
        response.dns = dns;
        response.n_dns = 1;
        int rc = plan_of_peer(&response, &(struct plan_self){0}, &plan, &err);
        ck_assert_msg(rc == (i == 0 ? 0 : -EINVAL), "%d: %d", i, rc);
        plan_fini(&plan);
    }
}
END_TEST

/* The first of two peers that ask for a prefix keeps it. */
START_TEST(duplicates)
{
    struct plan plan;
    struct err err = {0};
    char *first[] = {"10.11.0.0/16", "10.99.0.0/16"};
    char *second[] = {"10.99.0.0/16", "10.12.0.0/16", "10.12.0.0/16"};
    Pb__KeyPair keypairs[2];
    Pb__Peer nodes[2];
    Pb__Peer *list[] = {&nodes[0], &nodes[1]};
    Pb__ConnectResponse response;
    pb__connect_response__init(&response);
    for (unsigned i = 0; i < 2; i++) {
        pb__key_pair__init(&keypairs[i]);
        pb__peer__init(&nodes[i]);
        keypairs[i].public_key =
            (char *)(uintptr_t)test_key(9 - i); /* not in the order of the keys */
        nodes[i].keypair = &keypairs[i];
        nodes[i].allowed_ips = i == 0 ? first : second;
        nodes[i].n_allowed_ips = i == 0 ? 2 : 3;
    }
    response.address = "10.51.0.2/16";
    response.peers = list;
    response.n_peers = 2;
    ck_assert_int_eq(plan_of_peer(&response, &(struct plan_self){0}, &plan, &err), 0);
    ck_assert_str_eq(plan_text(&plan), "addr 10.51.0.2/16\n"
                                       "wg 8 keepalive 25 10.12.0.0/16\n"
                                       "wg 9 keepalive 25 10.11.0.0/16 10.99.0.0/16\n"
                                       "route 10.11.0.0/16\nroute 10.12.0.0/16\n"
                                       "route 10.99.0.0/16\n");
    plan_fini(&plan);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("peer_config");
    tcase_add_test(tc, peer_view);
    tcase_add_test(tc, peer_view_without_dns);
    tcase_add_test(tc, bad_answers);
    tcase_add_test(tc, duplicates);
    return unit_run(tc);
}
