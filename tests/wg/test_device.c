#include "wg/wg.h"

#include "base/bytes.h"
#include "tests/wg/device_fixture.h"

#include <string.h>

/* The device as a whole: two or three of them on a virtual network. */

START_TEST(first_ping_goes_both_ways)
{
    static const size_t lens[] = {24, 31, 32, 33, 100, 1404, 1405, 1419, 1420};
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        uint32_t number = (uint32_t)i;
        sim_send(&sim, 0, 1, number, lens[i]);
        sim_run(&sim, SIM_MS(100));
        ck_assert_uint_eq(sim.hosts[1].delivered, i + 1);
        ck_assert_uint_eq(sim.hosts[1].last_len, lens[i]);
        ck_assert_int_eq(sim_send(&sim, 1, 0, number, lens[i]), WG_OUT_SEND);
        sim_run(&sim, SIM_MS(100));
        ck_assert_uint_eq(sim.hosts[0].delivered, i + 1);
        ck_assert_uint_eq(sim.hosts[0].last_len, lens[i]);
    }
    ck_assert_uint_eq(sim.hosts[0].sent.initiations, 1);
    ck_assert_uint_eq(sim.hosts[1].sent.initiations, 0);
    ck_assert_uint_eq(sim.hosts[1].sent.responses, 1);
    ck_assert_uint_ne(sim_info(&sim, 0, 1).last_handshake_ns, 0);
    ck_assert_uint_ne(sim_info(&sim, 1, 0).last_handshake_ns, 0);
}
END_TEST

START_TEST(staged_packets_keep_their_order)
{
    for (uint32_t i = 0; i < 100; i++)
        ck_assert_int_eq(sim_send(&sim, 0, 1, i, 200), WG_OUT_STAGED);
    sim_run(&sim, SIM_S(1));
    assert_log(1, 0, 100);
}
END_TEST

START_TEST(oldest_of_129_staged_goes)
{
    for (uint32_t i = 0; i < 129; i++)
        sim_send(&sim, 0, 1, i, 200);
    sim_run(&sim, SIM_S(1));
    assert_log(1, 1, 128);
}
END_TEST

START_TEST(responder_waits_for_confirmation)
{
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, SIM_DELAY); /* the response is on its way */
    ck_assert_uint_eq(sim.hosts[1].sent.responses, 1);
    ck_assert_int_eq(sim_send(&sim, 1, 0, 7, 100), WG_OUT_STAGED);
    ck_assert_uint_eq(sim.hosts[1].sent.data, 0);
    sim_run(&sim, SIM_MS(200));
    assert_log(0, 7, 1);
    assert_log(1, 1, 1);
}
END_TEST

static bool catch_data(struct sim *s, struct sim_datagram *datagram)
{
    if (datagram->bytes[0] == 4)
        *(struct sim_datagram *)s->filter_ctx = *datagram;
    return datagram->bytes[0] != 4;
}

START_TEST(nothing_passes_what_is_staged)
{
    static struct sim_datagram first;
    sim.filter = catch_data;
    sim.filter_ctx = &first;
    sim_send(&sim, 0, 1, 9, 100);
    sim_run(&sim, SIM_MS(15));
    sim_send(&sim, 1, 0, 1, 100);
    sim_send(&sim, 1, 0, 2, 100);
    sim_run(&sim, SIM_MS(15));
    sim.filter = NULL;
    sim_deliver(&sim, &first); /* there is a session now, but wg_device_run has not been called */
    ck_assert_uint_eq(sim.hosts[1].delivered, 1);
    ck_assert_int_eq(sim_send(&sim, 1, 0, 3, 100), WG_OUT_STAGED);
    sim_run(&sim, SIM_MS(100));
    assert_log(0, 1, 3);
    ck_assert_int_eq(sim_send(&sim, 1, 0, 4, 100), WG_OUT_SEND);
}
END_TEST

START_TEST(counters_count_whole_datagrams)
{
    start_session();
    /* initiation and one packet of 100 bytes, padded to 112; response */
    ck_assert_uint_eq(sim_info(&sim, 0, 1).tx_bytes, 148 + 112 + 32);
    ck_assert_uint_eq(sim_info(&sim, 0, 1).rx_bytes, 92);
    ck_assert_uint_eq(sim_info(&sim, 1, 0).rx_bytes, 148 + 112 + 32);
    ck_assert_uint_eq(sim_info(&sim, 1, 0).tx_bytes, 92);
}
END_TEST

START_TEST(padding_is_capped_at_the_mtu)
{
    static const struct {
        uint32_t mtu;
        size_t len;
        size_t sealed;
    } table[] = {{1420, 1417, 1420}, {1420, 1420, 1420}, {1420, 1408, 1408}, {1420, 1400, 1408},
                 {1000, 999, 1000},  {1000, 1001, 1016}, {0, 33, 48}};
    start_session();
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        uint8_t packet[SIM_DATAGRAM];
        uint8_t sealed[SIM_DATAGRAM];
        struct wg_outbound out = {.plain = packet, .sealed = sealed};
        out.len = sim_make_packet(packet, 0, 1, 1, table[i].len);
        wg_device_set_mtu(sim.hosts[0].dev, table[i].mtu);
        wg_device_seal(sim.hosts[0].dev, &out, 1, sim_time(&sim));
        ck_assert_int_eq(out.verdict, WG_OUT_SEND);
        ck_assert_uint_eq(out.sealed_len, table[i].sealed + WG_DATA_OVERHEAD);
    }
}
END_TEST

START_TEST(endpoint_follows_a_peer_that_roams)
{
    start_session();
    struct ip_addr addr = {.family = 4, .bytes = {198, 51, 100, 7}};
    endpoint_from_addr(&sim.hosts[0].address, &addr, 4242);
    sim_send(&sim, 0, 1, 2, 100);
    sim_run(&sim, SIM_MS(100));
    struct wg_peer_info info = sim_info(&sim, 1, 0);
    ck_assert(endpoint_equal(&info.endpoint, &sim.hosts[0].address));
    ck_assert_int_eq(sim_send(&sim, 1, 0, 3, 100), WG_OUT_SEND);
    sim_run(&sim, SIM_MS(100));
    assert_log(0, 3, 1);
}
END_TEST

static bool record(struct sim *s, struct sim_datagram *datagram)
{
    if (datagram->bytes[0] == 4)
        *(struct sim_datagram *)s->filter_ctx = *datagram;
    return true;
}

START_TEST(replayed_datagrams_are_dropped_and_do_not_roam)
{
    static struct sim_datagram copy;
    struct sim_datagram again;
    start_session();
    forget_counts();
    sim.filter = record;
    sim.filter_ctx = &copy;
    sim_send(&sim, 0, 1, 2, 100);
    sim_run(&sim, SIM_MS(5));
    again = copy;
    endpoint_parse(&again.from, "203.0.113.9:9");
    sim_run(&sim, SIM_MS(100));
    sim_deliver(&sim, &again);
    ck_assert_uint_eq(sim.hosts[1].delivered, 1);
    ck_assert_uint_eq(sim.hosts[1].dropped, 1);
    struct wg_peer_info info = sim_info(&sim, 1, 0);
    ck_assert(endpoint_equal(&info.endpoint, &sim.hosts[0].address));
}
END_TEST

START_TEST(wrong_inner_source_is_dropped)
{
    uint8_t packet[SIM_DATAGRAM];
    start_session();
    sim_connect(&sim, 1, 2); /* the address may be anyone's */
    size_t len = sim_make_packet(packet, 2, 1, 1, 100);
    ck_assert_int_eq(sim_send_bytes(&sim, 0, packet, len), WG_OUT_SEND);
    sim_run(&sim, SIM_MS(100));
    ck_assert_uint_eq(sim.hosts[1].delivered, 1);
    ck_assert_uint_eq(sim.hosts[1].dropped, 1);
}
END_TEST

START_TEST(malformed_datagrams_are_dropped)
{
    static const struct {
        size_t len;
        uint8_t head[4];
        bool handshake;
    } table[] = {
        {0, {4}, false},
        {3, {4}, false},
        {4, {4}, false},
        {31, {4}, false},
        {32, {4}, false},
        {148, {1}, true},
        {147, {1}, false},
        {149, {1}, false},
        {92, {2}, true},
        {91, {2}, false},
        {93, {2}, false},
        {64, {3}, true},
        {63, {3}, false},
        {65, {3}, false},
        {100, {0}, false},
        {100, {5}, false},
        {148, {1, 0, 0, 1}, false},
        {92, {2, 1}, false},
        {48, {4, 0, 1}, false},
    };
    start_session();
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        uint8_t bytes[256] = {0};
        struct wg_sink sink = sim_sink(&sim.hosts[1]);
        struct wg_inbound in = {.bytes = bytes, .len = table[i].len};
        memcpy(bytes, table[i].head, 4);
        in.from.remote = sim.hosts[0].address;
        wg_device_open(sim.hosts[1].dev, &in, 1, sim_time(&sim));
        ck_assert_int_eq(in.verdict, table[i].handshake ? WG_IN_HANDSHAKE : WG_IN_DROP);
        wg_device_handshake(sim.hosts[1].dev, bytes, table[i].len, &in.from, i % 2 == 0,
                            sim_time(&sim), &sink);
    }
    ck_assert_uint_eq(sim.hosts[1].sent.responses, 1);
    ck_assert_uint_eq(sim.hosts[1].sent.cookies, 0);
}
END_TEST

START_TEST(unroutable_packets_have_their_verdicts)
{
    uint8_t packet[SIM_DATAGRAM];
    sim_add_peer(&sim, 0, 2, false);
    ck_assert_int_eq(sim_send(&sim, 0, 2, 1, 100), WG_OUT_NO_ENDPOINT);
    ck_assert_int_eq(sim_send(&sim, 2, 0, 1, 100), WG_OUT_NO_PEER);
    size_t len = sim_make_packet(packet, 0, 1, 1, 100);
    packet[0] = 0x55;
    ck_assert_int_eq(sim_send_bytes(&sim, 0, packet, len), WG_OUT_DROP);
    packet[0] = 0x45;
    store_be16(packet + 2, 19); /* less than its header */
    ck_assert_int_eq(sim_send_bytes(&sim, 0, packet, len), WG_OUT_DROP);
    packet[0] = 0x65; /* IPv6 with a header cut short */
    ck_assert_int_eq(sim_send_bytes(&sim, 0, packet, 39), WG_OUT_DROP);
}
END_TEST

START_TEST(preshared_keys_must_match)
{
    sim_set_preshared_key(&sim, 0, 1, 7);
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, SIM_S(20));
    ck_assert_uint_eq(sim.hosts[1].delivered, 0);
    sim_set_preshared_key(&sim, 1, 0, 7);
    sim_run(&sim, SIM_S(6));
    assert_log(1, 1, 1);
    /* a change applies from the next handshake on */
    sim_set_preshared_key(&sim, 1, 0, 8);
    ck_assert_int_eq(sim_send(&sim, 0, 1, 2, 100), WG_OUT_SEND);
    sim_run(&sim, SIM_S(1));
    assert_log(1, 1, 2);
}
END_TEST

START_TEST(removed_peer_is_cut_off_at_once)
{
    start_session();
    sim_send(&sim, 0, 1, 2, 100);
    sim_remove_peer(&sim, 1, 0);
    sim_run(&sim, SIM_S(1));
    ck_assert_uint_eq(sim.hosts[1].delivered, 1);
    ck_assert_int_eq(sim_send(&sim, 1, 0, 3, 100), WG_OUT_NO_PEER);
    ck_assert_uint_eq(wg_device_deadline(sim.hosts[1].dev), WG_NEVER);
    sim_add_peer(&sim, 1, 0, true);
    sim_run(&sim, SIM_S(20)); /* the sender notices that no answer comes */
    sim_send(&sim, 0, 1, 4, 100);
    sim_run(&sim, SIM_S(20));
    ck_assert_uint_eq(sim.hosts[1].log[1], 4);
}
END_TEST

START_TEST(under_load_a_cookie_is_asked_for)
{
    sim.hosts[1].under_load = true;
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, SIM_S(1));
    ck_assert_uint_eq(sim.hosts[1].sent.cookies, 1);
    ck_assert_uint_eq(sim.hosts[1].sent.responses, 0);
    sim_run(&sim, SIM_S(5));
    ck_assert_uint_eq(sim.hosts[1].sent.responses, 1);
    assert_log(1, 1, 1);
    ck_assert_uint_eq(sim.hosts[0].sent.initiations, 2);
}
END_TEST

START_TEST(device_that_is_down_is_silent)
{
    struct wg_sink sink = sim_sink(&sim.hosts[0]);
    start_session();
    wg_device_set_up(sim.hosts[0].dev, false, sim_time(&sim), &sink);
    forget_counts();
    ck_assert_int_eq(sim_send(&sim, 0, 1, 2, 100), WG_OUT_DROP);
    sim_send(&sim, 1, 0, 2, 100);
    sim_run(&sim, SIM_S(200));
    ck_assert_uint_eq(sim.hosts[0].sent.last_ns, 0);
    ck_assert_uint_eq(sim.hosts[0].delivered, 0);
    wg_device_set_up(sim.hosts[0].dev, true, sim_time(&sim), &sink);
    sim_send(&sim, 0, 1, 3, 100);
    sim_run(&sim, SIM_S(7));
    ck_assert_uint_eq(sim.hosts[1].log[0], 3);
}
END_TEST

/* The other side keeps a session that only it still has. */
START_TEST(device_that_was_down_begins_again)
{
    struct wg_sink sink = sim_sink(&sim.hosts[0]);
    start_session();
    wg_device_set_up(sim.hosts[0].dev, false, sim_time(&sim), &sink);
    wg_device_reinitiate(sim.hosts[0].dev, sim_time(&sim), &sink);
    forget_counts();
    sim_run(&sim, SIM_S(7));
    ck_assert_uint_eq(sim.hosts[0].sent.last_ns, 0); /* still down */
    wg_device_set_up(sim.hosts[0].dev, true, sim_time(&sim), &sink);
    sim_run(&sim, SIM_MS(100));
    ck_assert_uint_eq(sim.hosts[0].sent.initiations, 1);
    ck_assert_int_eq(sim_send(&sim, 1, 0, 4, 100), WG_OUT_SEND);
    sim_run(&sim, SIM_MS(100));
    assert_log(0, 4, 1);
    /* a living session needs nothing, and a peer not heard of for long is left alone */
    wg_device_reinitiate(sim.hosts[0].dev, sim_time(&sim), &sink);
    sim_run(&sim, SIM_S(7));
    ck_assert_uint_eq(sim.hosts[0].sent.initiations, 1);
    sim_run(&sim, SIM_S(3600));
    forget_counts();
    wg_device_reinitiate(sim.hosts[0].dev, sim_time(&sim), &sink);
    sim_run(&sim, SIM_S(7));
    ck_assert_uint_eq(sim.hosts[0].sent.initiations, 0);
}
END_TEST

START_TEST(ecn_goes_out_and_comes_in)
{
    /* inner, outer, result; 4: dropped */
    static const uint8_t table[][3] = {
        {0, 0, 0}, {0, 1, 0}, {0, 2, 0}, {0, 3, 4}, {1, 0, 1}, {1, 1, 1}, {1, 2, 1}, {1, 3, 3},
        {2, 0, 2}, {2, 1, 1}, {2, 2, 2}, {2, 3, 3}, {3, 0, 3}, {3, 1, 3}, {3, 2, 3}, {3, 3, 3},
    };
    static const uint16_t sums[] = {0x1234, 0, 1, 0xfffe, 0xffff};
    start_session();
    for (size_t i = 0; i < 2 * ARRAY_LEN(table) * ARRAY_LEN(sums); i++) {
        const uint8_t *row = table[i / 2 % ARRAY_LEN(table)];
        uint16_t sum = sums[i / 2 / ARRAY_LEN(table)];
        bool v6 = i % 2 != 0;
        struct sim_datagram datagram = {.from = sim.hosts[0].address, .to = sim.hosts[1].address};
        uint8_t packet[SIM_DATAGRAM] = {0};
        struct wg_outbound out = {.plain = packet, .sealed = datagram.bytes};
        out.len = sim_make_packet(packet, 0, 1, 1, 100);
        packet[1] = 0xb8 | row[0];
        store_be16(packet + 10, sum);
        if (v6) {
            memset(packet, 0, sizeof packet);
            store_be32(packet, UINT32_C(0x6b8abcde) | (uint32_t)row[0] << 20);
            packet[5] = 60;
            packet[8] = packet[24] = 0xfd;
            packet[23] = 1;
            packet[39] = 2;
        }
        wg_device_seal(sim.hosts[0].dev, &out, 1, sim_time(&sim));
        ck_assert_int_eq(out.verdict, WG_OUT_SEND);
        ck_assert_uint_eq(out.ds, row[0]); /* and nothing of the DSCP */
        datagram.len = out.sealed_len;
        datagram.ds = 0xb8 | row[1];
        forget_counts();
        sim_deliver(&sim, &datagram);
        ck_assert_uint_eq(sim.hosts[1].delivered, row[2] < 4);
        const uint8_t *got = sim.hosts[1].last_packet;
        if (row[2] > 3)
            continue;
        if (v6) {
            ck_assert_uint_eq(load_be32(got), UINT32_C(0x6b8abcde) | (uint32_t)row[2] << 20);
            continue;
        }
        ck_assert_uint_eq(got[1], 0xb8 | row[2]);
        /* the sum over the words has changed by as much as the checksum, the other way round */
        uint32_t before = (uint32_t)load_be16(packet) + sum;
        uint32_t after = (uint32_t)load_be16(got) + load_be16(got + 10);
        ck_assert_uint_eq(after % 0xffff, before % 0xffff);
    }
}
END_TEST

START_TEST(handshakes_are_marked)
{
    static struct sim_datagram copy;
    sim.filter = record;
    sim.filter_ctx = &copy;
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, 0);
    ck_assert_uint_eq(sim.queued, 1);
    ck_assert_uint_eq(sim.queue[0]->ds, 0x88);
    sim_run(&sim, SIM_MS(100));
    ck_assert_uint_eq(copy.ds, 0);
}
END_TEST

START_TEST(both_may_start_at_once)
{
    sim_send(&sim, 0, 1, 1, 100);
    sim_send(&sim, 1, 0, 2, 100);
    sim_run(&sim, SIM_S(7));
    assert_log(1, 1, 1);
    assert_log(0, 2, 1);
}
END_TEST

START_TEST(batches_of_many_peers_and_sizes)
{
    enum { COUNT = 50 };
    static uint8_t packets[COUNT][SIM_DATAGRAM];
    static uint8_t sealed[COUNT][SIM_DATAGRAM];
    struct wg_outbound out[COUNT];
    struct wg_inbound in[COUNT];
    sim_connect(&sim, 0, 2);
    start_session();
    sim_send(&sim, 0, 2, 1, 100);
    sim_run(&sim, SIM_MS(100));
    for (uint32_t i = 0; i < COUNT; i++) {
        int to = i % 3 == 0 ? 2 : 1;
        out[i] = (struct wg_outbound){.plain = packets[i], .sealed = sealed[i]};
        out[i].len = sim_make_packet(packets[i], 0, to, i, 24 + i * 20);
    }
    wg_device_seal(sim.hosts[0].dev, out, COUNT, sim_time(&sim));
    for (int host = 1; host <= 2; host++) {
        for (size_t i = 0; i < COUNT; i++) {
            in[i] = (struct wg_inbound){.bytes = sealed[i], .len = out[i].sealed_len};
            in[i].from.remote = sim.hosts[0].address;
        }
        wg_device_open(sim.hosts[host].dev, in, COUNT, sim_time(&sim));
        for (size_t i = 0; i < COUNT; i++) {
            bool mine = (i % 3 == 0) == (host == 2);
            ck_assert_int_eq(out[i].verdict, WG_OUT_SEND);
            ck_assert_int_eq(in[i].verdict, mine ? WG_IN_DELIVER : WG_IN_DROP);
            if (mine)
                ck_assert_mem_eq(in[i].plain, packets[i], out[i].len);
        }
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("device");
    tcase_add_checked_fixture(tc, setup_pair, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, first_ping_goes_both_ways);
    tcase_add_test(tc, staged_packets_keep_their_order);
    tcase_add_test(tc, oldest_of_129_staged_goes);
    tcase_add_test(tc, responder_waits_for_confirmation);
    tcase_add_test(tc, nothing_passes_what_is_staged);
    tcase_add_test(tc, counters_count_whole_datagrams);
    tcase_add_test(tc, padding_is_capped_at_the_mtu);
    tcase_add_test(tc, endpoint_follows_a_peer_that_roams);
    tcase_add_test(tc, replayed_datagrams_are_dropped_and_do_not_roam);
    tcase_add_test(tc, wrong_inner_source_is_dropped);
    tcase_add_test(tc, malformed_datagrams_are_dropped);
    tcase_add_test(tc, unroutable_packets_have_their_verdicts);
    tcase_add_test(tc, preshared_keys_must_match);
    tcase_add_test(tc, removed_peer_is_cut_off_at_once);
    tcase_add_test(tc, under_load_a_cookie_is_asked_for);
    tcase_add_test(tc, device_that_is_down_is_silent);
    tcase_add_test(tc, device_that_was_down_begins_again);
    tcase_add_test(tc, ecn_goes_out_and_comes_in);
    tcase_add_test(tc, handshakes_are_marked);
    tcase_add_test(tc, both_may_start_at_once);
    tcase_add_test(tc, batches_of_many_peers_and_sizes);
    return unit_run(tc);
}
