#include "wg/wg.h"

#include "base/bytes.h"
#include "tests/wg/device_fixture.h"
#include "wg/device.h" /* to see that keys are gone */

#include <stdatomic.h>
#include <string.h>

/* What the device does unprompted, and when: keepalives, handshakes, ends. */

START_TEST(keepalive_answers_data_after_10_s)
{
    start_session();
    forget_counts();
    sim_run(&sim, SIM_MS(9900));
    ck_assert_uint_eq(sim.hosts[1].sent.empty, 0);
    sim_run(&sim, SIM_MS(200));
    ck_assert_uint_eq(sim.hosts[1].sent.empty, 1);
    sim_run(&sim, SIM_S(60));
    ck_assert_uint_eq(sim.hosts[1].sent.empty, 1);
    ck_assert_uint_eq(sim.hosts[0].sent.empty, 0);
    ck_assert_uint_eq(sim.hosts[0].sent.initiations, 0);
}
END_TEST

START_TEST(no_keepalive_when_data_was_sent)
{
    start_session();
    ck_assert_int_eq(sim_send(&sim, 1, 0, 1, 100), WG_OUT_SEND);
    sim_run(&sim, SIM_MS(100));
    forget_counts();
    sim_run(&sim, SIM_S(5));
    sim_send(&sim, 0, 1, 2, 100);
    sim_run(&sim, SIM_S(6));
    ck_assert_uint_eq(sim.hosts[0].sent.empty, 0);
    ck_assert_uint_eq(sim.hosts[1].sent.empty, 0);
    sim_run(&sim, SIM_S(5));
    ck_assert_uint_eq(sim.hosts[1].sent.empty, 1);
}
END_TEST

static bool lose_all(struct sim *s, struct sim_datagram *datagram)
{
    (void)s;
    (void)datagram;
    return false;
}

START_TEST(unanswered_data_starts_a_handshake_after_15_s)
{
    start_session();
    forget_counts();
    sim.filter = lose_all;
    sim_send(&sim, 0, 1, 2, 100);
    sim_run(&sim, SIM_MS(14900));
    ck_assert_uint_eq(sim.hosts[0].sent.initiations, 0);
    sim_run(&sim, SIM_MS(200));
    ck_assert_uint_eq(sim.hosts[0].sent.initiations, 1);
}
END_TEST

START_TEST(initiations_are_repeated_for_90_s)
{
    sim.filter = lose_all;
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, SIM_MS(1));
    uint64_t last = sim.hosts[0].sent.last_ns;
    for (unsigned i = 1; i < 18; i++) {
        ck_assert_uint_eq(sim.hosts[0].sent.initiations, i);
        sim_run(&sim, last + SIM_MS(4999) - sim.now);
        ck_assert_uint_eq(sim.hosts[0].sent.initiations, i);
        sim_run(&sim, last + SIM_MS(5334) - sim.now);
        ck_assert_uint_eq(sim.hosts[0].sent.initiations, i + 1);
        last = sim.hosts[0].sent.last_ns;
    }
    sim_run(&sim, SIM_S(400));
    ck_assert_uint_eq(sim.hosts[0].sent.initiations, 18);
    /* what was staged is gone: only a new packet gets through */
    sim.filter = NULL;
    sim_run(&sim, SIM_S(1));
    sim_send(&sim, 0, 1, 2, 100);
    sim_run(&sim, SIM_S(1));
    assert_log(1, 2, 1);
}
END_TEST

START_TEST(user_packets_prolong_the_attempts)
{
    sim.filter = lose_all;
    for (int i = 0; i < 40; i++) {
        sim_send(&sim, 0, 1, 1, 100);
        sim_run(&sim, SIM_S(5));
    }
    ck_assert_uint_ge(sim.hosts[0].sent.initiations, 36);
    sim.filter = NULL;
    sim_run(&sim, SIM_S(6));
    ck_assert_uint_eq(sim.hosts[1].delivered, 40);
}
END_TEST

START_TEST(initiator_renews_under_traffic_without_loss)
{
    uint32_t number = 0;
    start_session();
    forget_counts();
    for (; number < 3000; number++) { /* 300 s */
        sim_send(&sim, 0, 1, number, 100);
        sim_send(&sim, 1, 0, number, 100);
        sim_run(&sim, SIM_MS(100));
    }
    assert_log(0, 0, number);
    assert_log(1, 0, number);
    ck_assert_uint_eq(sim.hosts[0].sent.initiations, 2);
    ck_assert_uint_eq(sim.hosts[1].sent.initiations, 0);
    ck_assert_uint_eq(sim.hosts[0].sent.empty + sim.hosts[1].sent.empty, 2);
}
END_TEST

START_TEST(responder_does_not_renew_on_sending)
{
    start_session();
    forget_counts();
    for (int i = 0; i < 160; i++) {
        ck_assert_int_eq(sim_send(&sim, 1, 0, 1, 100), WG_OUT_SEND);
        sim_run(&sim, SIM_S(1));
    }
    ck_assert_uint_eq(sim.hosts[1].sent.initiations, 0);
}
END_TEST

START_TEST(initiator_renews_on_receiving_after_165_s)
{
    start_session();
    forget_counts();
    sim_run(&sim, SIM_S(90));
    /* its keepalives count as sending, which renews after 120 s: let none be due */
    for (int i = 0; i < 7; i++) {
        ck_assert_int_eq(sim_send(&sim, 1, 0, 1, 100), WG_OUT_SEND);
        sim_run(&sim, SIM_MS(100));
        if (i == 0)
            sim_run(&sim, SIM_S(74) + SIM_MS(500));
    }
    ck_assert_uint_eq(sim.hosts[0].sent.initiations, 1);
}
END_TEST

START_TEST(sessions_end_after_180_s)
{
    start_session();
    forget_counts();
    sim.hosts[0].under_load = false;
    sim_run(&sim, SIM_S(179) - SIM_MS(200));
    ck_assert_int_eq(sim_send(&sim, 1, 0, 5, 100), WG_OUT_SEND);
    sim_run(&sim, SIM_S(5));
    forget_counts();
    /* the initiator has renewed on that packet; remove the new session */
    sim_run(&sim, SIM_S(181));
    ck_assert_int_eq(sim_send(&sim, 1, 0, 6, 100), WG_OUT_STAGED);
    ck_assert_int_eq(sim_send(&sim, 0, 1, 6, 100), WG_OUT_STAGED);
}
END_TEST

START_TEST(old_sessions_receive_nothing_after_180_s)
{
    uint8_t packet[SIM_DATAGRAM];
    struct sim_datagram late = {0};
    start_session();
    struct wg_outbound out = {.plain = packet, .sealed = late.bytes};
    out.len = sim_make_packet(packet, 0, 1, 9, 100);
    wg_device_seal(sim.hosts[0].dev, &out, 1, sim_time(&sim));
    late.from = sim.hosts[0].address;
    late.to = sim.hosts[1].address;
    late.len = out.sealed_len;
    forget_counts();
    sim.filter = lose_all;
    sim_run(&sim, SIM_S(180));
    sim_deliver(&sim, &late);
    ck_assert_uint_eq(sim.hosts[1].delivered, 0);
    ck_assert_uint_eq(sim.hosts[1].dropped, 1);
}
END_TEST

START_TEST(idle_devices_wake_for_nothing)
{
    start_session();
    sim_run(&sim, SIM_S(20));
    forget_counts();
    sim_run(&sim, SIM_S(500));
    ck_assert_uint_eq(sim.hosts[0].runs + sim.hosts[1].runs, 0);
    sim_run(&sim, SIM_S(60)); /* 540 s: wiped once */
    ck_assert_uint_eq(sim.hosts[0].runs, 1);
    ck_assert_uint_eq(wg_device_deadline(sim.hosts[0].dev), WG_NEVER);
    ck_assert_uint_eq(wg_device_deadline(sim.hosts[1].dev), WG_NEVER);
}
END_TEST

START_TEST(keys_are_wiped_after_540_s)
{
    start_session();
    for (int i = 0; i < 2; i++) {
        struct wg_device *dev = sim.hosts[i].dev;
        struct wg_peer *peer = list_first(&dev->peers, struct wg_peer, place);
        struct keypair *keypair = atomic_load(&peer->keypairs.current);
        ck_assert_ptr_nonnull(keypair);
        ck_assert_uint_eq(dev->indices.live, 1);
        ck_assert_ptr_eq(index_lookup(&dev->indices, keypair->local_index), keypair);
    }
    sim_run(&sim, SIM_S(539));
    ck_assert_uint_eq(sim.hosts[0].dev->indices.live, 1);
    sim_run(&sim, SIM_S(1));
    for (int i = 0; i < 2; i++) {
        struct wg_device *dev = sim.hosts[i].dev;
        struct wg_peer *peer = list_first(&dev->peers, struct wg_peer, place);
        ck_assert_ptr_null(atomic_load(&peer->keypairs.current));
        ck_assert_ptr_null(atomic_load(&peer->keypairs.previous));
        ck_assert_ptr_null(atomic_load(&peer->keypairs.next));
        ck_assert_uint_eq(dev->indices.live, 0);
        ck_assert(bytes_is_zero_ct(&peer->noise.handshake, sizeof peer->noise.handshake));
    }
}
END_TEST

START_TEST(abandoned_handshakes_are_wiped)
{
    struct wg_device *dev = sim.hosts[0].dev;
    struct wg_peer *peer = list_first(&dev->peers, struct wg_peer, place);
    sim.filter = lose_all;
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, SIM_S(100));
    ck_assert(!bytes_is_zero_ct(&peer->noise.handshake, sizeof peer->noise.handshake));
    ck_assert_uint_eq(dev->indices.live, 1);
    sim_run(&sim, SIM_S(540));
    ck_assert(bytes_is_zero_ct(&peer->noise.handshake, sizeof peer->noise.handshake));
    ck_assert_uint_eq(dev->indices.live, 0);
}
END_TEST

START_TEST(idle_peers_are_small)
{
    ck_assert_uint_le(sizeof(struct wg_peer), 1024);
}
END_TEST

START_TEST(traffic_causes_few_wake_ups)
{
    start_session();
    forget_counts();
    for (uint32_t i = 0; i < 1000; i++) { /* 50 s of ping-pong */
        sim_send(&sim, 0, 1, i, 100);
        sim_run(&sim, SIM_MS(25));
        sim_send(&sim, 1, 0, i, 100);
        sim_run(&sim, SIM_MS(25));
    }
    ck_assert_uint_lt(sim.hosts[0].runs, 20);
    ck_assert_uint_lt(sim.hosts[1].runs, 20);
}
END_TEST

START_TEST(persistent_keepalive_starts_at_once_and_goes_on)
{
    sim_set_keepalive(&sim, 0, 1, 25);
    sim_run(&sim, SIM_MS(100));
    ck_assert_uint_eq(sim.hosts[0].sent.initiations, 1);
    ck_assert_uint_eq(sim.hosts[0].sent.empty, 1);
    sim_run(&sim, SIM_MS(24800));
    ck_assert_uint_eq(sim.hosts[0].sent.empty, 1);
    sim_run(&sim, SIM_MS(300));
    ck_assert_uint_eq(sim.hosts[0].sent.empty, 2);
    sim_run(&sim, SIM_S(20));
    sim_send(&sim, 0, 1, 1, 100); /* any traffic puts it off */
    sim_run(&sim, SIM_S(8));
    ck_assert_uint_eq(sim.hosts[0].sent.empty, 2);
    sim_run(&sim, SIM_S(600));
    ck_assert_uint_ge(sim.hosts[0].sent.empty, 20);
    ck_assert_uint_ge(sim.hosts[0].sent.initiations, 4);
}
END_TEST

START_TEST(persistent_keepalive_waits_for_link_and_key)
{
    struct sim_host *host = &sim.hosts[0];
    struct wg_sink sink = sim_sink(host);
    struct wg_device_config config = {.has_private_key = true};
    wg_device_set_up(host->dev, false, sim_time(&sim), &sink);
    sim_configure(&sim, 0, &config); /* no key */
    sim_set_keepalive(&sim, 0, 1, 25);
    sim_run(&sim, SIM_S(100));
    ck_assert_uint_eq(sim_info(&sim, 0, 1).tx_bytes, 0);
    wg_device_set_up(host->dev, true, sim_time(&sim), &sink);
    sim_run(&sim, SIM_S(100));
    ck_assert_uint_eq(sim_info(&sim, 0, 1).tx_bytes, 0);
    memcpy(config.private_key, host->private_key, WG_KEY_LEN);
    sim_configure(&sim, 0, &config);
    sim_run(&sim, SIM_MS(100));
    ck_assert_uint_eq(sim_info(&sim, 0, 1).tx_bytes, 148 + 32);
}
END_TEST

START_TEST(sleep_ends_sessions)
{
    start_session();
    sim.now += SIM_S(3600); /* nobody ran meanwhile */
    forget_counts();
    ck_assert_int_eq(sim_send(&sim, 0, 1, 5, 100), WG_OUT_STAGED);
    sim_run(&sim, SIM_MS(100));
    assert_log(1, 5, 1);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("device_timers");
    tcase_add_checked_fixture(tc, setup_pair, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, keepalive_answers_data_after_10_s);
    tcase_add_test(tc, no_keepalive_when_data_was_sent);
    tcase_add_test(tc, unanswered_data_starts_a_handshake_after_15_s);
    tcase_add_test(tc, initiations_are_repeated_for_90_s);
    tcase_add_test(tc, user_packets_prolong_the_attempts);
    tcase_add_test(tc, initiator_renews_under_traffic_without_loss);
    tcase_add_test(tc, responder_does_not_renew_on_sending);
    tcase_add_test(tc, initiator_renews_on_receiving_after_165_s);
    tcase_add_test(tc, sessions_end_after_180_s);
    tcase_add_test(tc, old_sessions_receive_nothing_after_180_s);
    tcase_add_test(tc, idle_devices_wake_for_nothing);
    tcase_add_test(tc, keys_are_wiped_after_540_s);
    tcase_add_test(tc, abandoned_handshakes_are_wiped);
    tcase_add_test(tc, idle_peers_are_small);
    tcase_add_test(tc, traffic_causes_few_wake_ups);
    tcase_add_test(tc, persistent_keepalive_starts_at_once_and_goes_on);
    tcase_add_test(tc, persistent_keepalive_waits_for_link_and_key);
    tcase_add_test(tc, sleep_ends_sessions);
    return unit_run(tc);
}
