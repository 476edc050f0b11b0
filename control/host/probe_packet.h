#ifndef CONTROL_HOST_PROBE_PACKET_H
#define CONTROL_HOST_PROBE_PACKET_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Packets that try what a peer's packets meet in this host, and their answers. Pure. */

enum {
    PROBE_PACKET_MAX = 256,
    PROBE_PORT = 41337, /* source port of the first probe; the next ones follow */
};

enum probe_kind {
    PROBE_FORWARD, /* a datagram that our own rule, behind all others, refuses: see probe_table.h */
    PROBE_UDP,     /* a DNS query to port 53 */
    PROBE_TCP,     /* a SYN */
};

enum probe_result {
    PROBE_UNKNOWN,  /* not tried, or not to be had here */
    PROBE_PASSED,   /* came through */
    PROBE_DROPPED,  /* no answer */
    PROBE_REFUSED,  /* answered by somebody who does not let it through, or by nobody's port */
    PROBE_NO_ROUTE, /* the host knows no way to there */
};

struct probe_target {
    enum probe_kind kind;
    struct ip_addr from; /* of the same family as `to` */
    struct ip_addr to;
    uint16_t port;
};

/* Writes the packet of probe `n`. Returns its length. */
size_t probe_compose(const struct probe_target *target, unsigned n, uint8_t out[PROBE_PACKET_MAX]);

/* Which probe of these a packet answers, and how. False: none. */
bool probe_answer(const struct probe_target *targets, unsigned count, const uint8_t *packet,
                  size_t len, unsigned *n, enum probe_result *result);

/* The reset that ends what an accepted SYN began, for the answer `packet`. 0: none is due. */
size_t probe_compose_reset(const uint8_t *packet, size_t len, uint8_t out[PROBE_PACKET_MAX]);

#endif
