#ifndef WG_STAGING_H
#define WG_STAGING_H

#include "base/heap.h"
#include "base/list.h"

#include <pthread.h>
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

/* What the peers of a device have waiting together. Its lock is taken inside a peer's. */
struct staging_pool {
    pthread_mutex_t lock; /* protects the heap, and writes to `bytes` */
    struct heap longest;  /* queues that are not empty, by bytes, the longest first */
    _Atomic size_t bytes;
};

/* The waiting packets of one peer, under its lock. `count` may be read without it. */
struct staging {
    struct list packets;
    _Atomic uint32_t count;
    size_t bytes;
    struct heap_node node; /* in the pool, under its lock */
};

/* Returns 0 or -ENOMEM. */
int staging_pool_init(struct staging_pool *pool);
void staging_pool_fini(struct staging_pool *pool);

/* Makes room for the queues of `peers` peers. Returns 0 or -ENOMEM with nothing changed. */
int staging_pool_reserve(struct staging_pool *pool, size_t peers);

/* The queue with the most bytes, or NULL. It stays valid within the caller's read-side section: take
 * its peer's lock and staging_take a packet to make room. */
struct staging *staging_pool_longest(struct staging_pool *pool);

void staging_init(struct staging *staging);

/* Copies the packet to the end; when there are STAGING_PACKETS, the first one goes. Returns 0;
 * -ENOBUFS when the pool would exceed STAGING_BYTES: make room in the longest queue; or -ENOMEM. */
int staging_add(struct staging *staging, struct staging_pool *pool, const uint8_t *bytes,
                size_t len);

/* Returns the first packet, which the caller owns now, or NULL. */
struct staged *staging_take(struct staging *staging, struct staging_pool *pool);

/* Wipes and frees: a staged packet is plaintext. Takes NULL. */
void staged_destroy(struct staged *staged);

void staging_clear(struct staging *staging, struct staging_pool *pool);

#endif
