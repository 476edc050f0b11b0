#ifndef WG_PATH_ICMP_H
#define WG_PATH_ICMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Errors for packets that do not go to their destination. */

enum { ICMP_MAX = 1280 }; /* bytes of the longest answer */

enum icmp_reason {
    ICMP_UNREACHABLE, /* "host unreachable" (RFC 792), "address unreachable" (RFC 4443, 3.1) */
    ICMP_PROHIBITED,  /* "administratively prohibited" (RFC 1812, 5.2.7.1; RFC 4443, 3.1) */
};

/* Builds the answer to `packet`, an inner packet from its IP header on. Returns its length, or 0
 * when none is due: no IP packet, itself an error message, a fragment other than the first, or an
 * address that is not one host's. The answer comes from the unreachable address itself. */
size_t icmp_build(uint8_t out[ICMP_MAX], enum icmp_reason reason, const uint8_t *packet,
                  size_t len);

/* At most a burst of 50 answers, then 100 a second. */
struct icmp_limit {
    uint64_t full_at; /* boot time at which the burst is full again */
};

bool icmp_limit_allow(struct icmp_limit *limit, uint64_t boot_ns);

#endif
