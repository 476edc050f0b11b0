#include "wg/path/icmp.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <netinet/in.h>
#include <string.h>

enum {
    IPV4_HEADER = 20,
    IPV6_HEADER = 40,
    ICMP_HEADER = 8,
    QUOTE4_MAX = 576 - IPV4_HEADER - ICMP_HEADER, /* RFC 1812 section 4.3.2.3 */
    QUOTE6_MAX = 1280 - IPV6_HEADER - ICMP_HEADER,
    TTL = 64,

    UNREACHABLE4 = 3,
    UNREACHABLE6 = 1,
};

static const uint8_t codes4[] = {[ICMP_UNREACHABLE] = 1, [ICMP_PROHIBITED] = 13};
static const uint8_t codes6[] = {[ICMP_UNREACHABLE] = 3, [ICMP_PROHIBITED] = 1};

#define ANSWER_INTERVAL (NS_PER_SEC / 100)
#define ANSWER_BURST    50

/* The Internet checksum's running sum (RFC 1071). */
static uint32_t sum_words(uint32_t sum, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i + 1 < len; i += 2)
        sum += load_be16(bytes + i);
    if (len % 2 != 0)
        sum += (uint32_t)bytes[len - 1] << 8;
    return sum;
}

static uint16_t fold(uint32_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static bool is_host4(const uint8_t *addr)
{
    return addr[0] != 0 && addr[0] < 224;
}

static bool is_host6(const uint8_t *addr)
{
    static const uint8_t unspecified[16];
    return addr[0] != 0xff && memcmp(addr, unspecified, 16) != 0;
}

/* Errors, and types unknown here, are never answered (RFC 1122 section 3.2.2). */
static bool is_query4(uint8_t type)
{
    return type == 0 || type == 8 || (type >= 13 && type <= 18);
}

static bool may_answer4(const uint8_t *packet, size_t len)
{
    size_t header_len = (size_t)(packet[0] & 0x0f) * 4;
    bool later_fragment = (load_be16(packet + 6) & 0x1fff) != 0;
    if (header_len < IPV4_HEADER || header_len > len || later_fragment || !is_host4(packet + 12) ||
        !is_host4(packet + 16))
        return false;
    return packet[9] != IPPROTO_ICMP || (header_len < len && is_query4(packet[header_len]));
}

static size_t build4(uint8_t *out, enum icmp_reason reason, const uint8_t *packet, size_t len)
{
    size_t quote = len < QUOTE4_MAX ? len : QUOTE4_MAX;
    size_t total = IPV4_HEADER + ICMP_HEADER + quote;
    memset(out, 0, IPV4_HEADER + ICMP_HEADER);
    out[0] = 0x45;
    out[1] = 0xc0; /* RFC 1812 section 4.3.2.5: errors carry "internetwork control" */
    store_be16(out + 2, (uint16_t)total);
    out[8] = TTL;
    out[9] = IPPROTO_ICMP;
    memcpy(out + 12, packet + 16, 4);
    memcpy(out + 16, packet + 12, 4);
    store_be16(out + 10, fold(sum_words(0, out, IPV4_HEADER)));
    uint8_t *icmp = out + IPV4_HEADER;
    icmp[0] = UNREACHABLE4;
    icmp[1] = codes4[reason];
    memcpy(icmp + ICMP_HEADER, packet, quote);
    store_be16(icmp + 2, fold(sum_words(0, icmp, ICMP_HEADER + quote)));
    return total;
}

static bool is_extension6(uint8_t next)
{
    return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS ||
           next == IPPROTO_FRAGMENT;
}

/* RFC 4443 section 2.4 (e): walks to the upper layer to check that it is no ICMPv6 error. */
static bool may_answer6(const uint8_t *packet, size_t len)
{
    if (!is_host6(packet + 8) || !is_host6(packet + 24))
        return false;
    uint8_t next = packet[6];
    size_t at = IPV6_HEADER;
    while (is_extension6(next)) {
        if (at + 8 > len)
            return false;
        if (next == IPPROTO_FRAGMENT && (load_be16(packet + at + 2) & 0xfff8) != 0)
            return false;
        size_t header_len = next == IPPROTO_FRAGMENT ? 8 : ((size_t)packet[at + 1] + 1) * 8;
        next = packet[at];
        at += header_len;
    }
    return next != IPPROTO_ICMPV6 || (at < len && packet[at] >= 128);
}

static size_t build6(uint8_t *out, enum icmp_reason reason, const uint8_t *packet, size_t len)
{
    size_t quote = len < QUOTE6_MAX ? len : QUOTE6_MAX;
    size_t payload = ICMP_HEADER + quote;
    memset(out, 0, IPV6_HEADER + ICMP_HEADER);
    out[0] = 0x60;
    store_be16(out + 4, (uint16_t)payload);
    out[6] = IPPROTO_ICMPV6;
    out[7] = TTL;
    memcpy(out + 8, packet + 24, 16);
    memcpy(out + 24, packet + 8, 16);
    uint8_t *icmp = out + IPV6_HEADER;
    icmp[0] = UNREACHABLE6;
    icmp[1] = codes6[reason];
    memcpy(icmp + ICMP_HEADER, packet, quote);
    /* The pseudo-header (RFC 8200 section 8.1): both addresses, the length, the protocol. */
    uint32_t sum = sum_words(0, out + 8, 32) + (uint32_t)payload + IPPROTO_ICMPV6;
    store_be16(icmp + 2, fold(sum_words(sum, icmp, payload)));
    return IPV6_HEADER + payload;
}

size_t icmp_build(uint8_t out[ICMP_MAX], enum icmp_reason reason, const uint8_t *packet, size_t len)
{
    if (len >= IPV4_HEADER && packet[0] >> 4 == 4)
        return may_answer4(packet, len) ? build4(out, reason, packet, len) : 0;
    if (len >= IPV6_HEADER && packet[0] >> 4 == 6)
        return may_answer6(packet, len) ? build6(out, reason, packet, len) : 0;
    return 0;
}

bool icmp_limit_allow(struct icmp_limit *limit, uint64_t boot_ns)
{
    uint64_t from = limit->full_at > boot_ns ? limit->full_at : boot_ns;
    if (from - boot_ns > (ANSWER_BURST - 1) * ANSWER_INTERVAL)
        return false;
    limit->full_at = from + ANSWER_INTERVAL;
    return true;
}
