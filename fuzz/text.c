#include "base/addr.h"
#include "base/bytes.h"
#include "fuzz/fuzz.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The parsers of base: what is accepted can be written and read again with the same meaning, and
 * where the C library or a few naive lines can tell what is right, they agree. */

enum { TEXT_MAX = 200, BYTES_MAX = 64 };

static void check_addr(const char *text)
{
    struct ip_addr addr;
    struct ip_addr again;
    uint8_t bytes[16] = {0};
    char formatted[IP_ADDR_TEXT];
    char expected[INET6_ADDRSTRLEN];
    int family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
    bool ok = ip_addr_parse(&addr, text);
    require(ok == (inet_pton(family, text, bytes) == 1));
    if (!ok)
        return;
    require(addr.family == (family == AF_INET ? 4 : 6));
    require(memcmp(addr.bytes, bytes, sizeof bytes) == 0);
    ip_addr_format(&addr, formatted);
    require(inet_ntop(family, bytes, expected, sizeof expected) != NULL);
    require(strcmp(formatted, expected) == 0);
    require(ip_addr_parse(&again, formatted) && ip_addr_equal(&addr, &again));
    require(ip_addr_compare(&addr, &again) == 0);
}

static bool bit(const struct ip_addr *addr, size_t place)
{
    return (addr->bytes[place / 8] >> (7 - place % 8) & 1) != 0;
}

static bool contains(const struct ip_prefix *prefix, const struct ip_addr *addr)
{
    if (prefix->addr.family != addr->family)
        return false;
    for (size_t i = 0; i < prefix->len; i++) {
        if (bit(&prefix->addr, i) != bit(addr, i))
            return false;
    }
    return true;
}

static void check_prefix(const char *text, const char *other_text)
{
    struct ip_prefix prefix;
    struct ip_prefix other;
    char formatted[IP_PREFIX_TEXT];
    if (!ip_prefix_parse(&prefix, text))
        return;
    require(prefix.len <= ip_addr_bits(&prefix.addr));
    ip_prefix_format(&prefix, formatted);
    require(ip_prefix_parse(&other, formatted) && ip_prefix_equal(&prefix, &other));
    struct ip_prefix masked = prefix;
    ip_prefix_mask(&masked);
    require(ip_prefix_is_masked(&masked));
    require(ip_prefix_is_masked(&prefix) == ip_prefix_equal(&prefix, &masked));
    for (size_t i = 0; i < ip_addr_bits(&prefix.addr); i++)
        require(bit(&masked.addr, i) == (i < prefix.len && bit(&prefix.addr, i)));
    require(ip_prefix_contains(&prefix, &prefix.addr));
    if (!ip_prefix_parse(&other, other_text))
        return;
    require(ip_prefix_contains(&prefix, &other.addr) == contains(&prefix, &other.addr));
    bool overlaps = contains(&prefix, &other.addr) || contains(&other, &prefix.addr);
    require(ip_prefix_overlaps(&prefix, &other) == overlaps);
    require(ip_prefix_overlaps(&other, &prefix) == overlaps);
}

static void check_endpoint(const char *text)
{
    union endpoint endpoint;
    union endpoint again;
    struct ip_addr addr;
    char formatted[ENDPOINT_TEXT];
    if (!endpoint_parse(&endpoint, text))
        return;
    require(endpoint_is_set(&endpoint) && endpoint_port(&endpoint) != 0);
    endpoint_format(&endpoint, formatted);
    require(strlen(formatted) + 1 <= sizeof formatted);
    require(endpoint_parse(&again, formatted) && endpoint_equal(&endpoint, &again));
    endpoint_addr(&endpoint, &addr);
    endpoint_from_addr(&again, &addr, endpoint_port(&endpoint));
    if (addr.family == 6)
        again.in6.sin6_scope_id = endpoint.in6.sin6_scope_id;
    require(fuzz_same(&again, &endpoint, sizeof again)); /* nothing unset in between */
}

static bool naive_number(const char *text, uint64_t *out)
{
    unsigned __int128 value = 0;
    size_t len = strlen(text);
    if (len == 0 || len > 20 || (len > 1 && text[0] == '0'))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)text[i]))
            return false;
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    *out = (uint64_t)value;
    return value <= UINT64_MAX;
}

static void check_number(const char *text, uint64_t min, uint64_t max)
{
    uint64_t value = 42;
    uint64_t expected = 0;
    bool right = naive_number(text, &expected) && expected >= min && expected <= max;
    require(parse_number(&value, text, min, max) == right);
    require(value == (right ? expected : 42));
}

static void check_hex(const char *text, size_t len)
{
    uint8_t bytes[BYTES_MAX];
    char again[2 * BYTES_MAX + 1];
    bool right = strlen(text) == 2 * len && strspn(text, "0123456789abcdefABCDEF") == 2 * len;
    require(bytes_from_hex(bytes, len, text) == right);
    if (!right)
        return;
    bytes_to_hex(again, bytes, len);
    require(strcasecmp(again, text) == 0 && strpbrk(again, "ABCDEF") == NULL);
}

static void check_base64(const char *text, size_t len)
{
    uint8_t bytes[BYTES_MAX];
    uint8_t decoded[BYTES_MAX];
    char again[4 * ((BYTES_MAX + 2) / 3) + 1];
    if (bytes_from_base64(bytes, len, text)) {
        bytes_to_base64(again, bytes, len);
        require(strcmp(again, text) == 0);
    }
    /* any bytes at all */
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, text, strlen(text) < len ? strlen(text) : len);
    bytes_to_base64(again, bytes, len);
    require(strlen(again) == 4 * ((len + 2) / 3));
    require(bytes_from_base64(decoded, len, again) && memcmp(decoded, bytes, len) == 0);
}

static void check_add(struct input *input)
{
    struct ip_addr addr;
    uint8_t bytes[16];
    bool is_v4 = input_byte(input) % 2 == 0;
    uint64_t n = input_number(input, 8);
    input_fill(input, bytes, sizeof bytes);
    ip_addr_from_bytes(&addr, is_v4 ? 4 : 6, bytes);
    struct ip_addr sum = addr;
    unsigned __int128 before = 0;
    unsigned __int128 after = 0;
    for (size_t i = 0; i < ip_addr_len(&addr); i++)
        before = before << 8 | addr.bytes[i];
    unsigned __int128 most = is_v4 ? UINT32_MAX : ~(unsigned __int128)0;
    bool fits = n <= most - before;
    require(ip_addr_add(&sum, n) == fits);
    for (size_t i = 0; i < ip_addr_len(&addr); i++)
        after = after << 8 | sum.bytes[i];
    require(after == (fits ? before + n : before));
    require((ip_addr_compare(&addr, &sum) == 0) == (after == before));
    require(ip_addr_compare(&addr, &sum) <= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    uint8_t what = input_byte(&input);
    size_t len = input_byte(&input) % (BYTES_MAX + 1);
    if (what % 7 == 6) {
        check_add(&input);
        return 0;
    }
    uint64_t min = what % 7 == 3 ? input_number(&input, 8) : 0;
    uint64_t max = what % 7 == 3 ? input_number(&input, 8) : 0;
    char *other = what % 7 == 1 ? input_text(&input, TEXT_MAX) : NULL;
    char *text = malloc(input.left + 1);
    require(text != NULL);
    size_t left = input.left;
    input_fill(&input, text, left);
    text[left] = '\0';
    switch (what % 7) {
    case 0:
        check_addr(text);
        break;
    case 1:
        check_prefix(text, other);
        break;
    case 2:
        check_endpoint(text);
        break;
    case 3:
        check_number(text, min, max);
        break;
    case 4:
        check_hex(text, len);
        break;
    case 5:
        check_base64(text, len);
        break;
    }
    free(other);
    free(text);
    return 0;
}
