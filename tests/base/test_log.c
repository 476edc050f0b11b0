#include "base/log.h"

#include "tests/unit.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int fds[2];
static char line[8192];

static void capture(void)
{
    ck_assert_int_eq(pipe(fds), 0);
    log_set_fd(fds[1]);
}

/* What was logged since the last call; without the time, which is the first `skip` characters. */
static const char *logged(size_t skip)
{
    ssize_t n = read(fds[0], line, sizeof line - 1);
    ck_assert_int_gt(n, (ssize_t)skip);
    line[n] = '\0';
    return line + skip;
}

enum { TEXT_TIME = 25, JSON_TIME = 35 };

START_TEST(text_lines)
{
    log_info("route created", F_STR("network", "10.0.0.0/8"), F_INT("rev", -3));
    ck_assert_str_eq(logged(TEXT_TIME), "INFO route created network=10.0.0.0/8 rev=-3\n");
    log_warn("odd", F_STR("a", "b c"), F_STR("d", "say \"x\"\n"), F_STR("e", ""), F_STR("f", NULL));
    ck_assert_str_eq(logged(TEXT_TIME),
                     "WARN odd a=\"b c\" d=\"say \\\"x\\\"\\u000a\" e=\"\" f=\"\"\n");
}
END_TEST

START_TEST(json_lines)
{
    log_set_format(LOG_JSON);
    log_error("it's \"bad\"", F_STR("path", "C:\\\t"), F_INT("n", 7));
    ck_assert_str_eq(logged(JSON_TIME), "\"level\":\"error\",\"msg\":\"it's \\\"bad\\\"\","
                                        "\"path\":\"C:\\\\\\u0009\",\"n\":7}\n");
}
END_TEST

START_TEST(levels)
{
    log_debug("not shown");
    ck_assert(!log_enabled(LOG_DEBUG));
    log_set_level(LOG_DEBUG);
    log_debug("shown");
    ck_assert_str_eq(logged(TEXT_TIME), "DEBU shown\n");
    log_set_level(LOG_ERROR);
    log_warn("not shown");
    log_error("last");
    ck_assert_str_eq(logged(TEXT_TIME), "ERRO last\n");
}
END_TEST

START_TEST(a_long_line_is_cut)
{
    char big[5000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    log_info("big", F_STR("value", big));
    const char *text = logged(0);
    size_t len = strlen(text);
    ck_assert_uint_gt(len, 1900);
    ck_assert_uint_le(len, 2048);
    ck_assert_int_eq(text[len - 1], '\n');
}
END_TEST

/* In both formats; a line in JSON keeps its end when it is cut. */
START_TEST(what_others_wrote_is_escaped)
{
    static const struct {
        const char *value;
        const char *shown;
    } cases[] = {
        {"a\x1b[31m", "a\\u001b[31m"},
        {"gr\xc3\xbc\xc3\x9f", "gr\\u00fc\\u00df"},
        {"\xe2\x80\xae", "\\u202e"},
        {"\xf0\x9f\x98\x80", "\\ud83d\\ude00"},
        {"\xff\xc3", "\\ufffd\\ufffd"},
        {"\xc0\xaf", "\\ufffd\\ufffd"},
        {"\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd"},
        {"\xe2\x80", "\\ufffd\\ufffd"},
        {"\x7f", "\\u007f"},
    };
    char expected[200];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        log_set_format(LOG_TEXT);
        log_info("m", F_STR("v", cases[i].value));
        snprintf(expected, sizeof expected, "INFO m v=\"%s\"\n", cases[i].shown);
        ck_assert_str_eq(logged(TEXT_TIME), expected);
        log_set_format(LOG_JSON);
        log_info(cases[i].value, F_STR("v", cases[i].value));
        snprintf(expected, sizeof expected, "\"level\":\"info\",\"msg\":\"%s\",\"v\":\"%s\"}\n",
                 cases[i].shown, cases[i].shown);
        ck_assert_str_eq(logged(JSON_TIME), expected);
    }
    log_set_format(LOG_TEXT);
    log_info("a\nb\xff");
    ck_assert_str_eq(logged(TEXT_TIME), "INFO a?b?\n");
}
END_TEST

START_TEST(a_long_json_line_is_whole)
{
    char big[5000];
    memset(big, '"', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    log_set_format(LOG_JSON);
    log_info("big", F_STR("first", big), F_STR("second", big), F_INT("third", 3));
    const char *text = logged(0);
    size_t len = strlen(text);
    ck_assert_uint_gt(len, 1900);
    ck_assert_uint_le(len, 2048);
    ck_assert_str_eq(text + len - 5, "\\\"\"}\n");
}
END_TEST

START_TEST(few_lines_in_a_window)
{
    struct log_limit limit = {0};
    unsigned left_out;
    uint64_t now = 1;
    for (unsigned i = 0; i < LOG_LIMIT_LINES + 15; i++)
        ck_assert(log_limit_passes(&limit, now, &left_out) == (i < LOG_LIMIT_LINES));
    now += LOG_LIMIT_WINDOW_NS - 1;
    ck_assert(!log_limit_passes(&limit, now, &left_out));
    ck_assert(log_limit_passes(&limit, now + 1, &left_out));
    ck_assert_uint_eq(left_out, 16);
    ck_assert(log_limit_passes(&limit, now + 2, &left_out));
    ck_assert_uint_eq(left_out, 0);
}
END_TEST

START_TEST(ids_are_shortened)
{
    char shortened[9];
    ck_assert_str_eq(log_short_id(shortened, "9c76f92d-d55a-46c0"), "9c76f92d");
    ck_assert_str_eq(log_short_id(shortened, "abc"), "abc");
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("log");
    tcase_add_checked_fixture(tc, capture, NULL);
    tcase_add_test(tc, text_lines);
    tcase_add_test(tc, json_lines);
    tcase_add_test(tc, levels);
    tcase_add_test(tc, a_long_line_is_cut);
    tcase_add_test(tc, what_others_wrote_is_escaped);
    tcase_add_test(tc, a_long_json_line_is_whole);
    tcase_add_test(tc, few_lines_in_a_window);
    tcase_add_test(tc, ids_are_shortened);
    return unit_run(tc);
}
