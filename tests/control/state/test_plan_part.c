#include "control/state/plan_part.h"

#include "tests/control/state/plan_text.h"

#include <string.h>

/* Follows a change as a node does: the part replaces what it concerns. `delta` gets the change. */
static void follow(const struct network *network, struct plan *whole, struct plan_touched *touched,
                   struct plan_delta *delta)
{
    struct plan part;
    struct plan former;
    ck_assert_int_eq(plan_of_node(network->state, test_id(1), NULL, touched, &part), 0);
    ck_assert_int_eq(plan_take(whole, &part, touched, &former), 0);
    ck_assert_int_eq(plan_diff(&former, &part, delta), 0);
    ck_assert_int_eq(plan_merge(&part, whole), 0);
    *whole = part;
    plan_fini(&former);
    *touched = (struct plan_touched){.count = 0};
}

/* After any change, the plan that followed in parts equals a whole plan, and both ways find the
 * same difference. */
START_TEST(parts_are_the_whole)
{
    enum { STEPS = 400, PEERS = 40 };
    struct network network;
    struct plan whole;
    struct plan_touched touched = {.count = 0};
    unsigned seed = (unsigned)_i + 1;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 2, "other"), GRPC_OK);
    build(&network, 1, &whole);
    for (unsigned step = 0; step < STEPS; step++) {
        struct plan before;
        struct plan after;
        struct plan_delta by_parts;
        struct plan_delta anew;
        char name[16];
        unsigned peer = 10 + (unsigned)rand_r(&seed) % PEERS;
        unsigned key = rand_r(&seed) % 4 == 0 ? 100 + peer : peer;
        build(&network, 1, &before);
        for (unsigned twice = 0; twice < 1 + peer % 2; twice++)
            plan_touch_peer(&touched, network.state, test_id(peer));
        snprintf(name, sizeof name, "p%d", rand_r(&seed) % 12);
        switch (rand_r(&seed) % 4) {
        case 0:
            (void)network_deauthorize(&network, test_id(peer));
            break;
        case 1:
            (void)network_create_route(&network, 1 + peer % 2, "192.168.7.0/24");
            break;
        case 2:
            (void)network_delete_route(&network, "192.168.7.0/24");
            break;
        default:
            (void)network_authorize(&network, test_id(peer));
            (void)network_connect(&network, test_id(peer), name, test_key(key));
            break;
        }
        build(&network, 1, &after);
        follow(&network, &whole, &touched, &by_parts);
        ck_assert_int_eq(plan_diff(&before, &after, &anew), 0);
        ck_assert_str_eq(plan_text(&whole), plan_text(&after));
        ck_assert_str_eq(delta_text(&by_parts), delta_text(&anew));
        plan_delta_fini(&by_parts);
        plan_delta_fini(&anew);
        plan_fini(&before);
        plan_fini(&after);
    }
    plan_fini(&whole);
    network_fini(&network);
}
END_TEST

/* A damaged store: a second peer with the key and the name of another. */
static void put_twin(struct network *network, unsigned n, unsigned of, const char *name)
{
    char key[128];
    uint8_t value[512];
    Pb__KeyPair keypair = PB__KEY_PAIR__INIT;
    Pb__Peer peer = PB__PEER__INIT;
    keypair.public_key = (char *)(uintptr_t)test_key(of);
    peer.id = (char *)(uintptr_t)test_id(n);
    peer.name = (char *)(uintptr_t)name;
    peer.keypair = &keypair;
    peer.peer_ip = "10.51.9.9";
    snprintf(key, sizeof key, "%s%s", RECORD_KEY_PEERS, peer.id);
    struct record_op op = {
        .kind = RECORD_SET, .key = key, .value = value, .len = pb__peer__pack(&peer, value)};
    ck_assert_int_eq(state_apply(network->state, &op), 0);
}

/* When the peer is removed, its key or name passes to the other record. */
START_TEST(a_twin_takes_over)
{
    struct network network;
    struct plan whole;
    struct plan after;
    struct plan_touched touched = {.count = 0};
    struct plan_delta delta;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
    network_add_peer(&network, 20, "first");
    put_twin(&network, 30, _i == 0 ? 20 : 31, "first");
    build(&network, 1, &whole);
    plan_touch_peer(&touched, network.state, test_id(20));
    ck_assert_int_eq(network_deauthorize(&network, test_id(20)), GRPC_OK);
    build(&network, 1, &after);
    follow(&network, &whole, &touched, &delta);
    ck_assert_str_eq(plan_text(&whole), plan_text(&after));
    plan_delta_fini(&delta);
    plan_fini(&whole);
    plan_fini(&after);
    network_fini(&network);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("plan_part");
    tcase_add_loop_test(tc, parts_are_the_whole, 0, 4);
    tcase_add_loop_test(tc, a_twin_takes_over, 0, 2);
    return unit_run(tc);
}
