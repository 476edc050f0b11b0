#include "control/api/live.h"

#include "tests/control/network_fixture.h"

#include <errno.h>

#define NOW_S  5000
#define BOOT_S 900

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
    peer->last_handshake_ns = world->handshake_s * NS_PER_SEC;
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
        {500, false, 1000},  /* 1: a handshake before it */
        {4000, false, 4000}, /* 2: a handshake after it */
        {4000, true, NOW_S}, /* 3: an open stream */
        {0, true, NOW_S},    /* 4: an open stream, and no tunnel yet */
    };
    struct world world = {.has_endpoint = true};
    uint64_t since_ns = 100 * NS_PER_SEC;
    network_init(&world.network);
    network_add_peer(&world.network, 2, "laptop");
    const struct state_peer *peer = state_peer(world.network.state, test_id(2));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct live live;
        struct live_peer out;
        world.handshake_s = cases[i].handshake_s;
        live_init(&live, tunnel_info, &world, NOW_S * NS_PER_SEC, BOOT_S * NS_PER_SEC);
        if (cases[i].watches)
            live_add_watcher(&live, peer->id, &since_ns);
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
    uint64_t since_ns = 100 * NS_PER_SEC;
    uint64_t later_ns = (BOOT_S + 1) * NS_PER_SEC;
    uint64_t for_ns = 1;
    live_init(&live, no_tunnel, &world, NOW_S * NS_PER_SEC, BOOT_S * NS_PER_SEC);
    live_add_watcher(&live, "a", &since_ns);
    live_add_watcher(&live, "b", &later_ns);
    ck_assert(!live.known);
    ck_assert(live_is_watching(&live, "a", &for_ns));
    ck_assert_uint_eq(for_ns, 800 * NS_PER_SEC);
    ck_assert(live_is_watching(&live, "b", &for_ns));
    ck_assert_uint_eq(for_ns, 0);
    ck_assert(!live_is_watching(&live, "c", &for_ns));
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
