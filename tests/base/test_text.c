#include "base/text.h"

#include "tests/unit.h"

#include <string.h>

static const struct {
    const char *text;
    const char *trimmed;
} texts[] = {
    {"", ""},
    {" \t\r\n", ""},
    {"a", "a"},
    {" a b\t", "a b"},
    {"a\r\n\n", "a"},
    {"\n\na", "a"},
    {"\xef\xbb\xbf a\r\n", "a"},
    {"\xef\xbb\xbf", ""},
    {"\xef\xbb", "\xef\xbb"},
};

START_TEST(marks_and_blanks_go)
{
    char text[32];
    strcpy(text, texts[_i].text);
    ck_assert_str_eq(text_trim(text_skip_mark(text)), texts[_i].trimmed);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("text");
    tcase_add_loop_test(tc, marks_and_blanks_go, 0, ARRAY_LEN(texts));
    return unit_run(tc);
}
