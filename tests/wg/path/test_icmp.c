#include "wg/path/icmp.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/unit.h"

#include <string.h>

/* Packets in hex. v4: 10.0.0.1 -> 10.0.0.2, v6: fd00::1 -> fd00::2. */
#define V4(proto, frag, rest)                                                                      \
    "45000020000"                                                                                  \
    "0" frag "40" proto "0000"                                                                     \
    "0a000001"                                                                                     \
    "0a000002" rest
#define V6(next, rest)                                                                             \
    "600000000008" next "40"                                                                       \
    "fd000000000000000000000000000001"                                                             \
    "fd000000000000000000000000000002" rest
#define UDP                                                                                        \
    "00350035000c0000"                                                                             \
    "deadbeef"

static const struct {
    const char *name;
    const char *packet;
    size_t answer; /* length; 0: none */
} cases[] = {
    {"udp over v4", V4("11", "0000", UDP), 20 + 8 + 32},
    {"v4 echo request", V4("01", "0000", "0800000000000000"), 20 + 8 + 28},
    {"v4 error message", V4("01", "0000", "0301000000000000"), 0},
    {"v4 first fragment", V4("11", "2000", UDP), 20 + 8 + 32},
    {"v4 later fragment", V4("11", "0010", UDP), 0},
    {"v4 ICMP without a type", V4("01", "0000", ""), 0},
    {"v4 to multicast", "4500001400000000401100000a000001e0000001", 0},
    {"v4 to broadcast", "4500001400000000401100000a000001ffffffff", 0},
    {"v4 from nowhere", "450000140000000040110000000000000a000002", 0},
    {"v4 header cut", "450000140000000040110000000000000a0000", 0},
    {"v4 header length wrong",
     "440000140000000040110000"
     "0a0000010a000002",
     0},
    {"v4 options past the end",
     "4f0000140000000040110000"
     "0a0000010a000002",
     0},
    {"udp over v6", V6("11", UDP), 40 + 8 + 52},
    {"v6 echo request", V6("3a", "8000000000000000"), 40 + 8 + 48},
    {"v6 error message", V6("3a", "0103000000000000"), 0},
    {"v6 error behind an extension header",
     V6("3c", "3a00000000000000"
              "0103000000000000"),
     0},
    {"v6 echo behind an extension header",
     V6("3c", "3a00000000000000"
              "8000000000000000"),
     104},
    {"v6 later fragment", V6("2c", "1100001000000000" UDP), 0},
    {"v6 first fragment", V6("2c", "1100000100000000" UDP), 40 + 8 + 60},
    {"v6 extension header cut", V6("3c", "3a00"), 0},
    {"v6 to multicast",
     "60000000000811"
     "40"
     "fd000000000000000000000000000001"
     "ff020000000000000000000000000001",
     0},
    {"v6 from nowhere",
     "60000000000811"
     "40"
     "00000000000000000000000000000000"
     "fd000000000000000000000000000002",
     0},
    {"neither", "00112233445566778899aabbccddeeff00112233", 0},
    {"empty", "", 0},
};

/* Over a whole packet whose checksum is right, the folded sum is all ones. */
static uint16_t checksum(uint32_t sum, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static void check_answer(const uint8_t *out, size_t len, const uint8_t *packet, size_t packet_len)
{
    if (packet[0] >> 4 == 4) {
        ck_assert_uint_eq(load_be16(out + 2), len);
        ck_assert_uint_eq(checksum(0, out, 20), 0xffff);
        ck_assert_uint_eq(checksum(0, out + 20, len - 20), 0xffff);
        ck_assert_uint_eq(out[9], 1);
        ck_assert_mem_eq(out + 12, packet + 16, 4);
        ck_assert_mem_eq(out + 16, packet + 12, 4);
        ck_assert_uint_eq(out[20], 3);
        ck_assert_uint_eq(out[21], 1);
        ck_assert_mem_eq(out + 28, packet, packet_len < len - 28 ? packet_len : len - 28);
        return;
    }
    ck_assert_uint_eq(load_be16(out + 4), len - 40);
    ck_assert_uint_eq(out[6], 58);
    ck_assert_mem_eq(out + 8, packet + 24, 16);
    ck_assert_mem_eq(out + 24, packet + 8, 16);
    uint32_t pseudo = checksum((uint32_t)(len - 40) + 58, out + 8, 32);
    ck_assert_uint_eq(checksum(pseudo, out + 40, len - 40), 0xffff);
    ck_assert_uint_eq(out[40], 1);
    ck_assert_uint_eq(out[41], 3);
    ck_assert_mem_eq(out + 48, packet, packet_len < len - 48 ? packet_len : len - 48);
}

START_TEST(packet_gets_its_answer)
{
    size_t len = strlen(cases[_i].packet) / 2;
    uint8_t *packet = malloc(len + 1), out[ICMP_MAX];
    ck_assert(bytes_from_hex(packet, len, cases[_i].packet));
    size_t got = icmp_build(out, ICMP_UNREACHABLE, packet, len);
    ck_assert_msg(got == cases[_i].answer, "%s: %zu, not %zu", cases[_i].name, got,
                  cases[_i].answer);
    if (got > 0)
        check_answer(out, got, packet, len);
    free(packet);
}
END_TEST

START_TEST(long_packet_is_quoted_in_part)
{
    uint8_t packet[3001] = {0}, out[ICMP_MAX];
    ck_assert(bytes_from_hex(packet, 20,
                             "45000bb90000000040110000"
                             "0a0000010a000002"));
    memset(packet + 20, 0xa5, sizeof packet - 20);
    size_t len = icmp_build(out, ICMP_UNREACHABLE, packet, sizeof packet);
    ck_assert_uint_eq(len, 576);
    check_answer(out, len, packet, sizeof packet);
    ck_assert(bytes_from_hex(packet, 40, V6("11", "")));
    len = icmp_build(out, ICMP_UNREACHABLE, packet, sizeof packet);
    ck_assert_uint_eq(len, 1280);
    check_answer(out, len, packet, sizeof packet);
}
END_TEST

START_TEST(rate_is_limited)
{
    struct icmp_limit limit = {0};
    uint64_t now = 1000 * NS_PER_SEC;
    unsigned allowed = 0;
    for (int i = 0; i < 1000; i++)
        allowed += icmp_limit_allow(&limit, now) ? 1 : 0;
    ck_assert_uint_eq(allowed, 50);
    ck_assert(!icmp_limit_allow(&limit, now + 9 * NS_PER_MS));
    ck_assert(icmp_limit_allow(&limit, now + 10 * NS_PER_MS));
    ck_assert(!icmp_limit_allow(&limit, now + 10 * NS_PER_MS));
    allowed = 0;
    for (int i = 0; i < 1000; i++)
        allowed += icmp_limit_allow(&limit, now + 10 * NS_PER_SEC) ? 1 : 0;
    ck_assert_uint_eq(allowed, 50);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("icmp");
    tcase_add_loop_test(tc, packet_gets_its_answer, 0, ARRAY_LEN(cases));
    tcase_add_test(tc, long_packet_is_quoted_in_part);
    tcase_add_test(tc, rate_is_limited);
    return unit_run(tc);
}
