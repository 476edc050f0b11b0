#include "wg/wg.h"

#include "tests/unit.h"
#include "tests/wg/harness.h"

#include <string.h>

/* Two devices on bad networks, over many seeds: no packet arrives twice or changed, and once the
 * network is good again, so is the session. */

static struct sim sim;

static const struct {
    unsigned loss_percent;
    unsigned duplicate_percent;
    uint64_t jitter_ns;
    bool roaming;
} table[] = {
    {0, 0, 0, false},
    {10, 0, 0, false},
    {30, 0, 0, false},
    {60, 0, 0, false},
    {0, 100, 0, false},
    {0, 0, SIM_MS(50), false},
    {20, 20, SIM_MS(50), false},
    {20, 20, SIM_MS(500), true},
    {50, 50, SIM_MS(8000), true},
};

enum { SEEDS = 40, PACKETS = 2000 };

static bool seen[2][PACKETS];

static void check_log(int number)
{
    struct sim_host *host = &sim.hosts[number];
    memset(seen[number], 0, sizeof seen[number]);
    ck_assert_uint_le(host->delivered, PACKETS);
    for (unsigned i = 0; i < host->delivered; i++) {
        if (host->log[i] >= PACKETS || seen[number][host->log[i]])
            ck_abort_msg("host %d got packet %u twice", number, host->log[i]);
        seen[number][host->log[i]] = true;
    }
}

static void roam(int number)
{
    struct ip_addr addr = {.family = 4, .bytes = {198, 51, 100, (uint8_t)sim_random(&sim)}};
    endpoint_from_addr(&sim.hosts[number].address, &addr, (uint16_t)(1 + sim_random(&sim) % 999));
}

static void play(uint64_t seed, size_t row)
{
    uint32_t next[2] = {0, 0};
    sim_init(&sim, seed);
    sim_connect(&sim, 0, 1);
    sim.loss_percent = table[row].loss_percent;
    sim.duplicate_percent = table[row].duplicate_percent;
    sim.jitter_ns = table[row].jitter_ns;
    for (int i = 0; i < 400; i++) {
        int from = (int)(sim_random(&sim) % 2);
        for (uint64_t burst = sim_random(&sim) % 4; burst > 0; burst--)
            sim_send(&sim, from, 1 - from, next[from]++, 24 + sim_random(&sim) % 1000);
        if (table[row].roaming && sim_random(&sim) % 50 == 0)
            roam(from); /* one side at a time, so that they do not lose each other */
        uint64_t pause = sim_random(&sim) % 40 == 0 ? SIM_S(150) : SIM_MS(1500);
        sim_run(&sim, 1 + sim_random(&sim) % pause);
        if (table[row].roaming)
            sim_run(&sim, SIM_S(1));
    }
    /* Both moved since they last heard from each other: only configuration helps, as in
     * practice. */
    sim_connect(&sim, 0, 1);
    sim.loss_percent = sim.duplicate_percent = 0;
    sim.jitter_ns = 0;
    sim_run(&sim, SIM_S(30));
    for (int from = 0; from < 2; from++) {
        sim_send(&sim, from, 1 - from, next[from]++, 100);
        sim_run(&sim, SIM_S(12));
    }
    for (int to = 0; to < 2; to++) {
        check_log(to);
        ck_assert_msg(seen[to][next[1 - to] - 1], "seed %u row %zu: host %d has not recovered",
                      (unsigned)seed, row, to);
    }
    sim_fini(&sim);
}

START_TEST(sessions_recover)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++)
        play(seed * 1000 + (uint64_t)_i, (size_t)_i);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("recovery");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, sessions_recover, 0, ARRAY_LEN(table));
    return unit_run(tc);
}
