#ifndef TESTS_WG_DEVICE_FIXTURE_H
#define TESTS_WG_DEVICE_FIXTURE_H

#include "tests/unit.h"
#include "tests/wg/harness.h"

/* Devices on a virtual network, for tests of the device as a whole: setup_pair and teardown are the
 * fixture. */

static struct sim sim;

static void setup_pair(void)
{
    sim_init(&sim, 1);
    sim_connect(&sim, 0, 1);
}

static void teardown(void)
{
    sim_fini(&sim);
}

static void start_session(void)
{
    ck_assert_int_eq(sim_send(&sim, 0, 1, 1, 100), WG_OUT_STAGED);
    sim_run(&sim, SIM_MS(100));
    ck_assert_uint_eq(sim.hosts[1].delivered, 1);
}

static void forget_counts(void)
{
    for (int i = 0; i < SIM_HOSTS; i++) {
        struct sim_host *host = &sim.hosts[i];
        host->delivered = host->dropped = host->wakes = host->runs = 0;
        host->sent = (struct sim_sent){0};
    }
}

static void assert_log(int host, uint32_t first, unsigned count)
{
    ck_assert_uint_eq(sim.hosts[host].delivered, count);
    for (unsigned i = 0; i < count; i++)
        ck_assert_uint_eq(sim.hosts[host].log[i], first + i);
}

#endif
