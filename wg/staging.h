#ifndef WG_STAGING_H
#define WG_STAGING_H

#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STAGING_PACKETS = 128, STAGING_BYTES = 16 << 20 };

/* A packet that waits for a session, with room to be sealed in place. */
struct staged {
    struct list place;
    size_t len;
    uint8_t sealed[]; /* a data header, the packet at WG_HEADER_LEN, padding and tag */
};

/* The waiting packets of one peer, under its lock. `count` may be read without it. */
struct staging {
    struct list packets;
    _Atomic uint32_t count;
};

void staging_init(struct staging *staging);

/* Copies the packet to the end; when there are STAGING_PACKETS, the first one goes. `total` counts
 * the bytes of all peers: false when they reach STAGING_BYTES or memory is short. */
bool staging_add(struct staging *staging, _Atomic size_t *total, const uint8_t *bytes, size_t len);

/* Returns the first packet, which the caller owns now, or NULL. */
struct staged *staging_take(struct staging *staging, _Atomic size_t *total);

/* Wipes and frees: a staged packet is plaintext. */
void staged_destroy(struct staged *staged);

void staging_clear(struct staging *staging, _Atomic size_t *total);

#endif
