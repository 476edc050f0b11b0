#ifndef WG_IP_H
#define WG_IP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The fields of inner IP packets that the engine reads. */

enum { IP_ECN_MASK = 3, IP_ECN_CE = 3 };

struct ip_packet {
    uint8_t family; /* 4 or 6 */
    uint8_t ecn;
    size_t len; /* from the header; may be less or more than the buffer holds */
    const uint8_t *source;
    const uint8_t *destination;
};

/* False when the bytes are not an IP packet with a whole header. `out` points into them. */
bool ip_packet_read(struct ip_packet *out, const uint8_t *bytes, size_t len);

/* Combines the ECN bits of the outer header into a decapsulated packet, in place (RFC 6040, section
 * 4.2). False when the packet must be dropped: congestion was signalled to a sender that does not
 * understand it. */
bool ip_packet_combine_ecn(uint8_t *bytes, uint8_t outer);

#endif
