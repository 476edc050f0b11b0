#ifndef WG_PATH_ALARM_H
#define WG_PATH_ALARM_H

#include <stdint.h>

/* A descriptor that becomes readable at a time on the clock that counts through system sleep, so
 * that what fell due meanwhile is done at the resume. */
struct alarm {
    int fd;
    uint64_t at; /* boot time, or WG_NEVER */
};

/* Returns 0 or a negative errno; not set. */
int alarm_init(struct alarm *alarm);
void alarm_fini(struct alarm *alarm);

/* Boot time in ns; WG_NEVER switches it off. Clears what has rung. */
void alarm_set(struct alarm *alarm, uint64_t at);

#endif
