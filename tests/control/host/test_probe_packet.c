#include "control/host/probe_packet.h"

#include "base/bytes.h"
#include "tests/unit.h"

#include <netinet/in.h>
#include <string.h>

static struct ip_addr addr(const char *text)
{
    struct ip_addr out;
    ck_assert_msg(ip_addr_parse(&out, text), "%s", text);
    return out;
}

static uint32_t sum(uint32_t start, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        start += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
    return start;
}

static bool adds_up(uint32_t total)
{
    while (total >> 16 != 0)
        total = (total & 0xffff) + (total >> 16);
    return total == 0xffff;
}

/* Whether both checksums are right, over the header and over the payload with its pseudo header. */
static void check_sums(const uint8_t *packet, size_t len, uint8_t protocol)
{
    size_t header = packet[0] >> 4 == 4 ? 20 : 40;
    size_t addresses = header == 20 ? 12 : 8;
    if (header == 20)
        ck_assert(adds_up(sum(0, packet, header)));
    uint32_t pseudo =
        sum((uint32_t)(protocol + len - header), packet + addresses, header - addresses);
    ck_assert(adds_up(sum(pseudo, packet + header, len - header)));
}

static void set_targets(struct probe_target targets[6])
{
    static const enum probe_kind kinds[] = {PROBE_FORWARD, PROBE_UDP, PROBE_TCP};
    for (unsigned n = 0; n < 6; n++)
        targets[n] = (struct probe_target){
            .kind = kinds[n % 3],
            .from = addr(n < 3 ? "10.51.255.254" : "fd00::fffe"),
            .to = addr(n < 3 ? "192.168.50.9" : "fd01::9"),
            .port = 53,
        };
}

START_TEST(packets_are_well_formed)
{
    struct probe_target targets[6];
    uint8_t packet[PROBE_PACKET_MAX];
    set_targets(targets);
    for (unsigned n = 0; n < 6; n++) {
        size_t header = n < 3 ? 20 : 40;
        size_t len = probe_compose(&targets[n], n, packet);
        ck_assert_uint_eq(packet[0] >> 4, n < 3 ? 4 : 6);
        check_sums(packet, len, n % 3 == 2 ? IPPROTO_TCP : IPPROTO_UDP);
        ck_assert_uint_eq(load_be16(packet + header), PROBE_PORT + n);
        ck_assert_uint_eq(load_be16(packet + header + 2), n % 3 == 0 ? 9 : 53);
    }
}
END_TEST

/* Turns a packet round: addresses and ports change places. */
static void turn(uint8_t *packet)
{
    uint8_t copy[PROBE_PACKET_MAX];
    size_t header = packet[0] >> 4 == 4 ? 20 : 40;
    size_t from = header == 20 ? 12 : 8;
    size_t each = header == 20 ? 4 : 16;
    memcpy(copy, packet, sizeof copy);
    memcpy(packet + from, copy + from + each, each);
    memcpy(packet + from + each, copy + from, each);
    memcpy(packet + header, copy + header + 2, 2);
    memcpy(packet + header + 2, copy + header, 2);
}

static void check_answer(const struct probe_target *targets, const uint8_t *packet, size_t len,
                         unsigned expected_n, enum probe_result expected)
{
    unsigned n = 99;
    enum probe_result result = PROBE_UNKNOWN;
    ck_assert(probe_answer(targets, 6, packet, len, &n, &result));
    ck_assert_uint_eq(n, expected_n);
    ck_assert_int_eq(result, expected);
}

START_TEST(direct_answers)
{
    struct probe_target targets[6];
    uint8_t packet[PROBE_PACKET_MAX], reset[PROBE_PACKET_MAX];
    set_targets(targets);
    for (unsigned n = 0; n < 6; n++) {
        size_t header = n < 3 ? 20 : 40;
        size_t len = probe_compose(&targets[n], n, packet);
        turn(packet);
        if (n % 3 == 2) {
            packet[header + 13] = 0x14; /* RST, ACK */
            check_answer(targets, packet, len, n, PROBE_REFUSED);
            ck_assert_uint_eq(probe_compose_reset(packet, len, reset), 0);
            packet[header + 13] = 0x12; /* SYN, ACK */
            store_be32(packet + header + 8, 0x12345678);
            size_t reset_len = probe_compose_reset(packet, len, reset);
            ck_assert_uint_eq(reset_len, header + 20);
            check_sums(reset, reset_len, IPPROTO_TCP);
            ck_assert_uint_eq(reset[header + 13], 4);
            ck_assert_uint_eq(load_be32(reset + header + 4), 0x12345678);
            ck_assert_uint_eq(load_be16(reset + header), PROBE_PORT + n);
        }
        check_answer(targets, packet, len, n, PROBE_PASSED);
    }
}
END_TEST

/* An error about a packet. */
static size_t quote(uint8_t *out, const uint8_t *packet, size_t len, uint8_t type, uint8_t code)
{
    size_t header = packet[0] >> 4 == 4 ? 20 : 40;
    memset(out, 0, header + 8);
    out[0] = packet[0];
    out[header == 20 ? 9 : 6] = header == 20 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
    out[header] = type;
    out[header + 1] = code;
    memcpy(out + header + 8, packet, len);
    return header + 8 + len;
}

START_TEST(errors)
{
    static const struct {
        unsigned n;
        uint8_t type, code;
        enum probe_result result;
    } cases[] = {
        {0, 3, 9, PROBE_PASSED},   /* 0: our rule behind all others */
        {0, 3, 13, PROBE_REFUSED}, /* 1: another firewall's */
        {0, 3, 10, PROBE_REFUSED}, /* 2 */
        {0, 3, 0, PROBE_NO_ROUTE}, /* 3 */
        {0, 3, 1, PROBE_NO_ROUTE}, /* 4 */
        {1, 3, 3, PROBE_REFUSED},  /* 5: nobody listens */
        {1, 3, 9, PROBE_REFUSED},  /* 6: no rule of ours for this kind */
        {3, 1, 5, PROBE_PASSED},   /* 7 */
        {3, 1, 1, PROBE_REFUSED},  /* 8 */
        {3, 1, 0, PROBE_NO_ROUTE}, /* 9 */
        {4, 1, 4, PROBE_REFUSED},  /* 10 */
    };
    struct probe_target targets[6];
    uint8_t packet[PROBE_PACKET_MAX], error[2 * PROBE_PACKET_MAX];
    set_targets(targets);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = probe_compose(&targets[cases[i].n], cases[i].n, packet);
        len = quote(error, packet, len, cases[i].type, cases[i].code);
        check_answer(targets, error, len, cases[i].n, cases[i].result);
    }
}
END_TEST

/* Packets of others, and packets cut short, answer nothing. */
START_TEST(not_an_answer)
{
    struct probe_target targets[6];
    uint8_t packet[PROBE_PACKET_MAX], error[2 * PROBE_PACKET_MAX];
    unsigned n;
    enum probe_result result;
    set_targets(targets);
    for (unsigned t = 0; t < 6; t++) {
        size_t len = probe_compose(&targets[t], t, packet);
        size_t error_len = quote(error, packet, len, t < 3 ? 3 : 1, 4);
        ck_assert(!probe_answer(targets, 6, packet, len, &n, &result)); /* not turned round */
        turn(packet);
        for (size_t cut = 0; cut < (t < 3 ? 28U : 48U); cut++)
            ck_assert(!probe_answer(targets, 6, packet, cut, &n, &result));
        for (size_t cut = 0; cut < (t < 3 ? 56U : 96U); cut++)
            ck_assert(!probe_answer(targets, 6, error, cut, &n, &result));
        ck_assert(!probe_answer(targets, t, packet, len, &n, &result)); /* not asked for */
        error[t < 3 ? 20 : 40] = 8;
        ck_assert(!probe_answer(targets, 6, error, error_len, &n, &result));
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("probe_packet");
    tcase_add_test(tc, packets_are_well_formed);
    tcase_add_test(tc, direct_answers);
    tcase_add_test(tc, errors);
    tcase_add_test(tc, not_an_answer);
    return unit_run(tc);
}
