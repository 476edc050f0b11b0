#include "base/bytes.h"
#include "tests/unit.h"
#include "tests/wg/harness.h"
#include "wg/device.h" /* counters and tables that cannot be reached from outside in a test's time */
#include "wg/wire.h"

#include <stdatomic.h>
#include <string.h>

/* Protocol rules that concern the whole device: roaming, limits of a forgery, bounds. */

static struct sim sim;
static struct sim_datagram caught;
static int wanted_type;
static union endpoint elsewhere;

static void setup(void)
{
    sim_init_hosts(&sim, 5, SIM_MAX_HOSTS);
    sim_connect(&sim, 0, 1);
    ck_assert(endpoint_parse(&elsewhere, "203.0.113.9:4242"));
    memset(&caught, 0, sizeof caught);
}

static void teardown(void)
{
    sim_fini(&sim);
}

static struct wg_peer *first_peer(int host)
{
    return list_first(&sim.hosts[host].dev->peers, struct wg_peer, place);
}

static void start_session(void)
{
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, SIM_MS(100));
    sim_send(&sim, 1, 0, 1, 100);
    sim_run(&sim, SIM_MS(100));
    ck_assert_uint_eq(sim.hosts[0].delivered, 1);
}

static void assert_endpoint(int at, int of, const union endpoint *expected)
{
    char text[2][ENDPOINT_TEXT];
    struct wg_peer_info info = sim_info(&sim, at, of);
    ck_assert_str_eq(endpoint_format(&info.endpoint, text[0]), endpoint_format(expected, text[1]));
}

static bool catch_one(struct sim *s, struct sim_datagram *datagram)
{
    (void)s;
    if (datagram->bytes[0] != wanted_type || caught.len != 0)
        return true;
    caught = *datagram;
    return false;
}

static bool move_source(struct sim *s, struct sim_datagram *datagram)
{
    (void)s;
    if (datagram->bytes[0] == wanted_type)
        datagram->from = elsewhere;
    return true;
}

/* Peers that are reached somewhere, and do not answer. */
static void add_strangers(int at, uint32_t count, uint16_t keepalive_s)
{
    for (uint32_t i = 0; i < count; i++) {
        struct wg_allowed_ip_config ip = {
            .prefix = {{4, {10, 1, (uint8_t)(i >> 8), (uint8_t)i}}, 32}};
        struct wg_peer_config peer = {.has_endpoint = true,
                                      .endpoint = elsewhere,
                                      .has_keepalive = true,
                                      .keepalive_s = keepalive_s,
                                      .allowed_ips = &ip,
                                      .allowed_ip_count = 1};
        store_be32(peer.public_key, i + 1);
        peer.public_key[31] = 9;
        struct wg_device_config change = {.peers = &peer, .peer_count = 1};
        sim_configure(&sim, at, &change);
    }
}

static void ignore(void *ctx)
{
    (void)ctx;
}

START_TEST(forged_data_uses_up_no_counter_and_does_not_roam)
{
    struct sim_datagram forged;
    start_session();
    sim.filter = catch_one;
    wanted_type = WIRE_DATA;
    sim_send(&sim, 0, 1, 2, 100);
    ck_assert_uint_ne(caught.len, 0);
    for (size_t at = 8; at < caught.len; at += 7) { /* its counter, its content, its tag */
        forged = caught;
        forged.from = elsewhere;
        forged.bytes[at] ^= 1;
        sim_deliver(&sim, &forged);
        ck_assert_uint_eq(sim.hosts[1].delivered, 1);
        assert_endpoint(1, 0, &sim.hosts[0].address);
    }
    sim_deliver(&sim, &caught);
    ck_assert_uint_eq(sim.hosts[1].delivered, 2);
}
END_TEST

/* Everything that is shorter than what was sent, with the index of a session in it. */
START_TEST(short_data_is_dropped)
{
    start_session();
    sim.filter = catch_one;
    wanted_type = WIRE_DATA;
    sim_send(&sim, 0, 1, 2, 100);
    for (size_t len = 0; len < caught.len; len++) {
        struct sim_datagram cut = caught;
        cut.len = len;
        sim_deliver(&sim, &cut);
    }
    ck_assert_uint_eq(sim.hosts[1].dropped, caught.len);
    ck_assert_uint_eq(sim.hosts[1].delivered, 1);
    sim_deliver(&sim, &caught);
    ck_assert_uint_eq(sim.hosts[1].delivered, 2);
}
END_TEST

/* An inner packet that claims to be longer than what came; one that is shorter is cut to its size.
 */
START_TEST(inner_length_is_within_what_came)
{
    static const struct {
        uint16_t claimed;
        unsigned delivered;
    } table[] = {{112, 1}, {60, 1}, {113, 0}, {65535, 0}};
    start_session();
    for (size_t i = 0; i < 2 * ARRAY_LEN(table); i++) {
        uint16_t claimed = table[i / 2].claimed;
        unsigned before = sim.hosts[1].delivered;
        struct sim_datagram datagram = {.from = sim.hosts[0].address, .to = sim.hosts[1].address};
        uint8_t packet[SIM_DATAGRAM] = {0};
        struct wg_outbound out = {.plain = packet, .sealed = datagram.bytes};
        out.len = sim_make_packet(packet, 0, 1, 1, 112);
        store_be16(packet + 2, claimed);
        if (claimed < out.len)
            memset(packet + claimed, 0, out.len - claimed); /* as padding would be */
        if (i % 2 != 0) {
            memset(packet, 0, sizeof packet);
            packet[0] = 0x60;
            store_be16(packet + 4, (uint16_t)(claimed - 40));
            packet[8] = packet[24] = 0xfd;
            packet[23] = 1;
            packet[39] = 2;
        }
        wg_device_seal(sim.hosts[0].dev, &out, 1, sim_time(&sim));
        datagram.len = out.sealed_len;
        sim_deliver(&sim, &datagram);
        ck_assert_uint_eq(sim.hosts[1].delivered - before, table[i / 2].delivered);
        if (table[i / 2].delivered != 0)
            ck_assert_uint_eq(sim.hosts[1].last_len, claimed);
    }
}
END_TEST

START_TEST(handshake_messages_are_followed)
{
    static const int types[] = {WIRE_INITIATION, WIRE_RESPONSE};
    wanted_type = types[_i];
    sim.filter = move_source;
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, _i == 0 ? SIM_DELAY : 2 * SIM_DELAY);
    assert_endpoint(1 - _i, _i, &elsewhere);
}
END_TEST

/* At any load, a sender that does not know our public key gets no answer of any kind. */
START_TEST(first_mac_is_always_checked)
{
    static const int types[] = {WIRE_INITIATION, WIRE_RESPONSE};
    int at = _i == 0 ? 1 : 0;
    wanted_type = types[_i];
    sim.filter = catch_one;
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, SIM_MS(100));
    ck_assert_uint_ne(caught.len, 0);
    struct sim_host *host = &sim.hosts[at];
    struct sim_sent before = host->sent;
    for (int bit = 0; bit < 128; bit++) {
        struct sim_datagram wrong = caught;
        wrong.bytes[wrong.len - 32 + (size_t)bit / 8] ^= (uint8_t)(1 << bit % 8);
        host->under_load = bit % 2 != 0;
        sim_deliver(&sim, &wrong);
    }
    host->under_load = false;
    ck_assert_mem_eq(&host->sent, &before, sizeof before);
    ck_assert_ptr_null(atomic_load(&first_peer(at)->keypairs.current));
    ck_assert_ptr_null(atomic_load(&first_peer(at)->keypairs.next));
    sim_deliver(&sim, &caught);
    ck_assert(atomic_load(&first_peer(at)->keypairs.current) != NULL ||
              atomic_load(&first_peer(at)->keypairs.next) != NULL);
}
END_TEST

START_TEST(cookie_replies_are_not_followed)
{
    wanted_type = WIRE_COOKIE_REPLY;
    sim.filter = move_source;
    sim.hosts[1].under_load = true;
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, SIM_MS(100));
    ck_assert_uint_eq(sim.hosts[1].sent.cookies, 1);
    assert_endpoint(0, 1, &sim.hosts[1].address);
    sim_run(&sim, SIM_S(6)); /* but taken */
    ck_assert_uint_eq(sim.hosts[1].delivered, 1);
}
END_TEST

/* Five messages at once from one address, even with the right cookie, and then one every 50 ms. */
START_TEST(cookies_do_not_lift_the_rate_limit)
{
    uint8_t junk[WIRE_INITIATION_LEN] = {WIRE_INITIATION};
    struct wg_endpoint from = {.remote = sim.hosts[0].address};
    struct wg_sink sink = sim_sink(&sim.hosts[1]);
    sim.hosts[1].under_load = true;
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, SIM_MS(100));
    ck_assert_uint_eq(sim.hosts[1].sent.cookies, 1);
    sim.filter = catch_one;
    wanted_type = WIRE_INITIATION;
    sim_run(&sim, SIM_S(6)); /* the second one, with the cookie */
    ck_assert_uint_ne(caught.len, 0);
    for (uint8_t i = 0; i < 5; i++) {
        junk[100] = i;
        cookie_maker_add_macs(&first_peer(0)->cookie, junk, sizeof junk, sim.now);
        wg_device_handshake(sim.hosts[1].dev, junk, sizeof junk, &from, true, sim_time(&sim),
                            &sink);
    }
    sim_deliver(&sim, &caught);
    ck_assert_uint_eq(sim.hosts[1].sent.responses, 0);
    sim.now += SIM_MS(50);
    sim_deliver(&sim, &caught);
    ck_assert_uint_eq(sim.hosts[1].sent.responses, 1);
    ck_assert_uint_eq(sim.hosts[1].sent.cookies, 1);
}
END_TEST

START_TEST(replayed_initiations_are_not_followed)
{
    wanted_type = WIRE_INITIATION;
    sim.filter = catch_one;
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, 0);
    sim_deliver(&sim, &caught);
    sim_run(&sim, SIM_S(1));
    ck_assert_uint_eq(sim.hosts[1].delivered, 1);
    ck_assert_uint_eq(sim.hosts[1].sent.responses, 1);
    caught.from = elsewhere;
    sim_deliver(&sim, &caught);
    ck_assert_uint_eq(sim.hosts[1].sent.responses, 1);
    assert_endpoint(1, 0, &sim.hosts[0].address);
}
END_TEST

START_TEST(ipv6_scope_is_kept)
{
    start_session();
    ck_assert(endpoint_parse(&sim.hosts[0].address, "[fe80::1%7]:51820"));
    sim_send(&sim, 0, 1, 2, 100);
    sim_run(&sim, SIM_MS(100));
    assert_endpoint(1, 0, &sim.hosts[0].address);
    sim_send(&sim, 1, 0, 3, 100); /* which arrives only at the same scope */
    sim_run(&sim, SIM_MS(100));
    ck_assert_uint_eq(sim.hosts[0].delivered, 2);
    ck_assert_uint_eq(sim.hosts[0].log[1], 3);
}
END_TEST

static struct ip_addr source_in_use(void)
{
    uint8_t packet[SIM_DATAGRAM];
    uint8_t sealed[SIM_DATAGRAM];
    struct wg_outbound out = {.plain = packet, .sealed = sealed};
    out.len = sim_make_packet(packet, 0, 1, 9, 100);
    wg_device_seal(sim.hosts[0].dev, &out, 1, sim_time(&sim));
    return out.endpoint.source;
}

static bool lose_all(struct sim *s, struct sim_datagram *datagram)
{
    (void)s;
    (void)datagram;
    return false;
}

START_TEST(source_sticks_until_nobody_answers)
{
    static const struct ip_addr spoken_to = {4, {192, 0, 2, 1}}; /* see open_at in the harness */
    static const struct ip_addr any = {0};
    start_session();
    struct ip_addr source = source_in_use();
    ck_assert(ip_addr_equal(&source, &spoken_to));
    sim.filter = lose_all;
    sim_run(&sim, SIM_S(14));
    source = source_in_use();
    ck_assert(ip_addr_equal(&source, &spoken_to));
    sim_run(&sim, SIM_S(2)); /* already the first initiation avoids it, as the kernel's does */
    source = source_in_use();
    ck_assert(ip_addr_equal(&source, &any));
    sim.filter = NULL;
    sim_run(&sim, SIM_S(6));
    source = source_in_use();
    ck_assert(ip_addr_equal(&source, &spoken_to));
}
END_TEST

static enum wg_outbound_verdict stage_large(int to, unsigned number, size_t len)
{
    static uint8_t packet[65536];
    static uint8_t sealed[sizeof packet + 16 + WG_DATA_OVERHEAD];
    struct wg_outbound out = {.plain = packet, .len = len, .sealed = sealed};
    (void)sim_make_packet(packet, 0, to, number, 100);
    store_be16(packet + 2, (uint16_t)len);
    wg_device_seal(sim.hosts[0].dev, &out, 1, sim_time(&sim));
    return out.verdict;
}

/* Large packets to six peers that do not answer: the oldest of whoever has most give way, and a
 * seventh peer, which answers, is not kept from beginning. */
START_TEST(staged_bytes_are_bounded_and_shared)
{
    struct wg_device *dev = sim.hosts[0].dev;
    sim.filter = lose_all;
    for (int to = 1; to < SIM_MAX_HOSTS; to++)
        if (to > 1)
            sim_connect(&sim, 0, to);
    for (int to = 1; to < SIM_MAX_HOSTS - 1; to++) {
        for (unsigned i = 0; i < STAGING_PACKETS; i++) {
            ck_assert_int_eq(stage_large(to, i, 60000), WG_OUT_STAGED);
            ck_assert_uint_le(atomic_load(&dev->staging.bytes), STAGING_BYTES);
        }
    }
    list_for_each (pos, &dev->peers) { /* equal shares */
        struct wg_peer *peer = container_of(pos, struct wg_peer, place);
        bool is_last = memcmp(peer->noise.remote_static, sim.hosts[SIM_MAX_HOSTS - 1].public_key,
                              WG_KEY_LEN) == 0;
        if (!is_last)
            ck_assert_uint_ge(peer->staging.bytes, STAGING_BYTES / (SIM_MAX_HOSTS - 2) - 2 * 60100);
    }
    sim.filter = NULL;
    for (int to = 1; to < SIM_MAX_HOSTS - 1; to++)
        sim.hosts[to].is_asleep = true;
    ck_assert_int_eq(sim_send(&sim, 0, SIM_MAX_HOSTS - 1, 7, 100), WG_OUT_STAGED);
    sim_run(&sim, SIM_MS(100));
    ck_assert_uint_eq(sim.hosts[SIM_MAX_HOSTS - 1].delivered, 1);
    sim_remove_peer(&sim, 0, 1);
    sim_run(&sim, SIM_S(100)); /* all attempts are given up */
    ck_assert_uint_eq(atomic_load(&dev->staging.bytes), 0);
}
END_TEST

START_TEST(sessions_are_renewed_and_refused_by_number_of_messages)
{
    start_session();
    sim_run(&sim, TIMERS_REKEY_TIMEOUT); /* its response delays initiations */
    struct keypair *keypair = atomic_load(&first_peer(1)->keypairs.current);
    unsigned before = sim.hosts[1].sent.initiations;
    atomic_store(&keypair->send_counter, WIRE_REKEY_AFTER_MESSAGES - 1);
    ck_assert_int_eq(sim_send(&sim, 1, 0, 2, 100), WG_OUT_SEND);
    sim_run(&sim, 0);
    ck_assert_uint_eq(sim.hosts[1].sent.initiations, before);
    sim.filter = lose_all;
    ck_assert_int_eq(sim_send(&sim, 1, 0, 3, 100), WG_OUT_SEND);
    sim_run(&sim, 0);
    ck_assert_uint_eq(sim.hosts[1].sent.initiations, before + 1); /* though a responder */
    atomic_store(&keypair->send_counter, WIRE_REJECT_AFTER_MESSAGES - 1);
    ck_assert_int_eq(sim_send(&sim, 1, 0, 4, 100), WG_OUT_SEND);
    sim_run(&sim, SIM_S(100)); /* all attempts are over */
    before = sim.hosts[1].sent.initiations;
    ck_assert_int_eq(sim_send(&sim, 1, 0, 5, 100), WG_OUT_STAGED);
    sim_run(&sim, 0);
    ck_assert_uint_eq(sim.hosts[1].sent.initiations, before + 1);
}
END_TEST

/* The last of a batch counts. */
START_TEST(sessions_are_renewed_within_a_batch)
{
    enum { COUNT = 3 };
    static uint8_t packets[COUNT][SIM_DATAGRAM];
    static uint8_t sealed[COUNT][SIM_DATAGRAM];
    struct wg_outbound batch[COUNT];
    start_session();
    struct keypair *keypair = atomic_load(&first_peer(0)->keypairs.current);
    unsigned before = sim.hosts[0].sent.initiations;
    atomic_store(&keypair->send_counter, WIRE_REKEY_AFTER_MESSAGES - COUNT + 1);
    for (int i = 0; i < COUNT; i++) {
        batch[i] = (struct wg_outbound){.plain = packets[i], .sealed = sealed[i]};
        batch[i].len = sim_make_packet(packets[i], 0, 1, 2, 100);
    }
    sim_run(&sim, SIM_S(6)); /* the next initiation is not too soon */
    wg_device_seal(sim.hosts[0].dev, batch, COUNT, sim_time(&sim));
    sim_run(&sim, 0);
    ck_assert_uint_eq(sim.hosts[0].sent.initiations, before + 1);
}
END_TEST

static uint32_t drawn;

static void draw_the_same(void *ctx, void *out, size_t len)
{
    if (len == sizeof drawn)
        memcpy(out, &drawn, len);
    else
        memset(out, (int)++*(uint8_t *)ctx, len);
}

START_TEST(jitter_is_0_to_333_ms)
{
    static const struct {
        uint32_t drawn;
        uint64_t jitter_ms;
    } table[] = {{0, 0}, {333, 333}, {334, 0}, {335, 1}, {UINT32_MAX, 173}};
    uint8_t count = 0;
    sim.filter = lose_all;
    sim.hosts[0].dev->env.random = draw_the_same;
    sim.hosts[0].dev->env.ctx = &count;
    sim.hosts[0].dev->env.wake = ignore;
    sim_send(&sim, 0, 1, 1, 100);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        unsigned before = sim.hosts[0].sent.initiations;
        drawn = table[i].drawn;
        struct wg_sink sink = sim_sink(&sim.hosts[0]);
        wg_device_run(sim.hosts[0].dev, sim_time(&sim), &sink);
        ck_assert_uint_eq(sim.hosts[0].sent.initiations, before + 1);
        uint64_t due = sim.now + SIM_S(5) + SIM_MS(table[i].jitter_ms);
        ck_assert_uint_eq(wg_device_deadline(sim.hosts[0].dev), due);
        sim.now = due;
    }
}
END_TEST

/* The session that it belongs to is old, but has been succeeded already. */
START_TEST(late_data_of_an_old_session_renews_nothing)
{
    start_session();
    uint64_t born = atomic_load(&first_peer(0)->keypairs.current)->born_ns;
    sim.filter = catch_one;
    wanted_type = WIRE_DATA;
    sim_send(&sim, 1, 0, 2, 100); /* is late */
    sim.filter = NULL;
    sim_run(&sim, born + SIM_S(121) - sim.now);
    sim_send(&sim, 0, 1, 3, 100); /* renews */
    sim_run(&sim, SIM_MS(100));
    sim_send(&sim, 1, 0, 4, 100);
    sim_run(&sim, SIM_MS(100));
    unsigned before = sim.hosts[0].sent.initiations;
    sim_run(&sim, born + SIM_S(166) - sim.now);
    sim_deliver(&sim, &caught);
    sim_run(&sim, SIM_S(1));
    ck_assert_uint_eq(sim.hosts[0].delivered, 3);
    ck_assert_uint_eq(sim.hosts[0].sent.initiations, before);
}
END_TEST

/* Both sides initiate, and only the other's handshake gets through: ours is not repeated. */
START_TEST(responder_ends_its_own_attempts)
{
    sim.filter = lose_all;
    sim_send(&sim, 1, 0, 1, 100);
    sim_run(&sim, SIM_MS(1));
    ck_assert_uint_eq(sim.hosts[1].sent.initiations, 1);
    sim.filter = NULL;
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, SIM_S(8));
    ck_assert_uint_eq(sim.hosts[0].delivered, 1);
    ck_assert_uint_eq(sim.hosts[1].delivered, 1);
    ck_assert_uint_eq(sim.hosts[1].sent.initiations, 1);
}
END_TEST

START_TEST(staged_packets_keep_their_mark)
{
    uint8_t packet[SIM_DATAGRAM];
    sim.filter = catch_one;
    wanted_type = WIRE_DATA;
    size_t len = sim_make_packet(packet, 0, 1, 1, 100);
    packet[1] = 0xb8 | 2; /* with a DSCP, which stays inside */
    ck_assert_int_eq(sim_send_bytes(&sim, 0, packet, len), WG_OUT_STAGED);
    sim_run(&sim, SIM_MS(100));
    ck_assert_uint_ne(caught.len, 0);
    ck_assert_uint_eq(caught.ds, 2);
}
END_TEST

/* Neither kept for later nor taken. */
START_TEST(link_down_drops_what_waits_and_what_comes)
{
    struct wg_sink sink = sim_sink(&sim.hosts[1]);
    struct wg_endpoint from = {.remote = sim.hosts[0].address};
    sim.filter = catch_one;
    wanted_type = WIRE_INITIATION;
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, 0);
    sim_set_up(&sim, 0, false);
    sim_set_up(&sim, 0, true);
    ck_assert_uint_eq(atomic_load(&sim.hosts[0].dev->staging.bytes), 0);
    sim_set_up(&sim, 1, false);
    struct sim_datagram copy = caught;
    struct wg_inbound in = {.bytes = copy.bytes, .len = copy.len, .from = from};
    wg_device_open(sim.hosts[1].dev, &in, 1, sim_time(&sim));
    ck_assert_int_eq(in.verdict, WG_IN_DROP);
    ck_assert(!wg_device_handshake(sim.hosts[1].dev, caught.bytes, caught.len, &from, false,
                                   sim_time(&sim), &sink));
    ck_assert_uint_eq(sim.hosts[1].sent.responses, 0);
    sim_set_up(&sim, 1, true);
    sim_run(&sim, SIM_S(1));
    sim_send(&sim, 0, 1, 2, 100);
    sim_run(&sim, SIM_S(7));
    ck_assert_uint_eq(sim.hosts[1].delivered, 1);
    ck_assert_uint_eq(sim.hosts[1].log[0], 2);
}
END_TEST

/* Regardless of how many peers have work. */
START_TEST(a_batch_wakes_once)
{
    enum { COUNT = 5 };
    static uint8_t packets[COUNT][SIM_DATAGRAM];
    static uint8_t sealed[COUNT][SIM_DATAGRAM];
    struct wg_outbound batch[COUNT];
    for (int i = 0; i < COUNT; i++) {
        sim_connect(&sim, 0, i + 1);
        batch[i] = (struct wg_outbound){.plain = packets[i], .sealed = sealed[i]};
        batch[i].len = sim_make_packet(packets[i], 0, i + 1, 2, 100);
    }
    unsigned before = sim.hosts[0].wakes;
    wg_device_seal(sim.hosts[0].dev, batch, COUNT, sim_time(&sim));
    ck_assert_uint_eq(sim.hosts[0].wakes, before + 1);
    sim_run(&sim, 0);
    ck_assert_uint_eq(sim.hosts[0].sent.initiations, COUNT);
}
END_TEST

START_TEST(static_static_is_computed_when_needed)
{
    struct wg_device_config config = {.has_private_key = true};
    ck_assert(!first_peer(0)->noise.has_static_static);
    start_session();
    ck_assert(first_peer(0)->noise.has_static_static);
    config.private_key[3] = 1;
    sim_configure(&sim, 0, &config);
    ck_assert(!first_peer(0)->noise.has_static_static);
}
END_TEST

START_TEST(indices_are_drawn_again_when_taken)
{
    struct wg_device *dev = sim.hosts[0].dev;
    uint32_t seen[64];
    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        uint64_t before = sim.random;
        int dummy;
        ck_assert_int_eq(device_add_index(dev, &dummy, &seen[i]), 0);
        if (i % 2 == 0)
            sim.random = before; /* the next draw begins with the same number */
        for (size_t j = 0; j < i; j++)
            ck_assert_uint_ne(seen[i], seen[j]);
    }
    for (size_t i = 0; i < ARRAY_LEN(seen); i++)
        ck_assert_ptr_nonnull(index_remove(&dev->indices, seen[i]));
}
END_TEST

/* A device without a key is as idle as one that is down, and begins at once when it gets one. */
START_TEST(nothing_is_due_without_a_key)
{
    struct wg_device_config config = {.has_private_key = true};
    sim_configure(&sim, 0, &config);
    sim_set_keepalive(&sim, 0, 1, 25);
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, SIM_S(1));
    ck_assert_uint_eq(wg_device_deadline(sim.hosts[0].dev), WG_NEVER);
    memcpy(config.private_key, sim.hosts[0].private_key, WG_KEY_LEN);
    sim_configure(&sim, 0, &config);
    ck_assert_uint_eq(sim.hosts[0].sent.initiations, 1);
    sim_run(&sim, SIM_MS(100));
    ck_assert_uint_eq(sim.hosts[1].delivered, 1);
}
END_TEST

/* Each initiation puts the keepalive off, so that it does not start the 90 s anew. */
START_TEST(attempts_end_beside_a_keepalive)
{
    sim.filter = lose_all;
    sim_set_keepalive(&sim, 0, 1, 25);
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, SIM_S(85));
    ck_assert_uint_ne(atomic_load(&sim.hosts[0].dev->staging.bytes), 0);
    sim_run(&sim, SIM_S(15));
    ck_assert_uint_eq(atomic_load(&sim.hosts[0].dev->staging.bytes), 0);
}
END_TEST

/* Another interval counts from the last traffic: only the first one starts at once. */
START_TEST(keepalive_interval_changed)
{
    start_session();
    sim_set_keepalive(&sim, 0, 1, 25);
    sim_run(&sim, SIM_MS(100));
    unsigned before = sim.hosts[0].sent.empty;
    sim_set_keepalive(&sim, 0, 1, 30);
    sim_run(&sim, SIM_S(29));
    ck_assert_uint_eq(sim.hosts[0].sent.empty, before);
    sim_run(&sim, SIM_S(2));
    ck_assert_uint_eq(sim.hosts[0].sent.empty, before + 1);
}
END_TEST

START_TEST(keepalive_renews_the_session_when_a_sleeper_wakes)
{
    sim_set_keepalive(&sim, 0, 1, 25);
    sim_run(&sim, SIM_S(1));
    sim.hosts[0].is_asleep = true;
    sim_run(&sim, SIM_S(3600));
    ck_assert_uint_eq(sim.hosts[0].sent.initiations, 1);
    sim.hosts[0].is_asleep = false;
    sim_run(&sim, 0);
    ck_assert_uint_eq(sim.hosts[0].sent.initiations, 2);
    sim_run(&sim, SIM_MS(100));
    ck_assert_int_eq(sim_send(&sim, 1, 0, 2, 100), WG_OUT_SEND);
}
END_TEST

/* Many due peers are served in slices, between which the lock is free; a waiting packet is first. */
START_TEST(many_due_peers_are_served_in_slices)
{
    enum { COUNT = 100, A_SLICE = 4 };
    struct sim_host *host = &sim.hosts[0];
    struct wg_sink sink = sim_sink(host);
    sim_set_up(&sim, 0, false);
    add_strangers(0, COUNT, 25);
    sim_set_up(&sim, 0, true);
    ck_assert_uint_le(host->sent.initiations, A_SLICE);
    ck_assert_int_eq(sim_send(&sim, 0, 1, 1, 100), WG_OUT_STAGED);
    unsigned before = host->sent.initiations;
    struct wg_peer *living = first_peer(0);
    wg_device_run(host->dev, sim_host_time(host), &sink);
    ck_assert_uint_ne(living->timers.handshake_sent_ns, 0);
    while (wg_device_deadline(host->dev) <= sim_host_time(host).boot_ns) {
        ck_assert_uint_le(host->sent.initiations - before, A_SLICE);
        before = host->sent.initiations;
        wg_device_run(host->dev, sim_host_time(host), &sink);
    }
    ck_assert_uint_eq(host->sent.initiations, COUNT + 1);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("rules");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, forged_data_uses_up_no_counter_and_does_not_roam);
    tcase_add_test(tc, short_data_is_dropped);
    tcase_add_test(tc, inner_length_is_within_what_came);
    tcase_add_loop_test(tc, handshake_messages_are_followed, 0, 2);
    tcase_add_loop_test(tc, first_mac_is_always_checked, 0, 2);
    tcase_add_test(tc, cookie_replies_are_not_followed);
    tcase_add_test(tc, cookies_do_not_lift_the_rate_limit);
    tcase_add_test(tc, replayed_initiations_are_not_followed);
    tcase_add_test(tc, ipv6_scope_is_kept);
    tcase_add_test(tc, source_sticks_until_nobody_answers);
    tcase_add_test(tc, staged_bytes_are_bounded_and_shared);
    tcase_add_test(tc, sessions_are_renewed_and_refused_by_number_of_messages);
    tcase_add_test(tc, sessions_are_renewed_within_a_batch);
    tcase_add_test(tc, many_due_peers_are_served_in_slices);
    tcase_add_test(tc, jitter_is_0_to_333_ms);
    tcase_add_test(tc, late_data_of_an_old_session_renews_nothing);
    tcase_add_test(tc, responder_ends_its_own_attempts);
    tcase_add_test(tc, staged_packets_keep_their_mark);
    tcase_add_test(tc, link_down_drops_what_waits_and_what_comes);
    tcase_add_test(tc, a_batch_wakes_once);
    tcase_add_test(tc, static_static_is_computed_when_needed);
    tcase_add_test(tc, indices_are_drawn_again_when_taken);
    tcase_add_test(tc, nothing_is_due_without_a_key);
    tcase_add_test(tc, attempts_end_beside_a_keepalive);
    tcase_add_test(tc, keepalive_interval_changed);
    tcase_add_test(tc, keepalive_renews_the_session_when_a_sleeper_wakes);
    return unit_run(tc);
}
