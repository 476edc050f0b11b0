#include "base/clock.h"

#include "tests/timens.h"

#include <time.h>

static uint64_t awake_ns(void)
{
    struct timespec ts;
    ck_assert_int_eq(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
    return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static bool counts_sleep(void)
{
    return clock_boottime_ns() - awake_ns() > UINT64_C(99999) * NS_PER_SEC;
}

START_TEST(sleep_counts)
{
    ck_assert(timens_run(counts_sleep));
}
END_TEST

START_TEST(clocks_go_on)
{
    uint64_t boot = clock_boottime_ns();
    uint64_t real = clock_realtime_ns();
    usleep(2000);
    ck_assert_uint_ge(clock_boottime_ns() - boot, 2 * NS_PER_MS);
    ck_assert_uint_ge(clock_realtime_ns(), real);
    ck_assert_uint_lt(real / NS_PER_SEC - (uint64_t)time(NULL) + 1, 3);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("clock");
    if (unit_is_root())
        tcase_add_test(tc, sleep_counts);
    tcase_add_test(tc, clocks_go_on);
    return unit_run(tc);
}
