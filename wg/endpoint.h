#ifndef WG_ENDPOINT_H
#define WG_ENDPOINT_H

#include "wg/wg.h"

#include <stdbool.h>
#include <stdint.h>

enum { ENDPOINT_WORDS = (sizeof(struct wg_endpoint) + 7) / 8 };

/* An endpoint that any thread reads without a lock while another changes it (a seqlock). The
 * owner's lock serialises writers. All zero is a slot without an endpoint. */
struct endpoint_slot {
    _Atomic uint64_t sequence; /* odd during a write */
    _Atomic uint64_t words[ENDPOINT_WORDS];
};

void endpoint_slot_store(struct endpoint_slot *slot, const struct wg_endpoint *endpoint);
void endpoint_slot_load(const struct endpoint_slot *slot, struct wg_endpoint *out);

/* Whether the slot holds this remote address, source and interface. */
bool endpoint_slot_holds(const struct endpoint_slot *slot, const struct wg_endpoint *endpoint);

#endif
