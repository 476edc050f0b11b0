#include "control/state/change.h"

#include "tests/control/network_fixture.h"

#include <stdio.h>

/* A change that is made for a request of this name. */
static void make(struct network *network, const char *name, uint64_t made_ns)
{
    struct change change;
    change_init(&change);
    change.epoch = state_epoch(network->state);
    change.rev = state_rev(network->state);
    change_keep_request(&change, network->state, name, made_ns);
    ck_assert_int_eq(network_apply(network, &change, GRPC_OK), GRPC_OK);
}

static void make_many(struct network *network, unsigned from, unsigned count, uint64_t made_ns)
{
    char name[16];
    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%08x", from + i);
        make(network, name, made_ns);
    }
}

START_TEST(kept_with_the_change)
{
    struct network network;
    network_init(&network);
    ck_assert_ptr_null(state_request(network.state, "a"));
    make(&network, "a", 5);
    const struct state_request *request = state_request(network.state, "a");
    ck_assert_uint_eq(request->pb->made_ns, 5);
    ck_assert_uint_eq(request->pb->rev, state_rev(network.state));
    make(&network, "b", 6);
    make(&network, "a", 7); /* the same again: it is the newest now */
    ck_assert_uint_eq(state_request_count(network.state), 2);
    ck_assert_str_eq(state_request_at(network.state, 0)->name, "b");
    network_fini(&network);
}
END_TEST

/* The last 10,000 stay whatever their age, and more when they are younger than an hour. */
START_TEST(old_ones_are_forgotten)
{
    const uint64_t hour = 3600 * NS_PER_SEC;
    struct network network;
    network_init(&network);
    make_many(&network, 0, 10010, hour);
    ck_assert_uint_eq(state_request_count(network.state), 10010);
    make_many(&network, 20000, 10, 3 * hour); /* each removes up to 4 of those beyond */
    ck_assert_uint_eq(state_request_count(network.state), 10001);
    ck_assert_ptr_null(state_request(network.state, "00000000"));
    ck_assert_ptr_nonnull(state_request(network.state, "00002000"));
    network_fini(&network);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("change request");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, kept_with_the_change);
    tcase_add_test(tc, old_ones_are_forgotten);
    return unit_run(tc);
}
