#include "cmd/hctl_text.h"

#include "tests/unit.h"

#include <string.h>

static const struct {
    int64_t age;
    const char *text;
} ages[] = {
    {-5, "now"}, /* clocks differ */
    {0, "now"},
    {1, "1 second ago"},
    {3, "3 seconds ago"},
    {59, "59 seconds ago"},
    {60, "1 minute ago"},
    {119, "1 minute ago"},
    {7200, "2 hours ago"},
    {86399, "23 hours ago"},
    {86400, "1 day ago"},
    {INT64_C(40) * 86400, "40 days ago"},
};

START_TEST(age)
{
    char out[TEXT_AGE];
    Google__Protobuf__Timestamp then = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    then.seconds = 1700000000 - ages[_i].age;
    ck_assert_str_eq(text_age(out, &then, 1700000000), ages[_i].text);
    ck_assert_str_eq(text_age(out, NULL, 1700000000), "none yet");
}
END_TEST

static const struct {
    uint64_t bytes;
    const char *text;
} sizes[] = {
    {0, "0 B"},
    {1023, "1023 B"},
    {1024, "1.0 KiB"},
    {1536, "1.5 KiB"},
    {10 * 1024 - 1, "9.9 KiB"},
    {10 * 1024, "10 KiB"},
    {1024 * 1024 - 1, "1023 KiB"},
    {UINT64_C(117) << 20, "117 MiB"},
    {UINT64_C(5) << 30, "5.0 GiB"},
    {UINT64_MAX, "15 EiB"},
};

START_TEST(bytes)
{
    char out[TEXT_BYTES];
    ck_assert_str_eq(text_bytes(out, sizes[_i].bytes), sizes[_i].text);
}
END_TEST

START_TEST(endpoint)
{
    char out[64];
    ck_assert_str_eq(text_endpoint(out, sizeof out, "192.0.2.1", 10100), "192.0.2.1:10100");
    ck_assert_str_eq(text_endpoint(out, sizeof out, "2001:db8::1", 1), "[2001:db8::1]:1");
    ck_assert_str_eq(text_endpoint(out, sizeof out, "", 10100), "");
}
END_TEST

START_TEST(a_line_cannot_drive_the_terminal)
{
    char *text = NULL;
    size_t len = 0;
    FILE *file = open_memstream(&text, &len);
    text_put_line(file, "a\x1b[2Jb\nc\xc3\xa9");
    fclose(file);
    ck_assert_str_eq(text, "a?[2Jb?c??\n");
    free(text);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("hctl_text");
    tcase_add_loop_test(tc, age, 0, ARRAY_LEN(ages));
    tcase_add_loop_test(tc, bytes, 0, ARRAY_LEN(sizes));
    tcase_add_test(tc, endpoint);
    tcase_add_test(tc, a_line_cannot_drive_the_terminal);
    return unit_run(tc);
}
