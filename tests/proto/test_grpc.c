#include "proto/grpc.h"

#include "tests/unit.h"

#include <string.h>

static const struct {
    const char *plain, *encoded;
} percent[] = {
    {"", ""},
    {"plain text, with ~", "plain text, with ~"},
    {"100%", "100%25"},
    {"a\nb\x7f", "a%0Ab%7F"},
    {"\xc3\xbc", "%C3%BC"},
};

START_TEST(percent_round_trip)
{
    struct buffer out;
    char plain[64];
    buffer_init(&out);
    grpc_percent_encode(&out, percent[_i].plain);
    ck_assert_uint_eq(buffer_len(&out), strlen(percent[_i].encoded));
    if (buffer_len(&out) > 0)
        ck_assert_mem_eq(buffer_data(&out), percent[_i].encoded, buffer_len(&out));
    grpc_percent_decode(plain, sizeof plain, percent[_i].encoded, strlen(percent[_i].encoded));
    ck_assert_str_eq(plain, percent[_i].plain);
    buffer_fini(&out);
}
END_TEST

static const struct {
    const char *encoded, *plain;
} broken[] = {{"%", "%"}, {"%4", "%4"}, {"%zz", "%zz"}, {"a%00b", "ab"}, {"%c3%bc", "\xc3\xbc"}};

START_TEST(percent_of_broken_text)
{
    char plain[64];
    grpc_percent_decode(plain, sizeof plain, broken[_i].encoded, strlen(broken[_i].encoded));
    ck_assert_str_eq(plain, broken[_i].plain);
}
END_TEST

START_TEST(percent_is_cut)
{
    char plain[4];
    grpc_percent_decode(plain, sizeof plain, "abcdef", 6);
    ck_assert_str_eq(plain, "abc");
}
END_TEST

static const struct {
    const char *text;
    bool ok;
    uint64_t ns;
} timeouts[] = {
    {"1n", true, 1},
    {"100m", true, 100000000},
    {"5S", true, UINT64_C(5000000000)},
    {"2M", true, UINT64_C(120000000000)},
    {"1H", true, UINT64_C(3600000000000)},
    {"0S", true, 0},
    {"99999999u", true, UINT64_C(99999999000)},
    {"99999999H", true, UINT64_MAX},
    {"100000000n", false, 0},
    {"S", false, 0},
    {"", false, 0},
    {"5", false, 0},
    {"-5S", false, 0},
    {"5s", false, 0},
    {" 5S", false, 0},
};

START_TEST(timeout_parse)
{
    uint64_t ns = 0;
    bool ok = grpc_timeout_parse(&ns, timeouts[_i].text, strlen(timeouts[_i].text));
    ck_assert_int_eq(ok, timeouts[_i].ok);
    if (ok)
        ck_assert_uint_eq(ns, timeouts[_i].ns);
}
END_TEST

static const struct {
    uint64_t ns;
    const char *text;
} formats[] = {{0, "0n"},
               {99999999, "99999999n"},
               {100000000, "100000u"},
               {UINT64_C(5000000000), "5000000u"},
               {UINT64_C(3600000000000), "3600000m"},
               {UINT64_MAX - 1, "5124095H"}};

START_TEST(timeout_format)
{
    char text[GRPC_TIMEOUT_TEXT];
    uint64_t back;
    grpc_timeout_format(text, formats[_i].ns);
    if (_i < 5)
        ck_assert_str_eq(text, formats[_i].text);
    ck_assert(grpc_timeout_parse(&back, text, strlen(text)));
    ck_assert_uint_le(back, formats[_i].ns);
    ck_assert_uint_ge(back, formats[_i].ns - formats[_i].ns / 10);
}
END_TEST

struct sink {
    unsigned count;
    unsigned stop_at;
    uint8_t bytes[256];
    size_t len;
};

static bool take(void *ctx, const uint8_t *bytes, size_t len)
{
    struct sink *sink = ctx;
    ck_assert_uint_le(sink->len + len, sizeof sink->bytes);
    memcpy(sink->bytes + sink->len, bytes, len);
    sink->len += len;
    sink->count++;
    return sink->count != sink->stop_at;
}

/* Three messages, one of them empty, cut at every two places. */
START_TEST(deframe_at_every_split)
{
    struct buffer wire;
    buffer_init(&wire);
    grpc_frame_append(&wire, "hello", 5);
    grpc_frame_append(&wire, "", 0);
    grpc_frame_append(&wire, "world!", 6);
    size_t len = buffer_len(&wire);
    ck_assert_uint_eq(len, 26);
    for (size_t a = 0; a <= len; a++) {
        for (size_t b = a; b <= len; b++) {
            struct sink sink = {0};
            struct grpc_deframer deframer;
            const uint8_t *at = buffer_data(&wire);
            grpc_deframer_init(&deframer, 100);
            ck_assert_int_eq(grpc_deframer_feed(&deframer, at, a, take, &sink), GRPC_OK);
            ck_assert_int_eq(grpc_deframer_feed(&deframer, at + a, b - a, take, &sink), GRPC_OK);
            ck_assert_int_eq(grpc_deframer_feed(&deframer, at + b, len - b, take, &sink), GRPC_OK);
            ck_assert_uint_eq(sink.count, 3);
            ck_assert_uint_eq(sink.len, 11);
            ck_assert_mem_eq(sink.bytes, "helloworld!", 11);
            ck_assert(!grpc_deframer_is_partial(&deframer));
            grpc_deframer_fini(&deframer);
        }
    }
    buffer_fini(&wire);
}
END_TEST

static const struct {
    uint8_t prefix[5];
    enum grpc_code code;
} prefixes[] = {
    {{0, 0, 0, 0, 100}, GRPC_OK},
    {{0, 0, 0, 0, 101}, GRPC_RESOURCE_EXHAUSTED},
    {{0, 255, 255, 255, 255}, GRPC_RESOURCE_EXHAUSTED},
    {{1, 0, 0, 0, 1}, GRPC_UNIMPLEMENTED},
    {{2, 0, 0, 0, 1}, GRPC_INTERNAL},
};

START_TEST(deframe_prefix)
{
    struct sink sink = {0};
    struct grpc_deframer deframer;
    grpc_deframer_init(&deframer, 100);
    ck_assert_int_eq(grpc_deframer_feed(&deframer, prefixes[_i].prefix, 5, take, &sink),
                     prefixes[_i].code);
    ck_assert_uint_eq(sink.count, 0);
    ck_assert(grpc_deframer_is_partial(&deframer));
    grpc_deframer_fini(&deframer);
}
END_TEST

START_TEST(deframe_stops_when_told)
{
    struct sink sink = {.stop_at = 1};
    struct grpc_deframer deframer;
    struct buffer wire;
    buffer_init(&wire);
    grpc_deframer_init(&deframer, 100);
    grpc_frame_append(&wire, "a", 1);
    grpc_frame_append(&wire, "b", 1);
    ck_assert_int_eq(
        grpc_deframer_feed(&deframer, buffer_data(&wire), buffer_len(&wire), take, &sink), GRPC_OK);
    ck_assert_uint_eq(sink.count, 1);
    ck_assert(!grpc_deframer_is_partial(&deframer));
    grpc_deframer_fini(&deframer);
    buffer_fini(&wire);
}
END_TEST

START_TEST(code_names)
{
    ck_assert_str_eq(grpc_code_name(GRPC_OK), "OK");
    ck_assert_str_eq(grpc_code_name(GRPC_UNAUTHENTICATED), "UNAUTHENTICATED");
    ck_assert_str_eq(grpc_code_name(17), "UNKNOWN");
    ck_assert_str_eq(grpc_code_name(-1), "UNKNOWN");
    ck_assert_int_eq(grpc_code_from_http(503), GRPC_UNAVAILABLE);
    ck_assert_int_eq(grpc_code_from_http(418), GRPC_UNKNOWN);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("grpc");
    tcase_add_loop_test(tc, percent_round_trip, 0, (int)ARRAY_LEN(percent));
    tcase_add_loop_test(tc, percent_of_broken_text, 0, (int)ARRAY_LEN(broken));
    tcase_add_test(tc, percent_is_cut);
    tcase_add_loop_test(tc, timeout_parse, 0, (int)ARRAY_LEN(timeouts));
    tcase_add_loop_test(tc, timeout_format, 0, (int)ARRAY_LEN(formats));
    tcase_add_test(tc, deframe_at_every_split);
    tcase_add_loop_test(tc, deframe_prefix, 0, (int)ARRAY_LEN(prefixes));
    tcase_add_test(tc, deframe_stops_when_told);
    tcase_add_test(tc, code_names);
    return unit_run(tc);
}
