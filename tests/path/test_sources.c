#include "wg/path/sources.h"

#include "tests/unit.h"
#include "tests/wg/harness.h"

#include <string.h>

/* Host 0 speaks to addresses of host 1, from which host 1 then answers. */

static struct sim sim;

static void setup(void)
{
    sim_init(&sim, 1);
    sim_connect(&sim, 0, 1);
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, SIM_MS(100));
}

static void teardown(void)
{
    sim_fini(&sim);
}

/* To the address 198.51.100.N of host 1. */
static void speak(uint8_t n)
{
    static uint8_t sealed[SIM_DATAGRAM];
    uint8_t packet[SIM_DATAGRAM];
    struct wg_outbound out = {.plain = packet, .sealed = sealed};
    out.len = sim_make_packet(packet, 0, 1, 8, 100);
    wg_device_seal(sim.hosts[0].dev, &out, 1, sim_time(&sim));
    struct wg_inbound in = {.bytes = sealed, .len = out.sealed_len};
    in.from.remote = sim.hosts[0].address;
    in.from.source = (struct ip_addr){.family = 4, .bytes = {198, 51, 100, n}};
    wg_device_open(sim.hosts[1].dev, &in, 1, sim_time(&sim));
    ck_assert_int_eq(in.verdict, WG_IN_DELIVER);
}

/* Where host 1 would send to host 0, and from where. */
static struct wg_endpoint way(void)
{
    static uint8_t sealed[SIM_DATAGRAM];
    uint8_t packet[SIM_DATAGRAM];
    struct wg_outbound out = {.plain = packet, .sealed = sealed};
    out.len = sim_make_packet(packet, 1, 0, 7, 100);
    wg_device_seal(sim.hosts[1].dev, &out, 1, sim_time(&sim));
    ck_assert_int_eq(out.verdict, WG_OUT_SEND);
    return out.endpoint;
}

START_TEST(only_the_refused_one_is_dropped)
{
    speak(20);
    struct wg_endpoint refused = way();
    ck_assert(endpoint_parse(&refused.remote, "203.0.113.5:5"));
    sources_drop(sim.hosts[1].dev, &refused); /* another remote address */
    ck_assert_uint_eq(way().source.bytes[3], 20);
    refused = way();
    speak(21); /* before the refusal of the former was taken in */
    sources_drop(sim.hosts[1].dev, &refused);
    ck_assert_uint_eq(way().source.bytes[3], 21);
    refused = way();
    sources_drop(sim.hosts[1].dev, &refused);
    ck_assert_uint_eq(way().source.family, 0);
    refused = way();
    ck_assert(endpoint_equal(&refused.remote, &sim.hosts[0].address));
}
END_TEST

START_TEST(the_newest_refusal_is_kept)
{
    struct refusals refusals;
    struct wg_endpoint out, noted = {.ifindex = 1};
    refusals_init(&refusals);
    ck_assert(!refusals_take(&refusals, &out));
    refusals_note(&refusals, &noted);
    noted.ifindex = 2;
    refusals_note(&refusals, &noted);
    ck_assert(refusals_take(&refusals, &out));
    ck_assert_uint_eq(out.ifindex, 2);
    ck_assert(!refusals_take(&refusals, &out));
    refusals_fini(&refusals);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("sources");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, only_the_refused_one_is_dropped);
    tcase_add_test(tc, the_newest_refusal_is_kept);
    return unit_run(tc);
}
