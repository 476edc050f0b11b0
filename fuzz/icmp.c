#include "wg/path/icmp.h"

#include "base/bytes.h"
#include "fuzz/fuzz.h"
#include "wg/ip.h"

#include <stdlib.h>
#include <string.h>

/* The answers to packets that no peer takes, and the reading of inner IP headers. */

static uint16_t checksum(uint64_t sum, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum += i % 2 == 0 ? (uint64_t)bytes[i] << 8 : bytes[i];
    while (sum > 0xffff)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static void check_answer4(const uint8_t *out, size_t len, const uint8_t *packet, size_t packet_len)
{
    require(len >= 28 + 20 && len <= 576 && out[0] == 0x45 && out[9] == 1);
    require(load_be16(out + 2) == len && checksum(0, out, 20) == 0xffff);
    require(memcmp(out + 12, packet + 16, 4) == 0 && memcmp(out + 16, packet + 12, 4) == 0);
    require(out[20] == 3 && out[21] == 1 && checksum(0, out + 20, len - 20) == 0xffff);
    require(len - 28 <= packet_len && memcmp(out + 28, packet, len - 28) == 0);
    require(len == 576 || len - 28 == packet_len);
}

static void check_answer6(const uint8_t *out, size_t len, const uint8_t *packet, size_t packet_len)
{
    require(len >= 48 + 40 && len <= 1280 && out[0] >> 4 == 6 && out[6] == 58);
    require((size_t)load_be16(out + 4) + 40 == len);
    require(memcmp(out + 8, packet + 24, 16) == 0 && memcmp(out + 24, packet + 8, 16) == 0);
    uint64_t pseudo = checksum(0, out + 8, 32) + (len - 40) + 58;
    require(out[40] == 1 && out[41] == 3 && checksum(pseudo, out + 40, len - 40) == 0xffff);
    require(len - 48 <= packet_len && memcmp(out + 48, packet, len - 48) == 0);
    require(len == 1280 || len - 48 == packet_len);
}

static void check_answer(const uint8_t *packet, size_t len)
{
    uint8_t out[ICMP_MAX];
    uint8_t again[ICMP_MAX];
    struct ip_packet ip;
    size_t answer = icmp_build(out, ICMP_UNREACHABLE, packet, len);
    if (answer == 0)
        return;
    require(ip_packet_read(&ip, packet, len) || packet[0] >> 4 == 4);
    require(answer <= ICMP_MAX);
    if (packet[0] >> 4 == 4)
        check_answer4(out, answer, packet, len);
    else
        check_answer6(out, answer, packet, len);
    /* an error is never answered, or two hosts would answer each other for ever */
    require(icmp_build(again, ICMP_PROHIBITED, out, answer) == 0);
}

/* RFC 6040, figure 4, as a table: what the inner bits become, or 4 for a drop. Rows are the inner
 * bits, columns the outer ones: Not-ECT, ECT(1), ECT(0), CE. */
static const uint8_t combined[4][4] = {
    {0, 0, 0, 4},
    {1, 1, 1, 3},
    {2, 1, 2, 3},
    {3, 3, 3, 3},
};

static uint8_t ecn_of(const uint8_t *packet)
{
    return (packet[0] >> 4 == 4 ? packet[1] : packet[1] >> 4) & 3;
}

static void check_ecn(uint8_t *packet, size_t len, uint8_t outer)
{
    struct ip_packet ip;
    if (!ip_packet_read(&ip, packet, len))
        return;
    bool is_v4 = ip.family == 4;
    require(is_v4 ? len >= 20 : len >= 40);
    require(ip.source >= packet && ip.destination + (is_v4 ? 4 : 16) <= packet + len);
    require(ip.ecn == ecn_of(packet));
    uint8_t *before = malloc(len);
    require(before != NULL);
    memcpy(before, packet, len);
    uint8_t expected = combined[ip.ecn][outer & 3];
    require(ip_packet_combine_ecn(packet, outer) == (expected != 4));
    require(ecn_of(packet) == (expected == 4 ? ip.ecn : expected));
    /* nothing else has changed, and a right checksum stays right */
    uint16_t sum = checksum(0, before, 20);
    if (is_v4 && (sum == 0xffff || sum == 0))
        require(checksum(0, packet, 20) == 0xffff || checksum(0, packet, 20) == sum);
    packet[1] = before[1];
    if (is_v4)
        memcpy(packet + 10, before + 10, 2);
    require(memcmp(packet, before, len) == 0);
    free(before);
}

static void check_limit(struct input *input)
{
    struct icmp_limit limit = {0};
    uint64_t start = 1000000000;
    uint64_t now = start;
    uint64_t allowed = 0;
    while (input_has(input)) {
        now += input_number(input, 2) * 10000;
        allowed += icmp_limit_allow(&limit, now);
        require(allowed <= 50 + (now - start) / 10000000);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    uint8_t what = input_byte(&input);
    if (what % 8 == 7) {
        check_limit(&input);
        return 0;
    }
    /* the fuzzer need not know the two first nibbles */
    uint8_t *packet = malloc(input.left + 1);
    require(packet != NULL);
    size_t len = input.left;
    input_fill(&input, packet, len);
    if (len > 0 && what & 8)
        packet[0] = (uint8_t)((packet[0] & 15) | (what & 16 ? 0x40 : 0x60));
    uint8_t *exact = calloc(1, len > 0 ? len : 1);
    require(exact != NULL);
    memcpy(exact, packet, len);
    check_answer(exact, len);
    require(memcmp(exact, packet, len) == 0);
    check_ecn(exact, len, what);
    free(exact);
    free(packet);
    return 0;
}
