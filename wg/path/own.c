#include "wg/path/own.h"

#include "base/bytes.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>

enum { IPV4_HEADER = 20, IPV6_HEADER = 40, FRAGMENT_HEADER = 8, UDP_HEADER = 8 };

/* An address and a port as a number that is not 0. */
static uint64_t mix(uint64_t high, uint64_t low, uint16_t port)
{
    uint64_t hash = high * UINT64_C(0x9e3779b97f4a7c15) ^ (low + port);
    hash = (hash ^ hash >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return (hash ^ hash >> 32) | 1;
}

static uint64_t hash4(const uint8_t *addr, uint16_t port)
{
    return mix(0, (uint64_t)load_be32(addr) << 16, port);
}

static uint64_t hash6(const uint8_t *addr, uint16_t port)
{
    return mix((uint64_t)load_be32(addr) << 32 | load_be32(addr + 4),
               ((uint64_t)load_be32(addr + 8) << 32 | load_be32(addr + 12)) << 16, port);
}

static size_t slot_of(uint64_t hash)
{
    return hash >> 1 & (OWN_SLOTS - 1);
}

void own_note(struct own *own, const union endpoint *remote)
{
    uint64_t hash = 0;
    if (remote->sa.sa_family == AF_INET)
        hash = hash4((const uint8_t *)&remote->in.sin_addr, endpoint_port(remote));
    else if (remote->sa.sa_family == AF_INET6)
        hash = hash6(remote->in6.sin6_addr.s6_addr, endpoint_port(remote));
    _Atomic uint64_t *slot = &own->slots[slot_of(hash)];
    if (atomic_load_explicit(slot, memory_order_relaxed) != hash)
        atomic_store_explicit(slot, hash, memory_order_relaxed);
}

/* Finds the UDP header of a packet or of a first fragment: too large for the interface's MTU, they
 * come in pieces. A later piece alone goes through, and its own datagram is found. */
static const uint8_t *udp_header(const uint8_t *packet, size_t len, uint64_t *hash)
{
    size_t at;
    uint8_t next;
    bool is_ipv4 = len >= IPV4_HEADER && packet[0] >> 4 == 4;
    if (is_ipv4) {
        at = (size_t)(packet[0] & 0x0f) * 4;
        next = (load_be16(packet + 6) & 0x1fff) == 0 ? packet[9] : 0;
    } else if (len >= IPV6_HEADER && packet[0] >> 4 == 6) {
        at = IPV6_HEADER;
        next = packet[6];
        if (next == IPPROTO_FRAGMENT && len >= at + FRAGMENT_HEADER &&
            (load_be16(packet + at + 2) & 0xfff8) == 0) {
            next = packet[at];
            at += FRAGMENT_HEADER;
        }
    } else {
        return NULL;
    }
    if (next != IPPROTO_UDP || len < at + UDP_HEADER + 4)
        return NULL;
    uint16_t port = load_be16(packet + at + 2);
    *hash = is_ipv4 ? hash4(packet + 16, port) : hash6(packet + 24, port);
    return packet + at;
}

bool own_is(const struct own *own, uint16_t port, const uint8_t *packet, size_t len)
{
    static const uint8_t reserved[3];
    uint64_t hash;
    const uint8_t *udp = udp_header(packet, len, &hash);
    if (udp == NULL || load_be16(udp) != port)
        return false;
    const uint8_t *message = udp + UDP_HEADER;
    bool is_wireguard = message[0] >= 1 && message[0] <= 4 && memcmp(message + 1, reserved, 3) == 0;
    return is_wireguard &&
           atomic_load_explicit(&own->slots[slot_of(hash)], memory_order_relaxed) == hash;
}
