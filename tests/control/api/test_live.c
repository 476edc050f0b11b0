#include "control/api/live.h"
#include "control/api/watch_peer.h"

#include "tests/control/network_fixture.h"

#include <errno.h>

#define NOW_S  5000
#define BOOT_S 9000

/* One peer of a tunnel, and what is known of it. */
struct world {
    struct network network;
    uint64_t handshake_s;
    bool has_endpoint;
};

static int tunnel_info(void *ctx, struct path_info *out)
{
    const struct world *world = ctx;
    *out = (struct path_info){.up = true};
    out->device.peers = calloc(1, sizeof *out->device.peers);
    ck_assert_ptr_nonnull(out->device.peers);
    out->device.peer_count = 1;
    struct wg_peer_info *peer = &out->device.peers[0];
    memcpy(peer->public_key, state_peer(world->network.state, test_id(2))->public_key, WG_KEY_LEN);
    if (world->handshake_s != 0)
        peer->last_handshake_boot_ns = (BOOT_S - (NOW_S - world->handshake_s)) * NS_PER_SEC;
    if (world->has_endpoint) {
        struct ip_addr addr = test_addr("198.51.100.7");
        endpoint_from_addr(&peer->endpoint, &addr, 4321);
    }
    return 0;
}

static int no_tunnel(void *ctx, struct path_info *out)
{
    (void)ctx;
    (void)out;
    return -ENOMEM;
}

/* The record says 1000 s. */
START_TEST(last_seen)
{
    static const struct {
        uint64_t handshake_s;
        bool watches;
        int64_t seen_s;
    } cases[] = {
        {0, false, 1000},    /* 0: the record alone */
        {500, false, 500},   /* 1: a handshake with this node, whatever another clock wrote */
        {4000, false, 4000}, /* 2: a handshake after it */
        {4000, true, NOW_S}, /* 3: an open stream */
        {0, true, NOW_S},    /* 4: an open stream, and no tunnel yet */
    };
    struct world world = {.has_endpoint = true};
    struct watcher watcher = {.since_ns = 100 * NS_PER_SEC};
    network_init(&world.network);
    network_add_peer(&world.network, 2, "laptop");
    const struct state_peer *peer = state_peer(world.network.state, test_id(2));
    watcher.id = peer->id;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct live live;
        struct live_peer out;
        world.handshake_s = cases[i].handshake_s;
        live_init(&live, tunnel_info, &world, NOW_S * NS_PER_SEC, BOOT_S * NS_PER_SEC);
        if (cases[i].watches)
            live_add_watcher(&live, &watcher);
        live_peer_fill(&out, &live, peer);
        ck_assert_msg(out.pb.last_seen->seconds == cases[i].seen_s, "case %zu", i);
        ck_assert_str_eq(out.pb.endpoint, "198.51.100.7:4321");
        live_fini(&live);
    }
    network_fini(&world.network);
}
END_TEST

START_TEST(how_long_a_peer_watches)
{
    struct world world = {0};
    struct live live;
    struct watcher a = {.id = "a", .since_ns = 100 * NS_PER_SEC};
    struct watcher b = {.id = "b", .since_ns = (BOOT_S + 1) * NS_PER_SEC};
    live_init(&live, no_tunnel, &world, NOW_S * NS_PER_SEC, BOOT_S * NS_PER_SEC);
    live_add_watcher(&live, &a);
    live_add_watcher(&live, &b);
    ck_assert(!live.known);
    ck_assert_ptr_eq(live_watcher(&live, "a"), &a);
    ck_assert_uint_eq(live_age_ns(&live, a.since_ns), (BOOT_S - 100) * NS_PER_SEC);
    ck_assert_ptr_eq(live_watcher(&live, "b"), &b);
    ck_assert_uint_eq(live_age_ns(&live, b.since_ns), 0);
    ck_assert_ptr_null(live_watcher(&live, "c"));
    live_fini(&live);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("live");
    tcase_add_test(tc, last_seen);
    tcase_add_test(tc, how_long_a_peer_watches);
    return unit_run(tc);
}
