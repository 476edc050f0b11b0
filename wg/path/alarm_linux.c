#include "wg/path/alarm.h"

#include "base/clock.h"
#include "wg/wg.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

int alarm_init(struct alarm *alarm)
{
    alarm->at = WG_NEVER;
    alarm->fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    return alarm->fd < 0 ? -errno : 0;
}

void alarm_fini(struct alarm *alarm)
{
    if (alarm->fd >= 0)
        close(alarm->fd);
    alarm->fd = -1;
}

void alarm_set(struct alarm *alarm, uint64_t at)
{
    if (at == alarm->at)
        return;
    struct itimerspec when = {0};
    if (at != WG_NEVER) {
        when.it_value.tv_sec = (time_t)(at / NS_PER_SEC);
        when.it_value.tv_nsec = (long)(at % NS_PER_SEC);
        if (at == 0)
            when.it_value.tv_nsec = 1; /* zero would disarm it */
    }
    timerfd_settime(alarm->fd, TFD_TIMER_ABSTIME, &when, NULL);
    alarm->at = at;
}
