#include "dns/answer.h"

#include "base/bytes.h"
#include "dns/zone.h"
#include "tests/unit.h"

#include <stdio.h>
#include <string.h>

static struct zone *make_zone(void)
{
    struct zone_config config = {
        .domain = "heimdall", .ns = "router", .serial = 3, .ttl = 30, .negative_ttl = 5};
    struct zone_builder *builder = zone_builder_create(&config);
    struct ip_addr addr;
    struct ip_prefix network;
    ip_addr_parse(&addr, "10.11.0.1");
    zone_builder_add_host(builder, "router", &addr);
    ip_addr_parse(&addr, "fd00::1");
    zone_builder_add_host(builder, "router", &addr);
    ip_addr_parse(&addr, "10.51.0.2");
    zone_builder_add_host(builder, "nas", &addr);
    for (int i = 0; i < 200; i++) {
        ip_addr_add(&addr, 1);
        zone_builder_add_host(builder, "many", &addr);
    }
    zone_builder_add_srv(builder, "_x._tcp.router", 1, 2, 3, "router");
    zone_builder_add_srv(builder, "_y._tcp.router", 1, 2, 3, "many");
    ip_prefix_parse(&network, "10.51.0.0/16");
    zone_builder_add_network(builder, &network);
    return zone_build(builder);
}

enum flags { RD = 1, EDNS = 2, TCP = 4, RECURSE = 8, V1 = 16, DO = 32, NO_ZONE = 64 };

static size_t make_query(uint8_t *out, const char *text, uint16_t type, uint16_t class,
                         unsigned flags, uint16_t size)
{
    struct dns_name name;
    ck_assert(dns_name_from_text(&name, text));
    memset(out, 0, DNS_HEADER_LEN);
    store_be16(out, 0xbeef);
    store_be16(out + 2, (uint16_t)(DNS_FLAG_CD | (flags & RD ? DNS_FLAG_RD : 0)));
    out[5] = 1;
    memcpy(out + 12, name.bytes, name.len);
    size_t len = 12 + (size_t)name.len;
    store_be16(out + len, type);
    store_be16(out + len + 2, class);
    len += 4;
    if (!(flags & EDNS))
        return len;
    out[11] = 1;
    memset(out + len, 0, 11);
    out[len + 2] = DNS_TYPE_OPT;
    store_be16(out + len + 3, size);
    out[len + 6] = flags & V1 ? 1 : 0;
    out[len + 7] = (uint8_t)(flags & DO ? 0x80 : 0);
    return len + 11;
}

/* "VERDICT rcode flags question/answer/authority/additional: records", from a reader of the test's
 * own. */
static const char *describe(enum answer_verdict verdict, const uint8_t *message, size_t len)
{
    static char text[4096];
    if (verdict != ANSWER_REPLY)
        return verdict == ANSWER_DROP ? "drop" : "forward";
    uint16_t flags = load_be16(message + 2);
    ck_assert(flags & DNS_FLAG_QR);
    char *to = text;
    to += sprintf(to, "%d%s%s%s %d/%d/%d/%d", flags & 0xf, flags & DNS_FLAG_AA ? " aa" : "",
                  flags & DNS_FLAG_TC ? " tc" : "", flags & DNS_FLAG_RA ? " ra" : "",
                  load_be16(message + 4), load_be16(message + 6), load_be16(message + 8),
                  load_be16(message + 10));
    size_t offset = DNS_HEADER_LEN;
    struct dns_name name;
    char owner[DNS_TEXT_MAX];
    if (message[5] == 1) {
        ck_assert(dns_name_read(&name, message, len, &offset));
        offset += 4;
    }
    size_t records = (size_t)load_be16(message + 6) + message[9] + message[11];
    for (size_t i = 0; i < records; i++) {
        ck_assert(dns_name_read(&name, message, len, &offset));
        if (i < 6)
            to +=
                sprintf(to, " %s %d", dns_name_to_text(&name, owner), load_be16(message + offset));
        offset += 10 + (size_t)load_be16(message + offset + 8);
    }
    ck_assert_uint_eq(offset, len);
    return text;
}

static const struct {
    const char *name;
    uint16_t type;
    uint16_t class;
    unsigned flags;
    uint16_t size;
    const char *expected;
} cases[] = {
    /* 0 */ {"nas", 1, 1, RD, 0, "0 aa 1/1/0/0 nas. 1"},
    /* 1: case is kept */ {"NaS.HeimdalL", 1, 1, RD, 0, "0 aa 1/1/0/0 NaS.HeimdalL. 1"},
    /* 2: NODATA */ {"nas", 28, 1, RD, 0, "0 aa 1/0/1/0 nas. 6"},
    /* 3 */ {"nas.heimdall", 28, 1, RD, 0, "0 aa 1/0/1/0 heimdall. 6"},
    /* 4: NXDOMAIN */ {"nope.heimdall", 1, 1, RD, 0, "3 aa 1/0/1/0 heimdall. 6"},
    /* 5: NXDOMAIN whatever the type */
    {"nope.heimdall", 16, 1, RD, 0, "3 aa 1/0/1/0 heimdall. 6"},
    /* 6 */ {"router.heimdall", 28, 1, RD, 0, "0 aa 1/1/0/0 router.heimdall. 28"},
    /* 7 */ {"heimdall", 6, 1, RD, 0, "0 aa 1/1/0/0 heimdall. 6"},
    /* 8 */
    {"heimdall", 2, 1, RD, 0, "0 aa 1/1/0/2 heimdall. 2 router.heimdall. 1 router.heimdall. 28"},
    /* 9 */ {"heimdall", 1, 1, RD, 0, "0 aa 1/0/1/0 heimdall. 6"},
    /* 10 */ {"nas.heimdall", 6, 1, RD, 0, "0 aa 1/0/1/0 heimdall. 6"},
    /* 11 */ {"nas.heimdall", 2, 1, RD, 0, "0 aa 1/0/1/0 heimdall. 6"},
    /* 12 */
    {"_x._tcp.router.heimdall", 33, 1, RD, 0,
     "0 aa 1/1/0/2 _x._tcp.router.heimdall. 33 router.heimdall. 1 router.heimdall. 28"},
    /* 13 */ {"_tcp.router.heimdall", 33, 1, RD, 0, "0 aa 1/0/1/0 heimdall. 6"},
    /* 14 */ {"router.heimdall", 33, 1, RD, 0, "0 aa 1/0/1/0 heimdall. 6"},
    /* 15: a one-label SRV query */ {"x", 33, 1, RD, 0, "5 1/0/0/0"},
    /* 16 */ {"2.0.51.10.in-addr.arpa", 12, 1, RD, 0, "0 aa 1/1/0/0 2.0.51.10.in-addr.arpa. 12"},
    /* 17 */ {"2.0.51.10.in-addr.arpa", 1, 1, RD, 0, "0 aa 1/0/1/0 51.10.in-addr.arpa. 6"},
    /* 18 */ {"9.9.51.10.in-addr.arpa", 12, 1, RD, 0, "3 aa 1/0/1/0 51.10.in-addr.arpa. 6"},
    /* 19 */ {"51.10.in-addr.arpa", 6, 1, RD, 0, "0 aa 1/1/0/0 51.10.in-addr.arpa. 6"},
    /* 20: ANY over UDP is one set */
    {"router", 255, 1, RD, 0, "0 aa 1/1/0/0 router. 1"},
    /* 21: and over TCP all */
    {"router.heimdall", 255, 1, RD | TCP, 0, "0 aa 1/2/0/0 router.heimdall. 1 router.heimdall. 28"},
    /* 22 */ {"heimdall", 255, 1, RD | TCP, 0, "0 aa 1/2/0/0 heimdall. 6 heimdall. 2"},
    /* 23 */ {"nope.heimdall", 255, 1, RD, 0, "3 aa 1/0/1/0 heimdall. 6"},
    /* 24: others, without recursion */ {"example.com", 1, 1, RD, 0, "5 1/0/0/0"},
    /* 25 */ {"example.com", 1, 1, RD | RECURSE, 0, "forward"},
    /* 26: without RD */ {"example.com", 1, 1, RECURSE, 0, "5 ra 1/0/0/0"},
    /* 27: ours even where others are forwarded */
    {"nas", 1, 1, RD | RECURSE, 0, "0 aa ra 1/1/0/0 nas. 1"},
    /* 28 */
    {"9.9.51.10.in-addr.arpa", 12, 1, RD | RECURSE, 0, "3 aa ra 1/0/1/0 51.10.in-addr.arpa. 6"},
    /* 29 */ {"8.8.8.8.in-addr.arpa", 12, 1, RD | RECURSE, 0, "forward"},
    /* 30: no zone yet */ {"nas", 1, 1, RD | NO_ZONE, 0, "5 1/0/0/0"},
    /* 31 */ {"nas", 1, 1, RD | NO_ZONE | RECURSE, 0, "forward"},
    /* 32: class CHAOS */ {"version.bind", 16, 3, RD | RECURSE, 0, "5 ra 1/0/0/0"},
    /* 33: class ANY */ {"nas", 1, 255, RD, 0, "5 1/0/0/0"},
    /* 34: class 0 */ {"nas", 1, 0, RD, 0, "5 1/0/0/0"},
    /* 35: AXFR */ {"heimdall", 252, 1, TCP, 0, "5 1/0/0/0"},
    /* 36: IXFR */ {"heimdall", 251, 1, TCP, 0, "5 1/0/0/0"},
    /* 37: TKEY */ {"heimdall", 249, 1, RD, 0, "4 1/0/0/0"},
    /* 38: TSIG */ {"heimdall", 250, 1, RD, 0, "4 1/0/0/0"},
    /* 39: MAILB */ {"heimdall", 253, 1, RD | RECURSE, 0, "4 ra 1/0/0/0"},
    /* 40: type 0 */ {"nas", 0, 1, RD, 0, "1 1/0/0/0"},
    /* 41: OPT as a question */ {"nas", 41, 1, RD, 0, "1 1/0/0/0"},
    /* 42: an unknown type */ {"nas", 65280, 1, RD, 0, "0 aa 1/0/1/0 nas. 6"},
    /* 43: EDNS */ {"nas", 1, 1, RD | EDNS, 1232, "0 aa 1/1/0/1 nas. 1 . 41"},
    /* 44: BADVERS */ {"nas", 1, 1, RD | EDNS | V1, 1232, "0 1/0/0/1 . 41"},
    /* 45: BADVERS before anything else */
    {"example.com", 1, 1, RD | EDNS | V1 | RECURSE, 1232, "0 ra 1/0/0/1 . 41"},
    /* 46: 512 octets: 22 header and question, then 16 each */
    {"many", 1, 1, RD, 0, "0 aa tc 1/30/0/0 many. 1 many. 1 many. 1 many. 1 many. 1 many. 1"},
    /* 47: and no less with a smaller size in EDNS */
    {"many", 1, 1, RD | EDNS, 100,
     "0 aa tc 1/29/0/1 many. 1 many. 1 many. 1 many. 1 many. 1 many. 1"},
    /* 48: and no more than 1232 */
    {"many", 1, 1, RD | EDNS, 65535,
     "0 aa tc 1/74/0/1 many. 1 many. 1 many. 1 many. 1 many. 1 many. 1"},
    /* 49 */
    {"many", 1, 1, RD | TCP, 0, "0 aa 1/200/0/0 many. 1 many. 1 many. 1 many. 1 many. 1 many. 1"},
    /* 50: the root */ {"", 2, 1, RD, 0, "5 1/0/0/0"},
    /* 51 */ {"", 2, 1, RD | RECURSE, 0, "forward"},
    /* 52: addresses beside the answer are as many as fit, and no truncation */
    {"_y._tcp.router.heimdall", 33, 1, RD, 0,
     "0 aa 1/1/0/27 _y._tcp.router.heimdall. 33 many.heimdall. 1 many.heimdall. 1 "
     "many.heimdall. 1 many.heimdall. 1 many.heimdall. 1"},
    /* 53: CNAME is only what it is */ {"nas", 5, 1, RD, 0, "0 aa 1/0/1/0 nas. 6"},
};

START_TEST(questions_are_answered)
{
    static uint8_t out[DNS_MESSAGE_MAX];
    uint8_t message[600];
    struct zone *zone = make_zone();
    unsigned flags = cases[_i].flags;
    struct answer_context context = {.zone = flags & NO_ZONE ? NULL : zone,
                                     .transport = flags & TCP ? DNS_TCP : DNS_UDP,
                                     .recursion = (flags & RECURSE) != 0};
    size_t len =
        make_query(message, cases[_i].name, cases[_i].type, cases[_i].class, flags, cases[_i].size);
    struct dns_query query;
    size_t out_len = 0;
    enum answer_verdict verdict =
        answer_query(&context, message, len, &query, out, sizeof out, &out_len);
    ck_assert_str_eq(describe(verdict, out, out_len), cases[_i].expected);
    if (verdict == ANSWER_REPLY) {
        ck_assert_uint_eq(load_be16(out), 0xbeef);
        ck_assert_int_eq((load_be16(out + 2) & DNS_FLAG_RD) != 0, (flags & RD) != 0);
        ck_assert(load_be16(out + 2) & DNS_FLAG_CD);
        size_t limit = !(flags & EDNS) ? 512 : cases[_i].size < 512 ? 512 : 1232;
        ck_assert(flags & TCP || out_len <= limit);
        ck_assert_mem_eq(out + 12, message + 12, strlen(cases[_i].name) + 1);
    }
    zone_put(zone);
}
END_TEST

START_TEST(opt_says_version_and_bits)
{
    uint8_t out[DNS_UDP_EDNS];
    uint8_t message[600];
    struct zone *zone = make_zone();
    struct answer_context context = {.zone = zone, .transport = DNS_UDP};
    struct dns_query query;
    size_t out_len = 0;
    size_t len = make_query(message, "nas", 1, 1, EDNS | DO | (_i == 1 ? V1 : 0), 4096);
    answer_query(&context, message, len, &query, out, sizeof out, &out_len);
    ck_assert_mem_eq(out + out_len - 11,
                     _i == 1 ? "\0\0\x29\4\xd0\1\0\x80\0\0\0" : "\0\0\x29\4\xd0\0\0\x80\0\0\0", 11);
    zone_put(zone);
}
END_TEST

/* A malformed query gets its header back and nothing else. */
static const struct {
    const char *bytes;
    size_t len;
    const char *expected;
} broken[] = {
    /* 0 */ {"\1\2\1\0\0\0\0\0\0\0\0\0", 12, "1 0/0/0/0"},
    /* 1: two questions */ {"\1\2\1\0\0\2\0\0\0\0\0\0\0\0\1\0\1\0\0\1\0\1", 22, "1 0/0/0/0"},
    /* 2: NOTIFY */ {"\1\2\x20\0\0\1\0\0\0\0\0\0\0\0\6\0\1", 17, "4 0/0/0/0"},
    /* 3: UPDATE with nothing */ {"\1\2\x28\0\0\0\0\0\0\0\0\0", 12, "4 0/0/0/0"},
    /* 4: a response */ {"\1\2\x81\0\0\1\0\0\0\0\0\0\0\0\1\0\1", 17, "drop"},
    /* 5: short */ {"\1\2\1\0", 4, "drop"},
    /* 6: nothing */ {"", 0, "drop"},
};

START_TEST(broken_messages)
{
    uint8_t out[DNS_UDP_EDNS];
    struct answer_context context = {.transport = DNS_UDP, .recursion = true};
    struct dns_query query;
    size_t out_len = 0;
    enum answer_verdict verdict = answer_query(&context, (const uint8_t *)broken[_i].bytes,
                                               broken[_i].len, &query, out, sizeof out, &out_len);
    ck_assert_str_eq(describe(verdict, out, out_len), broken[_i].expected);
    if (verdict == ANSWER_REPLY) {
        ck_assert_uint_eq(load_be16(out), 0x0102);
        ck_assert_uint_eq((out[2] >> 3) & 0xf, ((uint8_t)broken[_i].bytes[2] >> 3) & 0xf);
    }
}
END_TEST

/* Every change of a valid message by one octet gets a well-formed answer or none. */
START_TEST(one_octet_changed)
{
    static uint8_t out[DNS_MESSAGE_MAX];
    uint8_t message[600];
    struct zone *zone = make_zone();
    struct answer_context context = {.zone = zone, .transport = DNS_UDP, .recursion = true};
    size_t len = make_query(message, "router.heimdall", 1, 1, RD | EDNS, 1232);
    for (size_t at = 0; at < len; at++) {
        uint8_t original = message[at];
        for (int value = 0; value < 256; value++) {
            struct dns_query query;
            size_t out_len = 0;
            message[at] = (uint8_t)value;
            enum answer_verdict verdict =
                answer_query(&context, message, len, &query, out, sizeof out, &out_len);
            describe(verdict, out, out_len);
        }
        message[at] = original;
    }
    zone_put(zone);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("answer");
    tcase_add_loop_test(tc, questions_are_answered, 0, ARRAY_LEN(cases));
    tcase_add_loop_test(tc, opt_says_version_and_bits, 0, 2);
    tcase_add_loop_test(tc, broken_messages, 0, ARRAY_LEN(broken));
    tcase_add_test(tc, one_octet_changed);
    return unit_run(tc);
}
