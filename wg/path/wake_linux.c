#include "wg/path/wake.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int wake_init(struct wake *wake)
{
    wake->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return wake->fd < 0 ? -errno : 0;
}

void wake_fini(struct wake *wake)
{
    if (wake->fd >= 0)
        close(wake->fd);
    wake->fd = -1;
}

void wake_signal(const struct wake *wake)
{
    const uint64_t one = 1;
    ssize_t written = write(wake->fd, &one, sizeof one);
    (void)written; /* fails only when the counter is full, which is a signal too */
}

void wake_clear(const struct wake *wake)
{
    uint64_t count;
    ssize_t got = read(wake->fd, &count, sizeof count);
    (void)got;
}
