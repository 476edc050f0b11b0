#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Nanoseconds. Only wg/path, control and the programs read clocks. Everything below takes time as
 * an argument. */
#define NS_PER_SEC UINT64_C(1000000000)
#define NS_PER_MS  UINT64_C(1000000)

/* Monotonic and counting through system sleep. */
uint64_t clock_boottime_ns(void);

/* Since the UNIX epoch. */
uint64_t clock_realtime_ns(void);

#endif
