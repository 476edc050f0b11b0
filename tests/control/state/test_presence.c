#include "control/state/presence.h"

#include "tests/control/network_fixture.h"
#include "wg/wg.h"

#define MINUTE (60 * NS_PER_SEC)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

/* Peers 2 to 9 of a network under virtual clocks. Each test sets what the tunnel and the streams
 * report of them. */
enum { FIRST = 2, END = 10 };

struct world {
    struct network network;
    struct presence *presence;
    uint64_t boot_ns;
    bool watches[END];
    uint64_t rx_bytes[END];
    uint64_t handshake_ns[END]; /* boot time */
    size_t changes;             /* of the last look */
    size_t all_changes;
    size_t removed;
};

static void world_init(struct world *world, uint64_t expiry_ns)
{
    *world = (struct world){.boot_ns = MINUTE};
    network_init(&world->network);
    for (unsigned n = FIRST; n < END; n++)
        network_add_peer(&world->network, n, "");
    ck_assert_int_eq(presence_create(&world->presence, expiry_ns, network_seed), 0);
}

static void world_fini(struct world *world)
{
    presence_destroy(world->presence);
    network_fini(&world->network);
}

static bool write_some(struct world *world)
{
    struct network *network = &world->network;
    struct change change;
    struct change_seen seen[64];
    size_t count = presence_collect(world->presence, network->state, seen, ARRAY_LEN(seen));
    enum grpc_code code = change_peers_seen(&change, network->state, seen, count, &network->err);
    ck_assert_int_eq(network_apply(network, &change, code), GRPC_OK);
    return network->ops > 0;
}

/* Does what the node does at every look. */
static void look(struct world *world)
{
    struct network *network = &world->network;
    const char *id;
    presence_begin(world->presence, world->boot_ns, network->now_ns);
    for (unsigned n = FIRST; n < END; n++) {
        const struct state_peer *peer = state_peer(network->state, test_id(n));
        struct wg_peer_info info = {.rx_bytes = world->rx_bytes[n],
                                    .last_handshake_boot_ns = world->handshake_ns[n]};
        if (peer == NULL)
            continue;
        memcpy(info.public_key, peer->public_key, sizeof info.public_key);
        if (world->watches[n])
            presence_see(world->presence, peer->public_key);
        presence_see_tunnel(world->presence, &info);
    }
    presence_end(world->presence, network->state);
    world->changes = world->removed = 0;
    while (write_some(world))
        world->changes++;
    world->all_changes += world->changes;
    while ((id = presence_expired(world->presence, network->state)) != NULL) {
        ck_assert_int_eq(network_deauthorize(network, id), GRPC_OK);
        world->removed++;
    }
}

static void pass(struct world *world, uint64_t ns)
{
    world->boot_ns += ns;
    world->network.now_ns += ns;
}

/* Looks at the interval that it wants, for so long. Returns the number of removed peers. */
static size_t live(struct world *world, uint64_t ns)
{
    size_t removed = 0;
    uint64_t interval = presence_interval_ns(world->presence);
    for (uint64_t end = world->boot_ns + ns; world->boot_ns < end;) {
        pass(world, interval);
        look(world);
        removed += world->removed;
    }
    return removed;
}

static uint64_t stored_s(const struct world *world, unsigned n)
{
    return (uint64_t)state_peer(world->network.state, test_id(n))->pb->last_seen->seconds;
}

static uint64_t now_s(const struct world *world)
{
    return world->network.now_ns / NS_PER_SEC;
}

START_TEST(off_by_default)
{
    struct world world;
    world_init(&world, 0);
    ck_assert_uint_eq(presence_interval_ns(world.presence), MINUTE);
    ck_assert_uint_eq(live(&world, 10 * DAY), 0);
    ck_assert_uint_eq(state_peer_count(world.network.state), END - FIRST);
    world_fini(&world);
}
END_TEST

static uint64_t absent_s(const struct world *world, unsigned n)
{
    const struct state_peer *peer = state_peer(world->network.state, test_id(n));
    return presence_absent_ns(world->presence, peer) / NS_PER_SEC;
}

/* A stream, a handshake and bytes are signs of life. Records follow once a day, or when a peer that
 * was seen has been away for an hour. */
START_TEST(seen)
{
    struct world world;
    world_init(&world, 0);
    uint64_t before_s = now_s(&world);
    live(&world, 5 * MINUTE);
    ck_assert_uint_eq(absent_s(&world, 2), 4 * 60);
    world.watches[2] = true;
    world.handshake_ns[3] = world.boot_ns - MINUTE;
    world.rx_bytes[4] = 148;
    live(&world, 5 * MINUTE);
    ck_assert_uint_eq(absent_s(&world, 2), 0);
    ck_assert_uint_eq(absent_s(&world, 3), 6 * 60);
    ck_assert_uint_eq(absent_s(&world, 4), 4 * 60);
    ck_assert_uint_eq(absent_s(&world, 5), 9 * 60);
    ck_assert_uint_eq(world.all_changes, 0);
    live(&world, HOUR);
    ck_assert_uint_eq(world.all_changes, 2);
    ck_assert_uint_eq(stored_s(&world, 2), before_s);
    ck_assert_uint_eq(stored_s(&world, 3), before_s + 4 * 60);
    ck_assert_uint_eq(stored_s(&world, 4), before_s + 6 * 60);
    live(&world, DAY - HOUR);
    ck_assert_uint_eq(world.all_changes, 3);
    ck_assert_uint_ge(stored_s(&world, 2), before_s + DAY / NS_PER_SEC);
    ck_assert_uint_eq(stored_s(&world, 5), before_s);
    world_fini(&world);
}
END_TEST

/* The log of changes stays short: peers that are always there cost one change of all a day. */
START_TEST(few_changes)
{
    struct world world;
    world_init(&world, _i == 0 ? 0 : _i == 1 ? HOUR : 30 * DAY);
    for (unsigned n = FIRST; n < END; n++)
        world.watches[n] = true;
    ck_assert_uint_eq(live(&world, 10 * DAY), 0);
    ck_assert_uint_ge(world.all_changes, 8);
    ck_assert_uint_le(world.all_changes, 10);
    world_fini(&world);
}
END_TEST

/* The tunnel counted those bytes before the first look, so they are no sign of life. */
START_TEST(bytes_of_before)
{
    struct world world;
    world_init(&world, 0);
    world.rx_bytes[2] = 1000;
    live(&world, 20 * MINUTE);
    ck_assert_uint_eq(absent_s(&world, 2), 19 * 60);
    world_fini(&world);
}
END_TEST

START_TEST(removed_after_expiry)
{
    struct world world;
    world_init(&world, DAY);
    world.watches[2] = true;
    ck_assert_uint_eq(live(&world, DAY), 0);
    ck_assert_uint_eq(live(&world, MINUTE), END - FIRST - 1);
    const struct state *state = world.network.state;
    struct ip_addr address = test_addr("10.51.0.3");
    ck_assert_uint_eq(state_peer_count(state), 1);
    ck_assert_uint_eq(state_authorization_count(state), 1);
    ck_assert_ptr_nonnull(state_peer(state, test_id(2)));
    ck_assert_ptr_null(state_address_owner(state, &address));
    world.watches[2] = false;
    ck_assert_uint_eq(live(&world, DAY - MINUTE), 0);
    ck_assert_uint_eq(live(&world, MINUTE), 1);
    world_fini(&world);
}
END_TEST

/* An authorized peer that has never connected does not expire. */
START_TEST(never_connected)
{
    struct world world;
    world_init(&world, DAY);
    ck_assert_int_eq(network_authorize(&world.network, test_id(20)), GRPC_OK);
    ck_assert_uint_eq(live(&world, 2 * DAY), END - FIRST);
    ck_assert_ptr_nonnull(state_authorization(world.network.state, test_id(20)));
    world_fini(&world);
}
END_TEST

/* A node that slept cannot have seen anybody: all have ten minutes to come back. */
START_TEST(node_slept)
{
    struct world world;
    world_init(&world, DAY);
    live(&world, HOUR);
    pass(&world, 3 * DAY);
    look(&world);
    ck_assert_uint_eq(world.removed, 0);
    ck_assert_uint_eq(live(&world, 8 * MINUTE), 0);
    world.watches[2] = true;
    ck_assert_uint_eq(live(&world, 3 * MINUTE), END - FIRST - 1);
    ck_assert_ptr_nonnull(state_peer(world.network.state, test_id(2)));
    world_fini(&world);
}
END_TEST

/* Starts the node again: on a host that has booted, or that runs on. */
static void restart(struct world *world, uint64_t expiry_ns, uint64_t boot_ns)
{
    presence_destroy(world->presence);
    ck_assert_int_eq(presence_create(&world->presence, expiry_ns, network_seed), 0);
    memset(world->handshake_ns, 0, sizeof world->handshake_ns);
    memset(world->rx_bytes, 0, sizeof world->rx_bytes);
    world->boot_ns = boot_ns;
}

/* Records carry absence over restarts, in steps of an eighth. The time without a node is none. */
START_TEST(absence_is_carried)
{
    struct world world;
    size_t removed = 0;
    unsigned hours = 0;
    world_init(&world, 8 * HOUR);
    world.watches[2] = true;
    for (; removed == 0 && hours < 100; hours += 3) {
        removed = live(&world, 3 * HOUR);
        pass(&world, 3 * DAY);
        restart(&world, 8 * HOUR, _i == 0 ? 5 * NS_PER_SEC : world.boot_ns);
    }
    ck_assert_uint_eq(removed, END - FIRST - 1);
    ck_assert_uint_ge(hours, 9);
    ck_assert_uint_le(hours, 12);
    world_fini(&world);
}
END_TEST

/* A peer that is back starts over, also for the next run. */
START_TEST(absence_ends)
{
    struct world world;
    world_init(&world, 8 * HOUR);
    live(&world, 7 * HOUR);
    ck_assert_uint_ge(state_peer(world.network.state, test_id(2))->pb->absent_s, 6 * 3600);
    restart(&world, 8 * HOUR, 5 * NS_PER_SEC);
    world.watches[2] = true;
    live(&world, MINUTE);
    world.watches[2] = false;
    ck_assert_uint_eq(state_peer(world.network.state, test_id(2))->pb->absent_s, 0);
    /* a connect that no look has seen */
    ck_assert_int_eq(network_connect(&world.network, test_id(3), "", test_key(3)), GRPC_OK);
    restart(&world, 8 * HOUR, 5 * NS_PER_SEC);
    ck_assert_uint_eq(live(&world, 7 * HOUR), END - FIRST - 2);
    ck_assert_ptr_nonnull(state_peer(world.network.state, test_id(2)));
    ck_assert_ptr_nonnull(state_peer(world.network.state, test_id(3)));
    world_fini(&world);
}
END_TEST

/* The wall clock jumps and comes back, or stays where it is: nobody was away for longer. */
START_TEST(clock_jumps)
{
    static const int64_t jumps_s[] = {3600, -3600, 1000000000, -500};
    struct world world;
    world_init(&world, 20 * NS_PER_SEC);
    for (unsigned n = FIRST; n < END; n++)
        world.watches[n] = true;
    live(&world, 30 * NS_PER_SEC);
    world.watches[2] = false;
    live(&world, 4 * NS_PER_SEC);
    world.network.now_ns += (uint64_t)(jumps_s[_i] * (int64_t)NS_PER_SEC);
    ck_assert_uint_eq(live(&world, 6 * NS_PER_SEC), 0);
    ck_assert_uint_eq(absent_s(&world, 2), 10);
    world.network.now_ns -= (uint64_t)(jumps_s[_i] * (int64_t)NS_PER_SEC);
    ck_assert_uint_eq(live(&world, 8 * NS_PER_SEC), 0);
    ck_assert_uint_eq(live(&world, 2 * NS_PER_SEC), 1);
    world_fini(&world);
}
END_TEST

/* The clock was wrong when the node started, as on a host without an RTC. */
START_TEST(clock_wrong_at_start)
{
    struct world world;
    world_init(&world, DAY);
    world.network.now_ns += _i == 0 ? 300 * DAY : 0;
    if (_i == 1)
        world.network.now_ns = 5 * NS_PER_SEC;
    ck_assert_uint_eq(live(&world, HOUR), 0);
    world_fini(&world);
}
END_TEST

/* More peers than one change takes. */
START_TEST(many)
{
    struct world world;
    world_init(&world, 0);
    for (unsigned n = 100; n < 170; n++)
        network_add_peer(&world.network, n, "");
    look(&world);
    pass(&world, DAY);
    presence_begin(world.presence, world.boot_ns, world.network.now_ns);
    for (unsigned n = 100; n < 170; n++)
        presence_see(world.presence, state_peer(world.network.state, test_id(n))->public_key);
    size_t changes = 0;
    while (write_some(&world))
        changes++;
    ck_assert_uint_eq(changes, 2);
    for (unsigned n = 100; n < 170; n++)
        ck_assert_uint_eq(stored_s(&world, n), now_s(&world));
    world_fini(&world);
}
END_TEST

/* The data plane need not follow a record that differs in nothing else. */
START_TEST(only_seen)
{
    struct world world;
    struct change change;
    world_init(&world, 0);
    struct network *network = &world.network;
    const struct state_peer *peer = state_peer(network->state, test_id(2));
    struct change_seen sight = {peer->id, network->now_ns + 1, 7};
    ck_assert_int_eq(change_peers_seen(&change, network->state, &sight, 1, &network->err), GRPC_OK);
    ck_assert_uint_eq(change.op_count, 1);
    const struct record_op *op = &change.ops[0];
    ck_assert(presence_is_only_seen(peer, op->value, op->len));
    ck_assert(!presence_is_only_seen(state_peer(network->state, test_id(3)), op->value, op->len));
    ck_assert(!presence_is_only_seen(peer, op->value, op->len - 1));
    change_fini(&change);
    static const char *const names[] = {"a", ""};
    static const char *const versions[] = {"1.0.0", "2.0.0"};
    for (int i = 0; i < 2; i++) {
        struct change_peer again = {.id = test_id(2),
                                    .name = names[i],
                                    .public_key = test_key(2),
                                    .version = versions[i],
                                    .now_ns = network->now_ns + 100 * NS_PER_SEC};
        ck_assert_int_eq(change_connect_peer(&change, network->state, &again, &network->err),
                         GRPC_OK);
        ck_assert_uint_eq(change.op_count, 1);
        ck_assert(!presence_is_only_seen(peer, change.ops[0].value, change.ops[0].len));
        change_fini(&change);
    }
    world_fini(&world);
}
END_TEST

/* What is known of a key goes with its peer. */
START_TEST(forgotten)
{
    struct world world;
    world_init(&world, 0);
    live(&world, 20 * MINUTE);
    ck_assert_uint_eq(absent_s(&world, 2), 19 * 60);
    ck_assert_int_eq(network_deauthorize(&world.network, test_id(2)), GRPC_OK);
    look(&world);
    network_add_peer(&world.network, 2, "");
    look(&world);
    ck_assert_uint_eq(absent_s(&world, 2), 0);
    world_fini(&world);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("presence");
    tcase_add_test(tc, off_by_default);
    tcase_add_test(tc, seen);
    tcase_add_loop_test(tc, few_changes, 0, 3);
    tcase_add_test(tc, bytes_of_before);
    tcase_add_test(tc, removed_after_expiry);
    tcase_add_test(tc, never_connected);
    tcase_add_test(tc, node_slept);
    tcase_add_loop_test(tc, absence_is_carried, 0, 2);
    tcase_add_test(tc, absence_ends);
    tcase_add_loop_test(tc, clock_jumps, 0, 4);
    tcase_add_loop_test(tc, clock_wrong_at_start, 0, 2);
    tcase_add_test(tc, many);
    tcase_add_test(tc, forgotten);
    tcase_add_test(tc, only_seen);
    return unit_run(tc);
}
