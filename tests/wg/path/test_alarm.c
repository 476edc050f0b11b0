#include "wg/path/alarm.h"

#include "base/clock.h"
#include "tests/timens.h"
#include "wg/wg.h"

#include <poll.h>

static struct alarm bell;

static bool rings_within(int timeout_ms)
{
    struct pollfd fd = {.fd = bell.fd, .events = POLLIN};
    return poll(&fd, 1, timeout_ms) == 1;
}

/* At its time on the clock that counts through sleep, which is far ahead of the other one here. */
static bool rings_after_sleep(void)
{
    uint64_t at = clock_boottime_ns() + 20 * NS_PER_MS;
    if (alarm_init(&bell) != 0)
        return false;
    alarm_set(&bell, at);
    return rings_within(10000) && clock_boottime_ns() >= at;
}

START_TEST(sleep_counts)
{
    ck_assert(timens_run(rings_after_sleep));
}
END_TEST

START_TEST(settings)
{
    ck_assert_int_eq(alarm_init(&bell), 0);
    ck_assert(!rings_within(20));
    alarm_set(&bell, 0); /* long ago */
    ck_assert(rings_within(10000));
    alarm_set(&bell, clock_boottime_ns() + 1000 * NS_PER_SEC);
    ck_assert(!rings_within(20));
    alarm_set(&bell, clock_boottime_ns() + NS_PER_MS);
    ck_assert(rings_within(10000));
    alarm_set(&bell, WG_NEVER);
    ck_assert(!rings_within(20));
    alarm_fini(&bell);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("alarm");
    tcase_set_timeout(tc, 30);
    if (unit_is_root())
        tcase_add_test(tc, sleep_counts);
    tcase_add_test(tc, settings);
    return unit_run(tc);
}
