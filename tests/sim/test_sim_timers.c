#include "tests/unit.h"
#include "tests/wg/harness.h"
#include "wg/device.h" /* to see when keys go */

#include <stdatomic.h>
#include <string.h>

/* The times of the paper's section 6, to the nanosecond of the virtual clock. Host 0 initiates.
 * Messages are noted as they leave, even when they are then lost. */

enum { INITIATION = 1, RESPONSE = 2, DATA = 4, EMPTY = 5, MAX_NOTES = 4096 };

struct note {
    uint64_t at;
    int host;
    int type;
};

static struct sim sim;
static struct note notes[MAX_NOTES];
static size_t note_count;
static bool is_lossy;
static uint64_t born[2]; /* when the session began, at each host */

static bool take_note(struct sim *s, struct sim_datagram *datagram)
{
    int type = datagram->bytes[0];
    int host = endpoint_equal(&datagram->from, &s->hosts[0].address) ? 0 : 1;
    if (type == DATA && datagram->len == WG_DATA_OVERHEAD)
        type = EMPTY;
    ck_assert_uint_lt(note_count, MAX_NOTES);
    notes[note_count++] = (struct note){s->now, host, type};
    return !is_lossy;
}

static size_t count_notes(int host, int type)
{
    size_t count = 0;
    for (size_t i = 0; i < note_count; i++)
        count += notes[i].host == host && notes[i].type == type;
    return count;
}

/* When the host sent its message `number` (from 0) of the type. */
static uint64_t time_of(int host, int type, size_t number)
{
    for (size_t i = 0; i < note_count; i++) {
        if (notes[i].host == host && notes[i].type == type && number-- == 0)
            return notes[i].at;
    }
    ck_abort_msg("host %d has not sent that many messages of type %d", host, type);
    return 0;
}

static void setup(void)
{
    sim_init(&sim, 11);
    sim_connect(&sim, 0, 1);
    sim.filter = take_note;
    note_count = 0;
    is_lossy = false;
}

static void teardown(void)
{
    sim_fini(&sim);
}

/* Exchanges packets until nothing is owed or unanswered. The responder's session begins when the
 * initiation arrives, the initiator's with the response. */
static void start_session(void)
{
    uint64_t start = sim.now;
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, 3 * SIM_DELAY);
    sim_send(&sim, 1, 0, 1, 100);
    sim_run(&sim, SIM_DELAY);
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, SIM_DELAY);
    sim_send(&sim, 1, 0, 1, 100);
    sim_run(&sim, SIM_DELAY);
    ck_assert_uint_eq(sim.hosts[1].delivered, 2);
    ck_assert_uint_eq(sim.hosts[0].delivered, 2);
    born[1] = start + SIM_DELAY;
    born[0] = start + 2 * SIM_DELAY;
    note_count = 0;
}

static void run_until(uint64_t at)
{
    ck_assert_uint_ge(at, sim.now);
    sim_run(&sim, at - sim.now);
}

START_TEST(initiator_rekeys_120_s_after_its_session_began)
{
    start_session();
    run_until(born[0] + SIM_S(120) - 1);
    sim_send(&sim, 0, 1, 2, 100);
    sim_run(&sim, 0);
    ck_assert_uint_eq(count_notes(0, INITIATION), 0);
    run_until(born[0] + SIM_S(120));
    sim_send(&sim, 0, 1, 3, 100);
    sim_run(&sim, 0);
    ck_assert_uint_eq(time_of(0, INITIATION, 0), born[0] + SIM_S(120));
}
END_TEST

START_TEST(responder_never_rekeys_on_sending)
{
    start_session();
    run_until(born[1] + SIM_S(180) - SIM_S(14));
    is_lossy = true; /* so that the other side does not renew */
    sim_send(&sim, 1, 0, 2, 100);
    run_until(born[1] + SIM_S(180) - 1);
    ck_assert_uint_eq(count_notes(1, INITIATION), 0);
}
END_TEST

START_TEST(initiator_rekeys_165_s_after_on_receiving)
{
    start_session();
    run_until(born[0] + SIM_S(165) - 1 - SIM_DELAY);
    sim_send(&sim, 1, 0, 2, 100);
    run_until(born[0] + SIM_S(165) - 1);
    ck_assert_uint_eq(sim.hosts[0].delivered, 3);
    ck_assert_uint_eq(count_notes(0, INITIATION), 0);
    sim.now -= SIM_DELAY - 1; /* one more, which arrives a nanosecond later */
    sim_send(&sim, 1, 0, 3, 100);
    sim.now += SIM_DELAY - 1;
    sim_run(&sim, 1);
    ck_assert_uint_eq(sim.hosts[0].delivered, 4);
    ck_assert_uint_eq(time_of(0, INITIATION, 0), born[0] + SIM_S(165));
    is_lossy = true;
    sim_run(&sim, SIM_S(4));
    ck_assert_uint_eq(count_notes(0, INITIATION), 1);
}
END_TEST

START_TEST(nothing_is_sent_or_received_180_s_after)
{
    int at = _i;
    start_session();
    is_lossy = true;
    run_until(born[at] + SIM_S(180) - 1);
    ck_assert_int_eq(sim_send(&sim, at, 1 - at, 2, 100), WG_OUT_SEND);
    run_until(born[at] + SIM_S(180));
    ck_assert_int_eq(sim_send(&sim, at, 1 - at, 3, 100), WG_OUT_STAGED);
}
END_TEST

START_TEST(late_datagrams_are_refused_from_180_s_on)
{
    static const uint64_t before[] = {1, 0};
    start_session();
    run_until(born[1] + SIM_S(180) - before[_i] - SIM_DELAY);
    sim_send(&sim, 0, 1, 9, 100);
    is_lossy = true;
    sim_run(&sim, SIM_DELAY);
    ck_assert_uint_eq(sim.hosts[1].delivered, _i == 0 ? 3 : 2);
}
END_TEST

START_TEST(passive_keepalive_10_s_after_unanswered_receipt)
{
    start_session();
    run_until(sim.now + SIM_S(20));
    uint64_t arrival = sim.now + SIM_DELAY;
    sim_send(&sim, 0, 1, 2, 100);
    sim_run(&sim, SIM_S(60));
    ck_assert_uint_eq(time_of(1, EMPTY, 0), arrival + SIM_S(10));
    ck_assert_uint_eq(count_notes(1, EMPTY), 1);
    ck_assert_uint_eq(count_notes(0, INITIATION), 0);
}
END_TEST

START_TEST(new_handshake_15_s_after_unanswered_data)
{
    start_session();
    run_until(sim.now + SIM_S(20));
    note_count = 0;
    is_lossy = true;
    uint64_t sent = sim.now;
    sim_send(&sim, _i, 1 - _i, 2, 100);
    run_until(sent + SIM_S(7));
    sim_send(&sim, _i, 1 - _i, 3, 100); /* the first one counts */
    run_until(sent + SIM_S(16));
    ck_assert_uint_eq(time_of(_i, INITIATION, 0), sent + SIM_S(15));
}
END_TEST

START_TEST(handshake_is_retried_18_times_within_90_s_with_jitter)
{
    uint64_t jitters = 0;
    is_lossy = true;
    uint64_t start = sim.now;
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, SIM_S(700));
    ck_assert_uint_eq(count_notes(0, INITIATION), 18);
    ck_assert_uint_eq(time_of(0, INITIATION, 0), start);
    for (size_t i = 1; i < 18; i++) {
        uint64_t pause = time_of(0, INITIATION, i) - time_of(0, INITIATION, i - 1);
        ck_assert_uint_ge(pause, SIM_S(5));
        ck_assert_uint_le(pause, SIM_MS(5333));
        ck_assert_uint_eq(pause % SIM_MS(1), 0);
        jitters |= UINT64_C(1) << (pause - SIM_S(5)) / SIM_MS(6);
    }
    ck_assert_int_ge(__builtin_popcountll(jitters), 8); /* it is not always the same */
}
END_TEST

START_TEST(initiations_are_5_s_apart)
{
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, SIM_MS(100));
    uint64_t first = time_of(0, INITIATION, 0);
    sim_restart(&sim, 1); /* gone, so that the next handshake is wanted at once */
    sim_set_up(&sim, 0, false);
    sim_set_up(&sim, 0, true);
    sim_send(&sim, 0, 1, 2, 100);
    sim_run(&sim, 0);
    /* a device that was down has forgotten this too */
    uint64_t second = time_of(0, INITIATION, 1);
    ck_assert_uint_ge(second, first);
    for (int i = 0; i < 50; i++) {
        sim_send(&sim, 0, 1, 2, 100);
        sim_run(&sim, SIM_MS(99));
    }
    ck_assert_uint_eq(count_notes(0, INITIATION), 2);
}
END_TEST

START_TEST(keys_are_wiped_at_540_s)
{
    start_session();
    for (int host = 1; host >= 0; host--) {
        struct wg_device *dev = sim.hosts[host].dev;
        struct wg_peer *peer = list_first(&dev->peers, struct wg_peer, place);
        run_until(born[host] + SIM_S(540) - 1);
        ck_assert_ptr_nonnull(atomic_load(&peer->keypairs.current));
        ck_assert_uint_eq(dev->indices.live, 1);
        run_until(born[host] + SIM_S(540));
        ck_assert_ptr_null(atomic_load(&peer->keypairs.current));
        ck_assert_uint_eq(dev->indices.live, 0);
        ck_assert_uint_eq(wg_device_deadline(dev), WG_NEVER);
    }
}
END_TEST

START_TEST(persistent_keepalive_follows_the_last_traffic)
{
    start_session();
    sim_set_keepalive(&sim, 0, 1, 25);
    sim_run(&sim, 0);
    uint64_t last = sim.now;
    ck_assert_uint_eq(time_of(0, EMPTY, 0), last); /* set now, due now */
    sim_run(&sim, SIM_S(25));
    ck_assert_uint_eq(time_of(0, EMPTY, 1), last + SIM_S(25));
    run_until(last + SIM_S(40));
    sim_send(&sim, 0, 1, 2, 100);
    sim_run(&sim, SIM_S(2)); /* the acknowledgement 10 s later is traffic too */
    uint64_t answer = last + SIM_S(40) + 2 * SIM_DELAY + SIM_S(10);
    run_until(answer + SIM_S(25));
    ck_assert_uint_eq(time_of(0, EMPTY, 2), answer + SIM_S(25));
}
END_TEST

START_TEST(sleeper_renews_at_its_first_packet)
{
    start_session();
    sim.hosts[0].is_asleep = true;
    run_until(sim.now + SIM_S(3600));
    sim.hosts[0].is_asleep = false;
    note_count = 0;
    uint64_t woken = sim.now;
    ck_assert_int_eq(sim_send(&sim, 0, 1, 7, 100), WG_OUT_STAGED);
    sim_run(&sim, SIM_S(1));
    ck_assert_uint_eq(time_of(0, INITIATION, 0), woken);
    ck_assert_uint_eq(sim.hosts[1].delivered, 3);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("sim timers");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, initiator_rekeys_120_s_after_its_session_began);
    tcase_add_test(tc, responder_never_rekeys_on_sending);
    tcase_add_test(tc, initiator_rekeys_165_s_after_on_receiving);
    tcase_add_loop_test(tc, nothing_is_sent_or_received_180_s_after, 0, 2);
    tcase_add_loop_test(tc, late_datagrams_are_refused_from_180_s_on, 0, 2);
    tcase_add_test(tc, passive_keepalive_10_s_after_unanswered_receipt);
    tcase_add_loop_test(tc, new_handshake_15_s_after_unanswered_data, 0, 2);
    tcase_add_test(tc, handshake_is_retried_18_times_within_90_s_with_jitter);
    tcase_add_test(tc, initiations_are_5_s_apart);
    tcase_add_test(tc, keys_are_wiped_at_540_s);
    tcase_add_test(tc, persistent_keepalive_follows_the_last_traffic);
    tcase_add_test(tc, sleeper_renews_at_its_first_packet);
    return unit_run(tc);
}
