#ifndef WG_PATH_LOAD_H
#define WG_PATH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "Under load" (paper, section 5.3): the initiations that wait have reached an eighth of the queue's
 * limit within the last second. Responses do not count: a device that begins many handshakes gets as
 * many answers, and a forged one costs no curve operation, because its index is not in use. Starts as
 * zeros. */
struct load {
    uint64_t until; /* boot time */
};

/* Notes how many initiations wait, and returns whether that is load. */
bool load_is_high(struct load *load, size_t queued, uint64_t boot_ns);

#endif
