#include "tests/unit.h"
#include "tests/wg/harness.h"

/* Which of our addresses a peer sent to: learned from each authentic packet, dropped on review. */

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
    sim_speak_to(&sim, 0, 1, 20);
    sim_speak_to(&sim, 2, 1, 21);
    ck_assert_uint_eq(sim_way(&sim, 1, 0).source.bytes[3], 20);
    ck_assert_uint_eq(sim_way(&sim, 1, 2).source.bytes[3], 21);
    wg_device_review_sources(sim.hosts[1].dev, keep_even, &asked);
    ck_assert_uint_eq(asked, 2);
    ck_assert_uint_eq(sim_way(&sim, 1, 0).source.bytes[3], 20);
    struct wg_endpoint way = sim_way(&sim, 1, 2);
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
    sim_speak_to(&sim, 2, 1, 21);
    wg_device_review_sources(sim.hosts[1].dev, keep_even, &asked);
    sim_speak_to(&sim, 2, 1, 23);
    ck_assert_uint_eq(sim_way(&sim, 1, 2).source.bytes[3], 23);
}
END_TEST

START_TEST(all_are_forgotten_at_once)
{
    start_sessions();
    sim_speak_to(&sim, 0, 1, 20);
    sim_speak_to(&sim, 2, 1, 21);
    wg_device_forget_sources(sim.hosts[1].dev);
    for (int to = 0; to <= 2; to += 2) {
        struct wg_endpoint way = sim_way(&sim, 1, to);
        ck_assert_uint_eq(way.source.family, 0);
        ck_assert(endpoint_equal(&way.remote, &sim.hosts[to].address));
    }
}
END_TEST

/* Listed sources are examined while the device goes on. */
START_TEST(a_listed_source_is_dropped_if_it_is_still_there)
{
    struct wg_source *sources;
    size_t count;
    start_sessions();
    sim_speak_to(&sim, 0, 1, 20);
    sim_speak_to(&sim, 2, 1, 21);
    ck_assert_int_eq(wg_device_sources(sim.hosts[1].dev, &sources, &count), 0);
    ck_assert_uint_eq(count, 2);
    sim_speak_to(&sim, 0, 1, 22); /* meanwhile */
    for (size_t i = 0; i < count; i++)
        wg_source_drop(&sources[i]);
    ck_assert_uint_eq(sim_way(&sim, 1, 0).source.bytes[3], 22);
    ck_assert_uint_eq(sim_way(&sim, 1, 2).source.family, 0);
    sim_remove_peer(&sim, 1, 0);
    wg_source_drop(&sources[0]);
    wg_source_drop(&sources[1]);
    wg_sources_free(sources, count);
    ck_assert_int_eq(wg_device_sources(sim.hosts[1].dev, &sources, &count), 0);
    ck_assert_uint_eq(count, 0); /* one peer is gone, the other has none */
    wg_sources_free(sources, count);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("source");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, only_what_is_denied_is_given_up);
    tcase_add_test(tc, the_next_packet_brings_it_back);
    tcase_add_test(tc, all_are_forgotten_at_once);
    tcase_add_test(tc, a_listed_source_is_dropped_if_it_is_still_there);
    return unit_run(tc);
}
