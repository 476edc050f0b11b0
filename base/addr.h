#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* IP addresses, prefixes and UDP/TCP endpoints. Text is parsed strictly: no leading zeros, no host
 * names, nothing behind the value. */

struct ip_addr {
    uint8_t family;    /* 4, 6, or 0 for none */
    uint8_t bytes[16]; /* network order; the first 4 for IPv4, the rest zero */
};

struct ip_prefix {
    struct ip_addr addr;
    uint8_t len; /* 0..32 or 0..128 */
};

/* A socket address. `sa.sa_family` is AF_UNSPEC for none; unused bytes are zero. */
union endpoint {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

enum {
    IP_ADDR_TEXT = 46,   /* longest text with its NUL */
    IP_PREFIX_TEXT = 50, /* with "/128" */
    ENDPOINT_TEXT = 72,  /* "[addr%interface]:port" */
};

uint8_t ip_addr_bits(const struct ip_addr *addr);
size_t ip_addr_len(const struct ip_addr *addr);
bool ip_addr_equal(const struct ip_addr *a, const struct ip_addr *b);
int ip_addr_compare(const struct ip_addr *a, const struct ip_addr *b);
bool ip_addr_parse(struct ip_addr *out, const char *text);
const char *ip_addr_format(const struct ip_addr *addr, char out[IP_ADDR_TEXT]);
void ip_addr_from_bytes(struct ip_addr *out, uint8_t family, const uint8_t *bytes);

/* Adds to the address as to a big-endian number; false when it would overflow, leaving it
 * unchanged. */
bool ip_addr_add(struct ip_addr *addr, uint64_t n);

/* "ADDR/LEN"; a bare address is a host prefix. Bits behind the length are kept: see ip_prefix_mask.
 */
bool ip_prefix_parse(struct ip_prefix *out, const char *text);
const char *ip_prefix_format(const struct ip_prefix *prefix, char out[IP_PREFIX_TEXT]);

/* Clears the bits behind the length. */
void ip_prefix_mask(struct ip_prefix *prefix);
bool ip_prefix_is_masked(const struct ip_prefix *prefix);
bool ip_prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b);
bool ip_prefixes_equal(const struct ip_prefix *a, size_t a_count, const struct ip_prefix *b,
                       size_t b_count);
bool ip_prefix_contains(const struct ip_prefix *prefix, const struct ip_addr *addr);
bool ip_prefix_overlaps(const struct ip_prefix *a, const struct ip_prefix *b);
struct ip_prefix ip_prefix_host(const struct ip_addr *addr);

socklen_t endpoint_len(const union endpoint *endpoint);
bool endpoint_is_set(const union endpoint *endpoint);

/* Address, port and (IPv6) scope. */
bool endpoint_equal(const union endpoint *a, const union endpoint *b);
uint16_t endpoint_port(const union endpoint *endpoint);
void endpoint_addr(const union endpoint *endpoint, struct ip_addr *out);
void endpoint_from_addr(union endpoint *out, const struct ip_addr *addr, uint16_t port);

/* Turns an IPv4-mapped IPv6 address (::ffff:1.2.3.4) into the IPv4 address that it stands for. */
void endpoint_unmap(union endpoint *endpoint);

/* "1.2.3.4:port" or "[addr]:port" or "[addr%scope]:port", the scope a number or an interface name;
 * port 1..65535. */
bool endpoint_parse(union endpoint *out, const char *text);

/* As endpoint_parse reads it; the scope as a number. */
const char *endpoint_format(const union endpoint *endpoint, char out[ENDPOINT_TEXT]);

/* A decimal number in [min, max] without sign, spaces or leading zeros. */
bool parse_number(uint64_t *out, const char *text, uint64_t min, uint64_t max);

#endif
