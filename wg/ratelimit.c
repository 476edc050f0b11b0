#include "wg/ratelimit.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/map.h"

#include <string.h>

/* A bucket is stored as the time at which it will be full. A token advances that time by 50 ms. The
 * bucket is empty when the time would be more than 250 ms ahead. */
#define TOKEN_NS (NS_PER_SEC / RATELIMIT_PER_SECOND)
#define BURST_NS (TOKEN_NS * RATELIMIT_BURST)

void ratelimit_init(struct ratelimit *limit, const uint8_t seed[16])
{
    memset(limit, 0, sizeof *limit);
    memcpy(limit->seed, seed, sizeof limit->seed);
}

/* Returns the source's entry, a free one claimed for the source, or NULL. */
static struct ratelimit_entry *find(struct ratelimit *limit, const struct ip_addr *source,
                                    uint64_t now_ns)
{
    uint64_t net = source->family == 4 ? load_be32(source->bytes) : load_be64(source->bytes);
    uint8_t key[9];
    store_be64(key, net);
    key[8] = source->family;
    struct ratelimit_entry *set =
        limit->entries[map_siphash(limit->seed, key, sizeof key) % RATELIMIT_SETS];
    struct ratelimit_entry *free_entry = NULL;
    for (size_t i = 0; i < RATELIMIT_WAYS; i++) {
        if (set[i].family == source->family && set[i].net == net)
            return &set[i];
        if (free_entry == NULL && set[i].full_at_ns <= now_ns)
            free_entry = &set[i];
    }
    if (free_entry != NULL)
        *free_entry = (struct ratelimit_entry){net, source->family, now_ns};
    return free_entry;
}

bool ratelimit_allow(struct ratelimit *limit, const struct ip_addr *source, uint64_t now_ns)
{
    struct ratelimit_entry *entry = find(limit, source, now_ns);
    if (entry == NULL)
        return false;
    uint64_t full_at = entry->full_at_ns > now_ns ? entry->full_at_ns : now_ns;
    if (full_at + TOKEN_NS > now_ns + BURST_NS)
        return false;
    entry->full_at_ns = full_at + TOKEN_NS;
    return true;
}
