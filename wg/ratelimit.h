#ifndef WG_RATELIMIT_H
#define WG_RATELIMIT_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many handshake messages a source may have answered while under load: 20 a second with bursts
 * of 5, per IPv4 address and per IPv6 /64. The memory is fixed: a source whose bucket is full again
 * needs none, so its place is free for the next; while all places that a source may take are in use
 * by others, it is refused. */

enum {
    RATELIMIT_PER_SECOND = 20,
    RATELIMIT_BURST = 5,
    RATELIMIT_SETS = 512,
    RATELIMIT_WAYS = 8, /* places that one source may take */
};

struct ratelimit_entry {
    uint64_t net;        /* IPv4 address, or the upper half of the IPv6 address */
    uint64_t family;     /* 4, 6, or 0 for never used */
    uint64_t full_at_ns; /* when the bucket is full again */
};

struct ratelimit {
    uint8_t seed[16];
    struct ratelimit_entry entries[RATELIMIT_SETS][RATELIMIT_WAYS];
};

/* The seed is random and secret, so that nobody can choose sources that fall into one set. */
void ratelimit_init(struct ratelimit *limit, const uint8_t seed[16]);

/* True, and one token less, when the source has one. `now_ns` never goes back. */
bool ratelimit_allow(struct ratelimit *limit, const struct ip_addr *source, uint64_t now_ns);

#endif
