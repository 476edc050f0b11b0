#ifndef WG_PATH_OWN_H
#define WG_PATH_OWN_H

#include "wg/wg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OWN_SLOTS = 1024 };

/* Remembers where datagrams of ours went, to know them again when the host routes them into the
 * tunnel's own interface: sealed and sent once more, each would come back for ever, a little larger.
 * Any thread may use it. Starts as zeros. A destination may be forgotten for a newer one, and is
 * remembered again with the next datagram to it. */
struct own {
    _Atomic uint64_t slots[OWN_SLOTS];
};

/* A datagram goes to this address. */
void own_note(struct own *own, const union endpoint *remote);

/* Whether an inner packet is a datagram of ours: UDP from our port to where we have sent some. */
bool own_is(const struct own *own, uint16_t port, const uint8_t *packet, size_t len);

#endif
