#include "dns/wire.h"

#include "base/bytes.h"
#include "tests/unit.h"

#include <string.h>

/* Headers: id 0x1234, RD, and counts of question, answer, authority, additional. */
#define HEAD(q, an, ns, ar) "\x12\x34\x01\x00\0" q "\0" an "\0" ns "\0" ar
#define WEB                 "\3web\10heimdall\0"
#define A_IN                "\0\1\0\1"
#define OPT                 "\0\0\x29\x04\xd0\0\0\0\0\0\0"
#define BYTES(text)         text, sizeof(text) - 1

static const struct {
    const char *bytes;
    size_t len;
    enum dns_parse expected;
} messages[] = {
    /* 0 */ {BYTES(HEAD("\1", "\0", "\0", "\0") WEB A_IN), DNS_PARSE_OK},
    /* 1: no message */ {BYTES(""), DNS_PARSE_IGNORE},
    /* 2: a header cut short */ {BYTES("\x12\x34\x01\x00\0\1\0\0\0\0\0"), DNS_PARSE_IGNORE},
    /* 3: a response */
    {BYTES("\x12\x34\x81\x00\0\1\0\0\0\0\0\0" WEB A_IN), DNS_PARSE_IGNORE},
    /* 4: no question */ {BYTES(HEAD("\0", "\0", "\0", "\0")), DNS_PARSE_FORMERR},
    /* 5: two questions */
    {BYTES(HEAD("\2", "\0", "\0", "\0") WEB A_IN WEB A_IN), DNS_PARSE_FORMERR},
    /* 6: 65,535 questions */
    {BYTES("\x12\x34\x01\x00\xff\xff\0\0\0\0\0\0" WEB A_IN), DNS_PARSE_FORMERR},
    /* 7: a question that is announced only */
    {BYTES(HEAD("\1", "\0", "\0", "\0")), DNS_PARSE_FORMERR},
    /* 8: a name cut in a label */ {BYTES(HEAD("\1", "\0", "\0", "\0") "\3we"), DNS_PARSE_FORMERR},
    /* 9: a name without its end */
    {BYTES(HEAD("\1", "\0", "\0", "\0") "\3web"), DNS_PARSE_FORMERR},
    /* 10: type without class */
    {BYTES(HEAD("\1", "\0", "\0", "\0") WEB "\0\1\0"), DNS_PARSE_FORMERR},
    /* 11: something behind the question */
    {BYTES(HEAD("\1", "\0", "\0", "\0") WEB A_IN "\0"), DNS_PARSE_FORMERR},
    /* 12: a pointer to itself */
    {BYTES(HEAD("\1", "\0", "\0", "\0") "\xc0\x0c" A_IN), DNS_PARSE_FORMERR},
    /* 13: a pointer into the header */
    {BYTES(HEAD("\1", "\0", "\0", "\0") "\xc0\x04" A_IN), DNS_PARSE_FORMERR},
    /* 14: a pointer forward */
    {BYTES(HEAD("\1", "\0", "\0", "\0") "\xc0\x0e\1a\0" A_IN), DNS_PARSE_FORMERR},
    /* 15: a label and a pointer back to it: a loop */
    {BYTES(HEAD("\1", "\0", "\0", "\0") "\1a\xc0\x0c" A_IN), DNS_PARSE_FORMERR},
    /* 16: half a pointer */ {BYTES(HEAD("\1", "\0", "\0", "\0") "\xc0"), DNS_PARSE_FORMERR},
    /* 17: label type 01 */
    {BYTES(HEAD("\1", "\0", "\0", "\0") "\x41"
                                        "a\0" A_IN),
     DNS_PARSE_FORMERR},
    /* 18: label type 10 */
    {BYTES(HEAD("\1", "\0", "\0", "\0") "\x81"
                                        "a\0" A_IN),
     DNS_PARSE_FORMERR},
    /* 19: the root */ {BYTES(HEAD("\1", "\0", "\0", "\0") "\0" A_IN), DNS_PARSE_OK},
    /* 20: with OPT */ {BYTES(HEAD("\1", "\0", "\0", "\1") WEB A_IN OPT), DNS_PARSE_OK},
    /* 21: with OPT twice */
    {BYTES(HEAD("\1", "\0", "\0", "\2") WEB A_IN OPT OPT), DNS_PARSE_FORMERR},
    /* 22: OPT in the answer section */
    {BYTES(HEAD("\1", "\1", "\0", "\0") WEB A_IN OPT), DNS_PARSE_FORMERR},
    /* 23: OPT in the authority section */
    {BYTES(HEAD("\1", "\0", "\1", "\0") WEB A_IN OPT), DNS_PARSE_FORMERR},
    /* 24: OPT with a name */
    {BYTES(HEAD("\1", "\0", "\0", "\1") WEB A_IN "\1a" OPT), DNS_PARSE_FORMERR},
    /* 25: an option longer than OPT */
    {BYTES(HEAD("\1", "\0", "\0", "\1") WEB A_IN "\0\0\x29\x04\xd0\0\0\0\0\0\4\0\x0a\0\1"),
     DNS_PARSE_FORMERR},
    /* 26: an option of the right length */
    {BYTES(HEAD("\1", "\0", "\0", "\1") WEB A_IN "\0\0\x29\x04\xd0\0\0\0\0\0\5\0\x0a\0\1x"),
     DNS_PARSE_OK},
    /* 27: rdata longer than the message */
    {BYTES(HEAD("\1", "\0", "\0", "\1") WEB A_IN "\0\0\x29\x04\xd0\0\0\0\0\0\xff"),
     DNS_PARSE_FORMERR},
    /* 28: a record cut in its fixed part */
    {BYTES(HEAD("\1", "\0", "\0", "\1") WEB A_IN "\0\0\x29\x04"), DNS_PARSE_FORMERR},
    /* 29: a record whose name points at the question */
    {BYTES(HEAD("\1", "\1", "\0", "\0") WEB A_IN "\xc0\x0c\0\1\0\1\0\0\0\5\0\4\1\2\3\4"),
     DNS_PARSE_OK},
    /* 30: a record whose name points at itself through the question's end */
    {BYTES(HEAD("\1", "\1", "\0", "\0") WEB A_IN "\xc0\x1e\0\1\0\1\0\0\0\5\0\4\1\2\3\4"),
     DNS_PARSE_FORMERR},
    /* 31: a record that is announced only */
    {BYTES(HEAD("\1", "\0", "\0", "\1") WEB A_IN), DNS_PARSE_FORMERR},
};

START_TEST(messages_are_parsed)
{
    /* exact length, so that a sanitizer sees a read past the end */
    uint8_t *copy = malloc(messages[_i].len + (messages[_i].len == 0));
    struct dns_query query;
    memcpy(copy, messages[_i].bytes, messages[_i].len);
    ck_assert_int_eq(dns_query_parse(&query, copy, messages[_i].len), messages[_i].expected);
    if (messages[_i].expected != DNS_PARSE_IGNORE)
        ck_assert_uint_eq(query.id, 0x1234);
    free(copy);
}
END_TEST

START_TEST(every_cut_of_a_message_is_refused)
{
    static const char whole[] = HEAD("\1", "\1", "\0", "\1") WEB A_IN
        "\xc0\x0c\0\1\0\1\0\0\0\5\0\4\1\2\3\4\0\0\x29\x04\xd0\0\0\0\0\0\5\0\x0a\0\1x";
    struct dns_query query;
    for (size_t len = 0; len < sizeof whole - 1; len++) {
        uint8_t *copy = malloc(len + (len == 0));
        memcpy(copy, whole, len);
        ck_assert_int_eq(dns_query_parse(&query, copy, len),
                         len < DNS_HEADER_LEN ? DNS_PARSE_IGNORE : DNS_PARSE_FORMERR);
        free(copy);
    }
    ck_assert_int_eq(dns_query_parse(&query, (const uint8_t *)whole, sizeof whole - 1),
                     DNS_PARSE_OK);
}
END_TEST

START_TEST(every_opcode_but_query_is_not_implemented)
{
    uint8_t message[] = HEAD("\1", "\0", "\0", "\0") WEB A_IN;
    struct dns_query query;
    message[2] = (uint8_t)(_i << 3);
    ck_assert_int_eq(dns_query_parse(&query, message, sizeof message - 1),
                     _i == 0 ? DNS_PARSE_OK : DNS_PARSE_NOTIMP);
    ck_assert_uint_eq(query.opcode, (unsigned)_i);
}
END_TEST

static const struct {
    uint16_t size;
    uint32_t ttl;
    uint16_t udp_size;
    uint8_t version;
    bool dnssec;
} opts[] = {
    {1232, 0, 1232, 0, false},         {0, 0, 512, 0, false},
    {511, 0, 512, 0, false},           {65535, 0, 65535, 0, false},
    {4096, 0x8000, 4096, 0, true},     {512, 0x00010000, 512, 1, false},
    {512, 0x00ff8000, 512, 255, true}, {512, 0x00007fff, 512, 0, false},
};

START_TEST(opt_is_read)
{
    uint8_t message[] = HEAD("\1", "\0", "\0", "\1") WEB A_IN OPT;
    uint8_t *opt = message + sizeof message - 1 - 11;
    struct dns_query query;
    store_be16(opt + 3, opts[_i].size);
    store_be32(opt + 5, opts[_i].ttl);
    ck_assert_int_eq(dns_query_parse(&query, message, sizeof message - 1), DNS_PARSE_OK);
    ck_assert(query.edns);
    ck_assert_uint_eq(query.udp_size, opts[_i].udp_size);
    ck_assert_uint_eq(query.edns_version, opts[_i].version);
    ck_assert_int_eq(query.edns_do, opts[_i].dnssec);
}
END_TEST

/* Labels of 63 octets up to the limit of 255, and one octet more. */
START_TEST(the_longest_name)
{
    uint8_t message[DNS_HEADER_LEN + 300] = {0};
    struct dns_name name;
    for (size_t last = 61; last <= 62; last++) {
        size_t at = DNS_HEADER_LEN;
        for (int i = 0; i < 3; i++) {
            message[at] = 63;
            memset(message + at + 1, 'x', 63);
            at += 64;
        }
        message[at] = (uint8_t)last;
        memset(message + at + 1, 'x', last);
        message[at + 1 + last] = 0;
        size_t offset = DNS_HEADER_LEN;
        ck_assert_int_eq(dns_name_read(&name, message, sizeof message, &offset), last == 61);
        if (last == 61) {
            ck_assert_uint_eq(name.len, 255);
            ck_assert_uint_eq(offset, DNS_HEADER_LEN + 255);
        }
    }
}
END_TEST

/* Pointers to earlier pointers end. Their name may not exceed 255 octets. */
START_TEST(pointer_chains)
{
    uint8_t message[4096] = {0};
    size_t at = DNS_HEADER_LEN;
    struct dns_name name;
    message[at++] = 0;
    size_t previous = DNS_HEADER_LEN;
    for (int links = 1; links <= 200; links++) {
        size_t start = at;
        message[at++] = 1;
        message[at++] = 'a';
        store_be16(message + at, (uint16_t)(0xc000 | previous));
        at += 2;
        previous = start;
        size_t offset = start;
        ck_assert_int_eq(dns_name_read(&name, message, at, &offset), links <= 127);
        if (links <= 127)
            ck_assert_uint_eq(offset, at);
    }
}
END_TEST

static const struct {
    const char *text;
    bool valid;
    const char *back;
} texts[] = {
    {"web.heimdall", true, "web.heimdall."},
    {"web.heimdall.", true, "web.heimdall."},
    {"", true, "."},
    {".", true, "."},
    {"..", false, NULL},
    {"a..b", false, NULL},
    {".a", false, NULL},
    {"a b", true, "a\\032b."},
    {"a;(b", true, "a\\;\\(b."},
    {"\xff", true, "\\255."},
    {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", false, NULL},
};

START_TEST(names_from_and_to_text)
{
    struct dns_name name;
    char out[DNS_TEXT_MAX];
    ck_assert_int_eq(dns_name_from_text(&name, texts[_i].text), texts[_i].valid);
    if (texts[_i].valid)
        ck_assert_str_eq(dns_name_to_text(&name, out), texts[_i].back);
}
END_TEST

START_TEST(the_longest_text_fits)
{
    struct dns_name name;
    char out[DNS_TEXT_MAX];
    name.len = 255;
    memset(name.bytes, 0xff, 255);
    for (size_t at = 0; at < 192; at += 64)
        name.bytes[at] = 63;
    name.bytes[192] = 61;
    name.bytes[254] = 0;
    ck_assert_uint_eq(strlen(dns_name_to_text(&name, out)), 250 * 4 + 4);
}
END_TEST

static struct dns_query make_query(const char *name, bool edns)
{
    struct dns_query query = {.id = 7, .flags = DNS_FLAG_RD, .type = DNS_TYPE_A, .class = 1};
    query.edns = edns;
    ck_assert(dns_name_from_text(&query.name, name));
    return query;
}

START_TEST(names_are_compressed)
{
    uint8_t out[512];
    struct dns_writer writer;
    struct dns_name target;
    struct dns_query query = make_query("Web.Heimdall", false);
    dns_writer_init(&writer, out, sizeof out, &query, true);
    ck_assert_uint_eq(writer.len, 12 + 14 + 4);
    dns_name_from_text(&target, "router.heimdall");
    struct dns_record_mark mark = dns_writer_begin(&writer, &query.name, DNS_TYPE_NS, 1, 5);
    dns_writer_name(&writer, &target, true);
    dns_writer_end(&writer, DNS_ANSWER, mark);
    /* owner: a pointer to the question; target: a label and a pointer into it */
    ck_assert_uint_eq(writer.len, 30 + 2 + 10 + 7 + 2);
    ck_assert_mem_eq(out + 30, "\xc0\x0c", 2);
    ck_assert_mem_eq(out + 42, "\6router\xc0\x10", 9);
    ck_assert_uint_eq(load_be16(out + 40), 9);
    /* the new name is known now, and its suffixes are not written twice */
    dns_writer_record(&writer, DNS_ADDITIONAL, &target, DNS_TYPE_A, 1, 5, "\1\2\3\4", 4);
    ck_assert_mem_eq(out + 51, "\xc0\x2a\0\1\0\1\0\0\0\5\0\4\1\2\3\4", 16);
    ck_assert_uint_eq(dns_writer_finish(&writer, &query, 0, 0), 67);
    ck_assert_mem_eq(out, "\0\7\x81\0\0\1\0\1\0\0\0\1", 12);
    size_t offset = 42;
    struct dns_name read;
    ck_assert(dns_name_read(&read, out, 67, &offset));
    ck_assert(dns_name_equal(&read, &target));
}
END_TEST

START_TEST(what_does_not_fit_is_left_out_whole)
{
    uint8_t out[512 + 1];
    struct dns_writer writer;
    struct dns_query query = make_query("web.heimdall", _i == 1);
    out[512] = 0xaa;
    dns_writer_init(&writer, out, 512, &query, true);
    for (int i = 0; i < 100; i++)
        dns_writer_record(&writer, DNS_ANSWER, &query.name, DNS_TYPE_A, 1, 5, "\1\2\3\4", 4);
    ck_assert(writer.full);
    size_t len = dns_writer_finish(&writer, &query, 0, 0);
    unsigned expected = _i == 1 ? (512 - 30 - 11) / 16 : (512 - 30) / 16;
    ck_assert_uint_eq(load_be16(out + 6), expected);
    ck_assert_uint_eq(load_be16(out + 10), _i == 1);
    ck_assert_uint_eq(len, 30 + 16 * expected + (_i == 1 ? 11U : 0U));
    ck_assert(load_be16(out + 2) & DNS_FLAG_TC);
    ck_assert_uint_eq(out[512], 0xaa);
}
END_TEST

START_TEST(extended_rcodes_go_into_opt)
{
    uint8_t out[512];
    struct dns_writer writer;
    struct dns_query query = make_query("a", true);
    query.edns_do = true;
    dns_writer_init(&writer, out, sizeof out, &query, true);
    size_t len = dns_writer_finish(&writer, &query, 0, DNS_BADVERS);
    ck_assert_uint_eq(out[3] & 0xf, 0);
    ck_assert_mem_eq(out + len - 11, "\0\0\x29\x04\xd0\1\0\x80\0\0\0", 11);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("wire");
    tcase_add_loop_test(tc, messages_are_parsed, 0, ARRAY_LEN(messages));
    tcase_add_test(tc, every_cut_of_a_message_is_refused);
    tcase_add_loop_test(tc, every_opcode_but_query_is_not_implemented, 0, 16);
    tcase_add_loop_test(tc, opt_is_read, 0, ARRAY_LEN(opts));
    tcase_add_test(tc, the_longest_name);
    tcase_add_test(tc, pointer_chains);
    tcase_add_loop_test(tc, names_from_and_to_text, 0, ARRAY_LEN(texts));
    tcase_add_test(tc, the_longest_text_fits);
    tcase_add_test(tc, names_are_compressed);
    tcase_add_loop_test(tc, what_does_not_fit_is_left_out_whole, 0, 2);
    tcase_add_test(tc, extended_rcodes_go_into_opt);
    return unit_run(tc);
}
