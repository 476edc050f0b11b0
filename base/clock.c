#include "base/clock.h"

#include <assert.h>
#include <time.h>

static uint64_t read_ns(clockid_t clock)
{
    struct timespec ts;
    int rc = clock_gettime(clock, &ts);
    assert(rc == 0);
    (void)rc;
    return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t clock_boottime_ns(void)
{
#ifdef CLOCK_BOOTTIME
    return read_ns(CLOCK_BOOTTIME);
#else
    return read_ns(CLOCK_MONOTONIC); /* macOS: this clock counts through sleep */
#endif
}

uint64_t clock_realtime_ns(void)
{
    return read_ns(CLOCK_REALTIME);
}
