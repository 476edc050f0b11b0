#ifndef WG_RATELIMIT_H
#define WG_RATELIMIT_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Limits the handshake messages answered per source while under load: 20 a second with bursts of 5,
 * per IPv4 address and per IPv6 /64. The memory is fixed. A source whose bucket is full needs no
 * entry, so its place is free for the next. While other sources use all places that a source may
 * take, it is refused. */

enum {
    RATELIMIT_PER_SECOND = 20,
    RATELIMIT_BURST = 5,
    RATELIMIT_SETS = 512,
    RATELIMIT_WAYS = 8, /* places that a source may take */
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

/* The seed is random and secret, so that nobody can choose sources that share one set. */
void ratelimit_init(struct ratelimit *limit, const uint8_t seed[16]);

/* Takes a token. False when the source has none. `now_ns` never decreases. */
bool ratelimit_allow(struct ratelimit *limit, const struct ip_addr *source, uint64_t now_ns);

#endif
