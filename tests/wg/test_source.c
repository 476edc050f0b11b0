#include "tests/unit.h"
#include "tests/wg/harness.h"

#include <string.h>

/* Which of our addresses a peer spoke to: learned from each authentic packet, given up on review.
 */

static struct sim sim;

static void setup(void)
{
    sim_init(&sim, 1);
    sim_connect(&sim, 0, 1);
    sim_connect(&sim, 2, 1);
}

static void teardown(void)
{
    sim_fini(&sim);
}

/* What host 1 would send to host `to` leaves from. */
static struct wg_endpoint way_to(int to)
{
    static uint8_t sealed[SIM_DATAGRAM];
    uint8_t packet[SIM_DATAGRAM];
    struct wg_outbound out = {.plain = packet, .sealed = sealed};
    out.len = sim_make_packet(packet, 1, to, 7, 100);
    wg_device_seal(sim.hosts[1].dev, &out, 1, sim_host_time(&sim.hosts[1]));
    ck_assert_int_eq(out.verdict, WG_OUT_SEND);
    return out.endpoint;
}

/* Host `from` speaks to the address 198.51.100.N of host 1. */
static void speak(int from, uint8_t n)
{
    static uint8_t sealed[SIM_DATAGRAM];
    uint8_t packet[SIM_DATAGRAM];
    struct wg_outbound out = {.plain = packet, .sealed = sealed};
    out.len = sim_make_packet(packet, from, 1, 8, 100);
    wg_device_seal(sim.hosts[from].dev, &out, 1, sim_host_time(&sim.hosts[from]));
    ck_assert_int_eq(out.verdict, WG_OUT_SEND);
    struct wg_inbound in = {.bytes = sealed, .len = out.sealed_len};
    in.from.remote = sim.hosts[from].address;
    in.from.source = (struct ip_addr){.family = 4, .bytes = {198, 51, 100, n}};
    in.from.ifindex = 5;
    wg_device_open(sim.hosts[1].dev, &in, 1, sim_host_time(&sim.hosts[1]));
    ck_assert_int_eq(in.verdict, WG_IN_DELIVER);
}

static void start_sessions(void)
{
    for (int from = 0; from <= 2; from += 2)
        sim_send(&sim, from, 1, 1, 100);
    sim_run(&sim, SIM_MS(100));
}

static bool keep_even(void *ctx, const struct wg_endpoint *endpoint)
{
    ++*(unsigned *)ctx;
    return endpoint->source.bytes[3] % 2 == 0;
}

START_TEST(only_what_is_denied_is_given_up)
{
    start_sessions();
    unsigned asked = 0;
    speak(0, 20);
    speak(2, 21);
    ck_assert_uint_eq(way_to(0).source.bytes[3], 20);
    ck_assert_uint_eq(way_to(2).source.bytes[3], 21);
    wg_device_review_sources(sim.hosts[1].dev, keep_even, &asked);
    ck_assert_uint_eq(asked, 2);
    ck_assert_uint_eq(way_to(0).source.bytes[3], 20);
    struct wg_endpoint way = way_to(2);
    ck_assert_uint_eq(way.source.family, 0);
    ck_assert_uint_eq(way.ifindex, 0);
    ck_assert(endpoint_equal(&way.remote, &sim.hosts[2].address));
    wg_device_review_sources(sim.hosts[1].dev, keep_even, &asked);
    ck_assert_uint_eq(asked, 3); /* of the one that still has a source */
}
END_TEST

START_TEST(the_next_packet_brings_it_back)
{
    start_sessions();
    unsigned asked = 0;
    speak(2, 21);
    wg_device_review_sources(sim.hosts[1].dev, keep_even, &asked);
    speak(2, 23);
    ck_assert_uint_eq(way_to(2).source.bytes[3], 23);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("source");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, only_what_is_denied_is_given_up);
    tcase_add_test(tc, the_next_packet_brings_it_back);
    return unit_run(tc);
}
