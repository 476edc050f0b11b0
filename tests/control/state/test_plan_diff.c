#include "control/state/plan_diff.h"

#include "tests/control/state/plan_text.h"

#include <string.h>

static void put_seen(struct network *network, unsigned n)
{
    struct change change;
    struct change_seen seen = {test_id(n), network->now_ns + NS_PER_SEC, 60};
    enum grpc_code code = change_peers_seen(&change, network->state, &seen, 1, &network->err);
    ck_assert_int_eq(network_apply(network, &change, code), GRPC_OK);
}

START_TEST(diff_steps)
{
    struct network network;
    struct plan plans[2];
    struct plan_delta delta;
    static const char *const expected[] = {
        "+addr 10.11.0.1/16\n+addr fd01:2:3:1::1/64\n"
        "+route 10.51.0.0/16\n+route fd01:2:3:ffff::/64\n",
        "wg 2 10.51.0.2/32 fd01:2:3:ffff::2/128\n",
        "wg 3 10.51.0.3/32 fd01:2:3:ffff::3/128\n",
        "",
        "",
        "wg 4 192.0.2.4:10100 10.12.0.0/16 fd01:2:3:2::/64\n"
        "+route 10.12.0.0/16\n+route fd01:2:3:2::/64\n",
        "wg 4 update 10.99.0.0/16\n+route 10.99.0.0/16\n",
        "wg 4 update -10.99.0.0/16\n-route 10.99.0.0/16\n",
        "",
        "wg 2 remove\n",
    };
    network_init(&network);
    plan_init(&plans[0]);
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        switch (i) {
        case 0:
            ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
            break;
        case 1:
            network_add_peer(&network, 2, "p");
            break;
        case 2:
            network_add_peer(&network, 3, "");
            break;
        case 3:
            ck_assert_int_eq(network_connect(&network, test_id(3), "q", test_key(3)), GRPC_OK);
            break;
        case 4: /* last_seen alone */
            put_seen(&network, 3);
            ck_assert_uint_eq(network.ops, 1);
            break;
        case 5:
            ck_assert_int_eq(network_put_node(&network, 4, "other"), GRPC_OK);
            break;
        case 6:
            ck_assert_int_eq(network_create_route(&network, 4, "10.99.0.0/16"), GRPC_OK);
            break;
        case 7:
            ck_assert_int_eq(network_delete_route(&network, "10.99.0.0/16"), GRPC_OK);
            break;
        case 8:
            ck_assert_int_eq(network_create_route(&network, 1, "10.98.0.0/16"), GRPC_OK);
            break;
        case 9:
            ck_assert_int_eq(network_deauthorize(&network, test_id(2)), GRPC_OK);
            break;
        }
        build(&network, 1, &plans[1]);
        ck_assert_int_eq(plan_diff(&plans[0], &plans[1], &delta), 0);
        ck_assert_str_eq(delta_text(&delta), expected[i]);
        plan_delta_fini(&delta);
        plan_fini(&plans[0]);
        plans[0] = plans[1];
    }
    plan_fini(&plans[0]);
    network_fini(&network);
}
END_TEST

/* A route that moves from one node to another is added there and removed nowhere, even when the
 * first node is removed. */
START_TEST(moved_prefix)
{
    struct network network;
    struct plan from;
    struct plan to;
    struct plan_delta delta;
    network_init_empty(&network);
    ck_assert_int_eq(network_bootstrap(&network, "10.10.0.0/16", "10.51.0.0/16", "", ""), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 1, "a"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 2, "b"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 3, "c"), GRPC_OK);
    ck_assert_int_eq(network_create_route(&network, 2, "10.99.0.0/16"), GRPC_OK);
    build(&network, 1, &from);
    ck_assert_int_eq(network_delete_route(&network, "10.99.0.0/16"), GRPC_OK);
    ck_assert_int_eq(network_create_route(&network, 3, "10.99.0.0/16"), GRPC_OK);
    build(&network, 1, &to);
    ck_assert_int_eq(plan_diff(&from, &to, &delta), 0);
    ck_assert_str_eq(delta_text(&delta), "wg 3 update 10.99.0.0/16\n");
    plan_delta_fini(&delta);
    plan_fini(&to);
    char key[128];
    snprintf(key, sizeof key, "%s%s", RECORD_KEY_NODES, test_id(2));
    struct record_op op = {.kind = RECORD_DEL, .key = key};
    ck_assert_int_eq(state_apply(network.state, &op), 0);
    build(&network, 1, &to);
    ck_assert_int_eq(plan_diff(&from, &to, &delta), 0);
    ck_assert_str_eq(delta_text(&delta), "wg 3 update 10.99.0.0/16\nwg 2 remove\n"
                                         "-route 10.12.0.0/16\n");
    plan_delta_fini(&delta);
    plan_fini(&from);
    plan_fini(&to);
    network_fini(&network);
}
END_TEST

/* A preshared key that comes, changes or goes is a change of its own. */
START_TEST(preshared_key_changes)
{
    static const bool no_psk[] = {true, false, true};
    struct network network;
    struct plan plans[2];
    struct plan_delta delta;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
    network_add_peer(&network, 2, "p");
    build(&network, 1, &plans[0]);
    for (size_t i = 0; i < ARRAY_LEN(no_psk); i++) {
        network.no_psk = no_psk[i];
        ck_assert_int_eq(network_connect(&network, test_id(2), "p", test_key(2)), GRPC_OK);
        build(&network, 1, &plans[1]);
        ck_assert_int_eq(plan_diff(&plans[0], &plans[1], &delta), 0);
        ck_assert_uint_eq(delta.wg.peer_count, 1);
        ck_assert(delta.wg.peers[0].update_only && delta.wg.peers[0].has_preshared_key);
        ck_assert(bytes_is_zero_ct(delta.wg.peers[0].preshared_key, 32) == no_psk[i]);
        plan_delta_fini(&delta);
        plan_fini(&plans[0]);
        plans[0] = plans[1];
    }
    plan_fini(&plans[0]);
    network_fini(&network);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("plan_diff");
    tcase_add_test(tc, diff_steps);
    tcase_add_test(tc, moved_prefix);
    tcase_add_test(tc, preshared_key_changes);
    return unit_run(tc);
}
