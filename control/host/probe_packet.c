#include "control/host/probe_packet.h"

#include "base/bytes.h"

#include <netinet/in.h>
#include <string.h>

enum {
    IPV4_HEADER = 20,
    IPV6_HEADER = 40,
    UDP_HEADER = 8,
    TCP_HEADER = 20,
    ICMP_HEADER = 8,
    TTL = 64,
    TCP_SYN = 0x02,
    TCP_RST = 0x04,
    TCP_ACK = 0x10,
    ICMP4_UNREACHABLE = 3,
    ICMP4_NET_PROHIBITED = 9, /* of our rule; no firewall's own choice */
    ICMP6_UNREACHABLE = 1,
    ICMP6_POLICY_FAIL = 5, /* of our rule */
    DISCARD_PORT = 9,
};

/* An answer's place in a packet: the upper layer and what is needed of the headers. */
struct view {
    struct ip_addr from;
    struct ip_addr to;
    uint8_t protocol;
    const uint8_t *payload;
    size_t len;
};

static uint32_t sum_words(uint32_t sum, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i + 1 < len; i += 2)
        sum += load_be16(bytes + i);
    return len % 2 == 1 ? sum + (uint32_t)(bytes[len - 1] << 8) : sum;
}

static uint16_t fold(uint32_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* Writes the IP header in front of `len` bytes of payload, and the payload's checksum at `at`. */
static size_t wrap(uint8_t *out, const struct ip_addr *from, const struct ip_addr *to,
                   uint8_t protocol, size_t len, size_t at)
{
    size_t addr_len = ip_addr_len(to);
    size_t header_len = to->family == 4 ? IPV4_HEADER : IPV6_HEADER;
    memset(out, 0, header_len);
    if (to->family == 4) {
        out[0] = 0x45;
        store_be16(out + 2, (uint16_t)(header_len + len));
        out[8] = TTL;
        out[9] = protocol;
        memcpy(out + 12, from->bytes, addr_len);
        memcpy(out + 16, to->bytes, addr_len);
        store_be16(out + 10, fold(sum_words(0, out, IPV4_HEADER)));
    } else {
        out[0] = 0x60;
        store_be16(out + 4, (uint16_t)len);
        out[6] = protocol;
        out[7] = TTL;
        memcpy(out + 8, from->bytes, addr_len);
        memcpy(out + 24, to->bytes, addr_len);
    }
    uint8_t *payload = out + header_len;
    uint32_t sum = sum_words(protocol + (uint32_t)len, from->bytes, addr_len);
    sum = sum_words(sum_words(sum, to->bytes, addr_len), payload, len);
    store_be16(payload + at, fold(sum));
    return header_len + len;
}

/* A status request (RFC 1035, opcode 2): no server implements it, all answer at once that they do
 * not, and none asks anybody else. */
static size_t put_query(uint8_t *out, unsigned n)
{
    static const uint8_t query[] = {0, 0, 0x10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1};
    memcpy(out, query, sizeof query);
    store_be16(out, (uint16_t)(PROBE_PORT + n));
    return sizeof query;
}

static void put_tcp(uint8_t *out, uint16_t from, uint16_t to, uint32_t seq, uint8_t flags)
{
    memset(out, 0, TCP_HEADER);
    store_be16(out, from);
    store_be16(out + 2, to);
    store_be32(out + 4, seq);
    out[12] = TCP_HEADER / 4 << 4;
    out[13] = flags;
    store_be16(out + 14, 1024); /* window */
}

size_t probe_compose(const struct probe_target *target, unsigned n, uint8_t out[PROBE_PACKET_MAX])
{
    uint8_t *payload = out + (target->to.family == 4 ? IPV4_HEADER : IPV6_HEADER);
    uint16_t port = (uint16_t)(PROBE_PORT + n);
    if (target->kind == PROBE_TCP) {
        put_tcp(payload, port, target->port, 0x48440000, TCP_SYN);
        return wrap(out, &target->from, &target->to, IPPROTO_TCP, TCP_HEADER, 16);
    }
    size_t len = UDP_HEADER + put_query(payload + UDP_HEADER, n);
    store_be16(payload, port);
    store_be16(payload + 2, target->kind == PROBE_FORWARD ? DISCARD_PORT : target->port);
    store_be16(payload + 4, (uint16_t)len);
    store_be16(payload + 6, 0);
    return wrap(out, &target->from, &target->to, IPPROTO_UDP, len, 6);
}

/* ---- answers ---- */

static bool read_packet(struct view *out, const uint8_t *packet, size_t len)
{
    size_t header_len = IPV6_HEADER;
    if (len >= IPV4_HEADER && packet[0] >> 4 == 4) {
        header_len = (size_t)(packet[0] & 15) * 4;
        ip_addr_from_bytes(&out->from, 4, packet + 12);
        ip_addr_from_bytes(&out->to, 4, packet + 16);
        out->protocol = packet[9];
    } else if (len >= IPV6_HEADER && packet[0] >> 4 == 6) {
        ip_addr_from_bytes(&out->from, 6, packet + 8);
        ip_addr_from_bytes(&out->to, 6, packet + 24);
        out->protocol = packet[6];
    } else {
        return false;
    }
    if (header_len < IPV4_HEADER || len < header_len + UDP_HEADER)
        return false;
    out->payload = packet + header_len;
    out->len = len - header_len;
    return true;
}

/* The probe with this source port and these addresses. */
static bool find(const struct probe_target *targets, unsigned count, const struct ip_addr *from,
                 const struct ip_addr *to, uint16_t port, unsigned *n)
{
    if (port < PROBE_PORT || port >= PROBE_PORT + count)
        return false;
    *n = port - PROBE_PORT;
    return ip_addr_equal(&targets[*n].from, from) && ip_addr_equal(&targets[*n].to, to);
}

static enum probe_result read_icmp4(uint8_t code, enum probe_kind kind)
{
    if (code == ICMP4_NET_PROHIBITED && kind == PROBE_FORWARD)
        return PROBE_PASSED;
    return code == 0 || code == 1 || code == 6 || code == 7 ? PROBE_NO_ROUTE : PROBE_REFUSED;
}

static enum probe_result read_icmp6(uint8_t code, enum probe_kind kind)
{
    if (code == ICMP6_POLICY_FAIL && kind == PROBE_FORWARD)
        return PROBE_PASSED;
    return code == 0 || code == 3 ? PROBE_NO_ROUTE : PROBE_REFUSED;
}

/* An error about one of our packets, whose beginning it quotes. */
static bool read_error(const struct probe_target *targets, unsigned count, const struct view *view,
                       unsigned *n, enum probe_result *result)
{
    struct view quoted;
    uint8_t type = view->protocol == IPPROTO_ICMP ? ICMP4_UNREACHABLE : ICMP6_UNREACHABLE;
    if (view->payload[0] != type || view->len < ICMP_HEADER ||
        !read_packet(&quoted, view->payload + ICMP_HEADER, view->len - ICMP_HEADER) ||
        !find(targets, count, &quoted.from, &quoted.to, load_be16(quoted.payload), n))
        return false;
    *result = view->protocol == IPPROTO_ICMP ? read_icmp4(view->payload[1], targets[*n].kind)
                                             : read_icmp6(view->payload[1], targets[*n].kind);
    return true;
}

bool probe_answer(const struct probe_target *targets, unsigned count, const uint8_t *packet,
                  size_t len, unsigned *n, enum probe_result *result)
{
    struct view view;
    if (!read_packet(&view, packet, len))
        return false;
    if (view.protocol == IPPROTO_ICMP || view.protocol == IPPROTO_ICMPV6)
        return read_error(targets, count, &view, n, result);
    if (!find(targets, count, &view.to, &view.from, load_be16(view.payload + 2), n))
        return false;
    *result = PROBE_PASSED;
    if (view.protocol == IPPROTO_TCP)
        *result = view.len >= TCP_HEADER && (view.payload[13] & TCP_RST) != 0 ? PROBE_REFUSED
                                                                              : PROBE_PASSED;
    return view.protocol == IPPROTO_TCP || view.protocol == IPPROTO_UDP;
}

size_t probe_compose_reset(const uint8_t *packet, size_t len, uint8_t out[PROBE_PACKET_MAX])
{
    struct view view;
    if (!read_packet(&view, packet, len) || view.protocol != IPPROTO_TCP || view.len < TCP_HEADER ||
        (view.payload[13] & (TCP_SYN | TCP_ACK | TCP_RST)) != (TCP_SYN | TCP_ACK))
        return 0;
    uint8_t *payload = out + (view.to.family == 4 ? IPV4_HEADER : IPV6_HEADER);
    put_tcp(payload, load_be16(view.payload + 2), load_be16(view.payload),
            load_be32(view.payload + 8), TCP_RST);
    return wrap(out, &view.to, &view.from, IPPROTO_TCP, TCP_HEADER, 16);
}
