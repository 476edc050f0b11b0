#include "wg/endpoint.h"

#include <stdatomic.h>
#include <string.h>

/* Words are stored with release and loaded with acquire instead of using fences, which thread
 * sanitizers do not follow. A reader that sees a word of a later write also sees its odd sequence
 * number or a later one, and retries. */

void endpoint_slot_store(struct endpoint_slot *slot, const struct wg_endpoint *endpoint)
{
    uint64_t words[ENDPOINT_WORDS] = {0};
    uint64_t sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed);
    memcpy(words, endpoint, sizeof *endpoint);
    atomic_store_explicit(&slot->sequence, sequence + 1, memory_order_relaxed);
    for (int i = 0; i < ENDPOINT_WORDS; i++)
        atomic_store_explicit(&slot->words[i], words[i], memory_order_release);
    atomic_store_explicit(&slot->sequence, sequence + 2, memory_order_release);
}

void endpoint_slot_load(const struct endpoint_slot *slot, struct wg_endpoint *out)
{
    uint64_t words[ENDPOINT_WORDS];
    uint64_t before;
    uint64_t after;
    do {
        before = atomic_load_explicit(&slot->sequence, memory_order_acquire);
        for (int i = 0; i < ENDPOINT_WORDS; i++)
            words[i] = atomic_load_explicit(&slot->words[i], memory_order_acquire);
        after = atomic_load_explicit(&slot->sequence, memory_order_relaxed);
    } while (before != after || before % 2 != 0);
    memcpy(out, words, sizeof *out);
}

bool endpoint_slot_holds(const struct endpoint_slot *slot, const struct wg_endpoint *endpoint)
{
    struct wg_endpoint held;
    endpoint_slot_load(slot, &held);
    return endpoint_equal(&held.remote, &endpoint->remote) &&
           ip_addr_equal(&held.source, &endpoint->source) && held.ifindex == endpoint->ifindex;
}
