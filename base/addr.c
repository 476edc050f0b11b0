#include "base/addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

uint8_t ip_addr_bits(const struct ip_addr *addr)
{
    return addr->family == 4 ? 32 : 128;
}

size_t ip_addr_len(const struct ip_addr *addr)
{
    return addr->family == 4 ? 4 : 16;
}

int ip_addr_compare(const struct ip_addr *a, const struct ip_addr *b)
{
    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    return memcmp(a->bytes, b->bytes, ip_addr_len(a));
}

bool ip_addr_equal(const struct ip_addr *a, const struct ip_addr *b)
{
    return ip_addr_compare(a, b) == 0;
}

bool ip_addr_parse(struct ip_addr *out, const char *text)
{
    struct ip_addr addr = {0};
    if (inet_pton(AF_INET, text, addr.bytes) == 1)
        addr.family = 4;
    else if (inet_pton(AF_INET6, text, addr.bytes) == 1)
        addr.family = 6;
    else
        return false;
    *out = addr;
    return true;
}

const char *ip_addr_format(const struct ip_addr *addr, char out[IP_ADDR_TEXT])
{
    out[0] = '\0';
    if (addr->family != 0)
        inet_ntop(addr->family == 4 ? AF_INET : AF_INET6, addr->bytes, out, IP_ADDR_TEXT);
    return out;
}

void ip_addr_from_bytes(struct ip_addr *out, uint8_t family, const uint8_t *bytes)
{
    *out = (struct ip_addr){.family = family};
    memcpy(out->bytes, bytes, ip_addr_len(out));
}

bool ip_addr_add(struct ip_addr *addr, uint64_t n)
{
    struct ip_addr sum = *addr;
    uint64_t carry = 0;
    for (size_t i = ip_addr_len(addr); i-- > 0;) {
        uint64_t v = sum.bytes[i] + (n & 255) + carry;
        sum.bytes[i] = (uint8_t)v;
        carry = v >> 8;
        n >>= 8;
    }
    if (carry != 0 || n != 0)
        return false;
    *addr = sum;
    return true;
}

bool parse_number(uint64_t *out, const char *text, uint64_t min, uint64_t max)
{
    if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0'))
        return false;
    uint64_t value = 0;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        uint64_t digit = (uint64_t)(*text - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (value < min || value > max)
        return false;
    *out = value;
    return true;
}

bool ip_prefix_parse(struct ip_prefix *out, const char *text)
{
    const char *slash = strchr(text, '/');
    size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
    char addr[IP_ADDR_TEXT];
    if (len >= sizeof addr)
        return false;
    memcpy(addr, text, len);
    addr[len] = '\0';
    struct ip_prefix prefix = {0};
    if (!ip_addr_parse(&prefix.addr, addr))
        return false;
    uint64_t bits = ip_addr_bits(&prefix.addr);
    if (slash != NULL && !parse_number(&bits, slash + 1, 0, bits))
        return false;
    prefix.len = (uint8_t)bits;
    *out = prefix;
    return true;
}

const char *ip_prefix_format(const struct ip_prefix *prefix, char out[IP_PREFIX_TEXT])
{
    char addr[IP_ADDR_TEXT];
    snprintf(out, IP_PREFIX_TEXT, "%s/%u", ip_addr_format(&prefix->addr, addr),
             (unsigned)prefix->len);
    return out;
}

/* The bits of byte `i` that lie inside a prefix of `len` bits. */
static uint8_t mask_of_byte(size_t i, uint8_t len)
{
    size_t first = 8 * i;
    if (len >= first + 8)
        return 0xff;
    if (len <= first)
        return 0;
    return (uint8_t)(0xff << (8 - (len - first)));
}

void ip_prefix_mask(struct ip_prefix *prefix)
{
    for (size_t i = 0; i < ip_addr_len(&prefix->addr); i++)
        prefix->addr.bytes[i] &= mask_of_byte(i, prefix->len);
}

bool ip_prefix_is_masked(const struct ip_prefix *prefix)
{
    struct ip_prefix masked = *prefix;
    ip_prefix_mask(&masked);
    return ip_addr_equal(&masked.addr, &prefix->addr);
}

bool ip_prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b)
{
    return a->len == b->len && ip_addr_equal(&a->addr, &b->addr);
}

bool ip_prefixes_equal(const struct ip_prefix *a, size_t a_count, const struct ip_prefix *b,
                       size_t b_count)
{
    if (a_count != b_count)
        return false;
    for (size_t i = 0; i < a_count; i++)
        if (!ip_prefix_equal(&a[i], &b[i]))
            return false;
    return true;
}

bool ip_prefix_contains(const struct ip_prefix *prefix, const struct ip_addr *addr)
{
    if (prefix->addr.family != addr->family)
        return false;
    for (size_t i = 0; i < ip_addr_len(addr); i++) {
        uint8_t mask = mask_of_byte(i, prefix->len);
        if (((prefix->addr.bytes[i] ^ addr->bytes[i]) & mask) != 0)
            return false;
    }
    return true;
}

bool ip_prefix_overlaps(const struct ip_prefix *a, const struct ip_prefix *b)
{
    return a->len <= b->len ? ip_prefix_contains(a, &b->addr) : ip_prefix_contains(b, &a->addr);
}

struct ip_prefix ip_prefix_host(const struct ip_addr *addr)
{
    return (struct ip_prefix){.addr = *addr, .len = ip_addr_bits(addr)};
}

socklen_t endpoint_len(const union endpoint *endpoint)
{
    return endpoint->sa.sa_family == AF_INET6 ? sizeof endpoint->in6 : sizeof endpoint->in;
}

bool endpoint_is_set(const union endpoint *endpoint)
{
    return endpoint->sa.sa_family == AF_INET || endpoint->sa.sa_family == AF_INET6;
}

bool endpoint_equal(const union endpoint *a, const union endpoint *b)
{
    if (a->sa.sa_family != b->sa.sa_family)
        return false;
    if (a->sa.sa_family == AF_INET)
        return a->in.sin_port == b->in.sin_port && a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
    if (a->sa.sa_family == AF_INET6)
        return a->in6.sin6_port == b->in6.sin6_port &&
               a->in6.sin6_scope_id == b->in6.sin6_scope_id &&
               memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof a->in6.sin6_addr) == 0;
    return true;
}

uint16_t endpoint_port(const union endpoint *endpoint)
{
    return ntohs(endpoint->sa.sa_family == AF_INET6 ? endpoint->in6.sin6_port
                                                    : endpoint->in.sin_port);
}

void endpoint_addr(const union endpoint *endpoint, struct ip_addr *out)
{
    if (endpoint->sa.sa_family == AF_INET)
        ip_addr_from_bytes(out, 4, (const uint8_t *)&endpoint->in.sin_addr);
    else if (endpoint->sa.sa_family == AF_INET6)
        ip_addr_from_bytes(out, 6, endpoint->in6.sin6_addr.s6_addr);
    else
        *out = (struct ip_addr){0};
}

void endpoint_from_addr(union endpoint *out, const struct ip_addr *addr, uint16_t port)
{
    memset(out, 0, sizeof *out);
    if (addr->family == 4) {
        out->in.sin_family = AF_INET;
        out->in.sin_port = htons(port);
        memcpy(&out->in.sin_addr, addr->bytes, 4);
    } else if (addr->family == 6) {
        out->in6.sin6_family = AF_INET6;
        out->in6.sin6_port = htons(port);
        memcpy(&out->in6.sin6_addr, addr->bytes, 16);
    }
}

void endpoint_unmap(union endpoint *endpoint)
{
    if (endpoint->sa.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&endpoint->in6.sin6_addr))
        return;
    struct ip_addr addr;
    ip_addr_from_bytes(&addr, 4, endpoint->in6.sin6_addr.s6_addr + 12);
    endpoint_from_addr(endpoint, &addr, endpoint_port(endpoint));
}

/* A scope is a number or the name of an interface of this host. */
static bool parse_scope(uint32_t *out, const char *text)
{
    uint64_t number;
    if (parse_number(&number, text, 1, UINT32_MAX)) {
        *out = (uint32_t)number;
        return true;
    }
    *out = if_nametoindex(text);
    return *out != 0;
}

bool endpoint_parse(union endpoint *out, const char *text)
{
    const char *colon = strrchr(text, ':');
    uint64_t port;
    if (colon == NULL || !parse_number(&port, colon + 1, 1, UINT16_MAX))
        return false;
    bool bracketed = text[0] == '[';
    const char *start = bracketed ? text + 1 : text;
    const char *end = bracketed ? colon - 1 : colon;
    if (end < start || (bracketed && *end != ']'))
        return false;
    char host[IP_ADDR_TEXT + IF_NAMESIZE + 1];
    size_t len = (size_t)(end - start);
    if (len >= sizeof host)
        return false;
    memcpy(host, start, len);
    host[len] = '\0';
    char *percent = strchr(host, '%');
    if (percent != NULL)
        *percent = '\0';
    struct ip_addr addr;
    if (!ip_addr_parse(&addr, host) || (addr.family == 6) != bracketed)
        return false;
    uint32_t scope = 0;
    if (percent != NULL && (addr.family != 6 || !parse_scope(&scope, percent + 1)))
        return false;
    endpoint_from_addr(out, &addr, (uint16_t)port);
    if (addr.family == 6)
        out->in6.sin6_scope_id = scope;
    return true;
}

const char *endpoint_format(const union endpoint *endpoint, char out[ENDPOINT_TEXT])
{
    struct ip_addr addr;
    char text[IP_ADDR_TEXT];
    endpoint_addr(endpoint, &addr);
    ip_addr_format(&addr, text);
    unsigned port = endpoint_port(endpoint);
    if (addr.family == 4)
        snprintf(out, ENDPOINT_TEXT, "%s:%u", text, port);
    else if (addr.family == 6 && endpoint->in6.sin6_scope_id != 0)
        snprintf(out, ENDPOINT_TEXT, "[%s%%%u]:%u", text, (unsigned)endpoint->in6.sin6_scope_id,
                 port);
    else if (addr.family == 6)
        snprintf(out, ENDPOINT_TEXT, "[%s]:%u", text, port);
    else
        out[0] = '\0';
    return out;
}
