#include "dns/relay.h"

#include "base/bytes.h"
#include "tests/unit.h"

#include <string.h>

#define QUESTION                "\1a\1b\0\0\1\0\1" /* a.b A IN, 9 octets from 12 to 20 */
#define HEAD(rcode, an, ns, ar) "\x99\x99\x81" rcode "\0\1\0" an "\0" ns "\0" ar QUESTION
#define A_RECORD                "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\1\2\3\4"
#define OPT                     "\0\0\x29\x10\0\0\0\x80\0\0\0"
#define RRSIG                   "\xc0\x0c\0\x2e\0\1\0\0\0\x3c\0\3sig"
#define BYTES(text)             text, sizeof(text) - 1

static struct dns_query make_query(bool edns, bool dnssec)
{
    struct dns_query query = {.id = 7, .flags = DNS_FLAG_RD, .type = 1, .class = 1};
    query.udp_size = edns ? 1232 : 512;
    query.edns = edns;
    query.edns_do = dnssec;
    dns_name_from_text(&query.name, "A.B");
    return query;
}

static void copy_bytes(uint8_t *to, const char *from, size_t len)
{
    memcpy(to, from, len);
}

/* The upstream's message, and what the client sees after header and question. SERVFAIL is empty. */
static const struct {
    const char *bytes;
    size_t len;
    bool edns;
    bool dnssec;
    uint8_t rcode;
    const char *counts; /* of answer, authority, additional */
    const char *out;
    size_t out_len;
} relays[] = {
    /* 0 */ {BYTES(HEAD("\x80", "\1", "\0", "\0") A_RECORD), false, false, 0, "\1\0\0",
             BYTES(A_RECORD)},
    /* 1: NXDOMAIN is kept, also with nothing else */
    {BYTES(HEAD("\x83", "\0", "\0", "\0")), false, false, 3, "\0\0\0", BYTES("")},
    /* 2: REFUSED too */
    {BYTES(HEAD("\x85", "\0", "\0", "\0")), false, false, 5, "\0\0\0", BYTES("")},
    /* 3: its OPT is not ours */
    {BYTES(HEAD("\x80", "\1", "\0", "\1") A_RECORD OPT), false, false, 0, "\1\0\0",
     BYTES(A_RECORD)},
    /* 4 */
    {BYTES(HEAD("\x80", "\1", "\0", "\0") A_RECORD), true, false, 0, "\1\0\1",
     BYTES(A_RECORD "\0\0\x29\4\xd0\0\0\0\0\0\0")},
    /* 5: signatures for those who ask */
    {BYTES(HEAD("\x80", "\2", "\0", "\0") A_RECORD RRSIG), true, true, 0, "\2\0\1",
     BYTES(A_RECORD RRSIG "\0\0\x29\4\xd0\0\0\x80\0\0\0")},
    /* 6: and for nobody else */
    {BYTES(HEAD("\x80", "\2", "\0", "\0") RRSIG A_RECORD), true, false, 0, "\1\0\1",
     BYTES(A_RECORD "\0\0\x29\4\xd0\0\0\0\0\0\0")},
    /* 7: names in rdata move with what is in front of them */
    {BYTES(HEAD("\x80", "\3", "\0", "\0") RRSIG "\xc0\x0c\0\5\0\1\0\0\0\x3c\0\4\1x\xc0\x0e"
                                                "\xc0\x30\0\1\0\1\0\0\0\x3c\0\4\1\2\3\4"),
     false, false, 0, "\2\0\0",
     BYTES("\xc0\x0c\0\5\0\1\0\0\0\x3c\0\4\1x\xc0\x0e\xc0\x21\0\1\0\1\0\0\0\x3c\0\4\1\2\3\4")},
    /* 8: SRV is uncompressed on the way out */
    {BYTES(HEAD("\x80", "\1", "\0", "\0") "\xc0\x0c\0\x21\0\1\0\0\0\x3c\0\x0a\0\1\0\2\0\3\1x"
                                          "\xc0\x0e"),
     false, false, 0, "\1\0\0", BYTES("\xc0\x0c\0\x21\0\1\0\0\0\x3c\0\x0b\0\1\0\2\0\3\1x\1b\0")},
    /* 9: unknown types are copied */
    {BYTES(HEAD("\x80", "\1", "\0", "\0") "\xc0\x0c\xff\1\0\1\0\0\0\x3c\0\2\xc0\x0c"), false, false,
     0, "\1\0\0", BYTES("\xc0\x0c\xff\1\0\1\0\0\0\x3c\0\2\xc0\x0c")},
    /* 10: nothing */ {BYTES(""), false, false, 2, "\0\0\0", BYTES("")},
    /* 11: no response */
    {BYTES("\x99\x99\x01\0\0\1\0\0\0\0\0\0" QUESTION), false, false, 2, "\0\0\0", BYTES("")},
    /* 12: no question */
    {BYTES("\x99\x99\x81\x80\0\0\0\0\0\0\0\0"), false, false, 2, "\0\0\0", BYTES("")},
    /* 13: another question */
    {BYTES("\x99\x99\x81\x80\0\1\0\0\0\0\0\0\1a\1c\0\0\1\0\1"), false, false, 2, "\0\0\0",
     BYTES("")},
    /* 14: another type */
    {BYTES("\x99\x99\x81\x80\0\1\0\0\0\0\0\0\1a\1b\0\0\2\0\1"), false, false, 2, "\0\0\0",
     BYTES("")},
    /* 15: a record cut short */
    {BYTES(HEAD("\x80", "\1", "\0", "\0") "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\1\2\3"), false, false, 2,
     "\0\0\0", BYTES("")},
    /* 16: announced only */
    {BYTES(HEAD("\x80", "\1", "\0", "\0")), false, false, 2, "\0\0\0", BYTES("")},
    /* 17: a name that runs out of its rdata */
    {BYTES(HEAD("\x80", "\1", "\0", "\0") "\xc0\x0c\0\5\0\1\0\0\0\x3c\0\2\2xy\0"), false, false, 2,
     "\0\0\0", BYTES("")},
    /* 18: rdata shorter than what stands before its name */
    {BYTES(HEAD("\x80", "\1", "\0", "\0") "\xc0\x0c\0\x0f\0\1\0\0\0\x3c\0\1\0"), false, false, 2,
     "\0\0\0", BYTES("")},
    /* 19: a pointer to itself */
    {BYTES(HEAD("\x80", "\1", "\0", "\0") "\xc0\x15\0\1\0\1\0\0\0\x3c\0\4\1\2\3\4"), false, false,
     2, "\0\0\0", BYTES("")},
};

START_TEST(messages_are_relayed)
{
    static uint8_t out[DNS_MESSAGE_MAX];
    uint8_t *copy = malloc(relays[_i].len + (relays[_i].len == 0));
    struct dns_query query = make_query(relays[_i].edns, relays[_i].dnssec);
    memcpy(copy, relays[_i].bytes, relays[_i].len);
    size_t len = relay_response(&query, DNS_UDP, copy, relays[_i].len, out, sizeof out);
    ck_assert_uint_eq(load_be16(out), 7);
    ck_assert_uint_eq(load_be16(out + 2),
                      (unsigned)(DNS_FLAG_QR | DNS_FLAG_RD | DNS_FLAG_RA | relays[_i].rcode));
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_eq(load_be16(out + 6 + 2 * i), (uint8_t)relays[_i].counts[i]);
    ck_assert_mem_eq(out + 12, "\1A\1B\0\0\1\0\1", 9);
    ck_assert_uint_eq(len, 21 + relays[_i].out_len);
    if (relays[_i].out_len > 0)
        ck_assert_mem_eq(out + 21, relays[_i].out, relays[_i].out_len);
    free(copy);
}
END_TEST

/* Too large for UDP: what fits, and TC. TCP carries all of it. */
START_TEST(large_messages)
{
    enum { RECORDS = 300 };
    static uint8_t message[21 + 16 * RECORDS];
    static uint8_t out[DNS_MESSAGE_MAX];
    struct dns_query query = make_query(_i == 1, false);
    copy_bytes(message, HEAD("\x80", "\0", "\0", "\0"), 21);
    store_be16(message + 6, RECORDS);
    for (size_t i = 0; i < RECORDS; i++)
        copy_bytes(message + 21 + 16 * i, A_RECORD, 16);
    size_t len = relay_response(&query, _i == 2 ? DNS_TCP : DNS_UDP, message, sizeof message, out,
                                sizeof out);
    static const unsigned counts[] = {(512 - 21) / 16, (1232 - 21 - 11) / 16, RECORDS};
    ck_assert_uint_eq(load_be16(out + 6), counts[_i]);
    ck_assert_int_eq((load_be16(out + 2) & DNS_FLAG_TC) != 0, _i != 2);
    ck_assert_uint_eq(len, 21 + 16 * counts[_i] + (_i == 1 ? 11 : 0));
}
END_TEST

/* Additional records that do not fit are left out without TC. */
START_TEST(large_additional_section)
{
    enum { RECORDS = 60 };
    static uint8_t message[21 + 16 * RECORDS];
    static uint8_t out[DNS_MESSAGE_MAX];
    struct dns_query query = make_query(false, false);
    copy_bytes(message, HEAD("\x80", "\1", "\0", "\0"), 21);
    store_be16(message + 10, RECORDS - 1);
    for (size_t i = 0; i < RECORDS; i++)
        copy_bytes(message + 21 + 16 * i, A_RECORD, 16);
    relay_response(&query, DNS_UDP, message, sizeof message, out, sizeof out);
    ck_assert_uint_eq(load_be16(out + 6), 1);
    ck_assert_uint_eq(load_be16(out + 10), (512 - 21) / 16 - 1);
    ck_assert_uint_eq(load_be16(out + 2) & DNS_FLAG_TC, 0);
}
END_TEST

/* Each octet of a message changed: no read past the end, no endless loop. */
START_TEST(one_octet_changed)
{
    static const char whole[] = HEAD("\x80", "\2", "\1", "\1") A_RECORD RRSIG
        "\xc0\x0e\0\6\0\1\0\0\0\x3c\0\x1a\1n\xc0\x0e\1h\xc0\x0e\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0"
        "\0\5" OPT;
    static uint8_t out[DNS_MESSAGE_MAX];
    struct dns_query query = make_query(true, false);
    size_t len = sizeof whole - 1;
    uint8_t *copy = malloc(len);
    for (size_t at = 0; at < len; at++)
        for (int value = 0; value < 256; value++) {
            memcpy(copy, whole, len);
            copy[at] = (uint8_t)value;
            ck_assert_uint_ge(relay_response(&query, DNS_UDP, copy, len, out, sizeof out), 12);
        }
    free(copy);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("relay");
    tcase_add_loop_test(tc, messages_are_relayed, 0, ARRAY_LEN(relays));
    tcase_add_loop_test(tc, large_messages, 0, 3);
    tcase_add_test(tc, large_additional_section);
    tcase_add_test(tc, one_octet_changed);
    return unit_run(tc);
}
