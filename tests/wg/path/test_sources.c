#include "wg/path/sources.h"

#include "tests/unit.h"
#include "tests/wg/harness.h"

/* Host 0 sends to addresses of host 1, from which host 1 then answers. */

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

START_TEST(only_the_refused_one_is_dropped)
{
    sim_speak_to(&sim, 0, 1, 20);
    struct wg_endpoint refused = sim_way(&sim, 1, 0);
    ck_assert(endpoint_parse(&refused.remote, "203.0.113.5:5"));
    sources_drop(sim.hosts[1].dev, &refused); /* another remote address */
    ck_assert_uint_eq(sim_way(&sim, 1, 0).source.bytes[3], 20);
    refused = sim_way(&sim, 1, 0);
    sim_speak_to(&sim, 0, 1, 21); /* before the refusal of the former was taken in */
    sources_drop(sim.hosts[1].dev, &refused);
    ck_assert_uint_eq(sim_way(&sim, 1, 0).source.bytes[3], 21);
    refused = sim_way(&sim, 1, 0);
    sources_drop(sim.hosts[1].dev, &refused);
    ck_assert_uint_eq(sim_way(&sim, 1, 0).source.family, 0);
    refused = sim_way(&sim, 1, 0);
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
