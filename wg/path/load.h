#ifndef WG_PATH_LOAD_H
#define WG_PATH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "Under load" (paper, section 5.3): the handshake queue has reached an eighth of its limit within
 * the last second. Starts as zeros. */
struct load {
    uint64_t until; /* boot time */
};

/* Notes how many messages wait, and returns whether that is load. */
bool load_is_high(struct load *load, size_t queued, uint64_t boot_ns);

#endif
