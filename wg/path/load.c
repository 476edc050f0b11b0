#include "wg/path/load.h"

#include "base/clock.h"
#include "wg/path/queue.h"

enum { LOADED_LEN = QUEUE_LIMIT / 8 };

#define LOADED_FOR NS_PER_SEC

bool load_is_high(struct load *load, size_t queued, uint64_t boot_ns)
{
    if (queued >= LOADED_LEN)
        load->until = boot_ns + LOADED_FOR;
    return boot_ns < load->until;
}
