#include "control/api/walk.h"

#include "tests/control/network_fixture.h"

static void fill(struct network *network)
{
    static const char *const names[] = {"", "a", "b", "c", "d", "e"};
    network_init(network);
    for (unsigned n = 1; n <= 5; n++)
        ck_assert_int_eq(network_put_node(network, n, names[n]), GRPC_OK);
    for (unsigned n = 10; n < 40; n++)
        network_add_peer(network, n, "");
    ck_assert_int_eq(network_create_route(network, 1, "192.168.1.0/24"), GRPC_OK);
    ck_assert_int_eq(network_create_route(network, 1, "192.168.0.0/16"), GRPC_OK);
    ck_assert_int_eq(network_create_route(network, 2, "fd99::/64"), GRPC_OK);
}

/* A walk that is written down after each record takes all of them, in order. */
START_TEST(every_record_once)
{
    static const struct {
        enum walk_part part;
        size_t count;
    } parts[] = {{WALK_NODES, 5}, {WALK_ROUTES, 3}, {WALK_AUTHORIZATIONS, 30}, {WALK_PEERS, 30}};
    struct network network;
    char token[WALK_TOKEN];
    fill(&network);
    for (size_t p = 0; p < ARRAY_LEN(parts); p++) {
        struct walk walk;
        walk_begin(&walk, parts[p].part);
        ck_assert_uint_eq(walk_count(&walk, network.state), parts[p].count);
        for (size_t i = 0; i < parts[p].count; i++) {
            ck_assert_uint_eq(walk_place(&walk, network.state), i);
            ck_assert_ptr_nonnull(walk_record(&walk, network.state, i));
            walk_take(&walk, network.state, i);
            walk_token(&walk, token);
            ck_assert_msg(walk_parse(&walk, token), "%s", token);
            ck_assert_int_eq(walk.part, parts[p].part);
        }
        ck_assert_uint_eq(walk_place(&walk, network.state), parts[p].count);
    }
    network_fini(&network);
}
END_TEST

/* Records that come and go do not move the walk. */
START_TEST(changes_between_steps)
{
    struct network network;
    struct walk walk;
    char next[64];
    fill(&network);
    walk_begin(&walk, WALK_PEERS);
    walk_take(&walk, network.state, 10);
    snprintf(next, sizeof next, "%s", state_peer_at(network.state, 11)->id);
    for (size_t i = 0; i < 11; i++) { /* all that were taken */
        char id[64];
        snprintf(id, sizeof id, "%s", state_peer_at(network.state, 0)->id);
        ck_assert_int_eq(network_deauthorize(&network, id), GRPC_OK);
    }
    ck_assert_uint_eq(walk_place(&walk, network.state), 0);
    ck_assert_str_eq(state_peer_at(network.state, 0)->id, next);
    network_fini(&network);
}
END_TEST

START_TEST(tokens)
{
    static const struct {
        const char *token;
        bool good;
    } cases[] = {
        {"n", true},     {"p", true},      {"p:x", true},          {"n:12:x", true},
        {"n:12", false}, {"n:x:y", false}, {"r:10.0.0.0/8", true}, {"r:10.0.0.0/99", false},
        {"", false},     {"x", false},     {"px", false},          {"n:", false},
    };
    struct walk walk;
    char text[WALK_TOKEN];
    char long_token[2 * WALK_TOKEN];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ck_assert_msg(walk_parse(&walk, cases[i].token) == cases[i].good, "%s", cases[i].token);
        if (cases[i].good)
            ck_assert_str_eq(walk_token(&walk, text), cases[i].token);
    }
    memset(long_token, 'x', sizeof long_token - 1);
    long_token[0] = 'p';
    long_token[1] = ':';
    long_token[sizeof long_token - 1] = '\0';
    ck_assert(!walk_parse(&walk, long_token));
    walk_begin(&walk, WALK_END);
    ck_assert_str_eq(walk_token(&walk, text), "");
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("walk");
    tcase_add_test(tc, every_record_once);
    tcase_add_test(tc, changes_between_steps);
    tcase_add_test(tc, tokens);
    return unit_run(tc);
}
