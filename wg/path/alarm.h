#ifndef WG_PATH_ALARM_H
#define WG_PATH_ALARM_H

#include <stdint.h>

/* A descriptor that becomes readable at a time on the clock that counts through system sleep: what
 * fell due during sleep is done at the resume. */
struct alarm {
    int fd;
    uint64_t at; /* boot time, or WG_NEVER */
};

/* Returns 0 or a negative errno. The alarm starts unset. */
int alarm_init(struct alarm *alarm);
void alarm_fini(struct alarm *alarm);

/* Boot time in ns; WG_NEVER switches it off. Clears an alarm that has fired. */
void alarm_set(struct alarm *alarm, uint64_t at);

#endif
