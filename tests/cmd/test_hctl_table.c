#include "cmd/hctl_table.h"

#include "tests/unit.h"

#include <string.h>

static const char *const headers[] = {"ID", "NAME", "ADDRESS"};
static const char *const cells[][3] = {
    {"9c76f92d-d55a-46c0-84d6-58c981442830", "client", "10.51.0.2"},
    {"x", "", "10.51.0.3"},
    {"y", "a-rather-long-name-for-a-host", NULL},
};

/* The caller frees the text. */
static char *printed(size_t rows, size_t width, const char *mark)
{
    char *text = NULL;
    size_t len = 0;
    struct page page = {width, mark};
    struct table table;
    FILE *file = open_memstream(&text, &len);
    table_init(&table, headers, 3, rows);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < 3; c++)
            table_set(&table, r, c, cells[r][c]);
    ck_assert_int_eq(table_print(&table, file, &page), 0);
    table_fini(&table);
    fclose(file);
    return text;
}

START_TEST(as_wide_as_needed)
{
    char *text = printed(3, 0, "...");
    ck_assert_str_eq(
        text, "ID                                     NAME                            ADDRESS\n"
              "9c76f92d-d55a-46c0-84d6-58c981442830   client                          10.51.0.2\n"
              "x                                                                      10.51.0.3\n"
              "y                                      a-rather-long-name-for-a-host\n");
    free(text);
}
END_TEST

START_TEST(headers_alone)
{
    char *text = printed(0, 80, "...");
    ck_assert_str_eq(text, "ID   NAME   ADDRESS\n");
    free(text);
}
END_TEST

/* The widest columns shrink to one width, the others stay whole. */
START_TEST(cut_to_the_page)
{
    char *text = printed(3, 50, "...");
    ck_assert_str_eq(text, "ID                  NAME                 ADDRESS\n"
                           "9c76f92d-d55a-4...  client               10.51.0.2\n"
                           "x                                        10.51.0.3\n"
                           "y                   a-rather-long-na...\n");
    free(text);
}
END_TEST

START_TEST(cut_with_one_letter)
{
    char *text = printed(1, 34, "…");
    ck_assert_str_eq(text, "ID               NAME    ADDRESS\n"
                           "9c76f92d-d55a-…  client  10.51.0.2\n");
    free(text);
}
END_TEST

static const size_t widths[] = {24, 30, 40, 60, 79, 80, 81, 82, 200};

START_TEST(no_line_is_wider_than_the_page)
{
    char *text = printed(3, widths[_i], "...");
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
        ck_assert_uint_le(strlen(line), widths[_i]);
    free(text);
}
END_TEST

/* Columns keep a least width on any page. */
START_TEST(too_narrow_a_page)
{
    char *text = printed(1, 10, "...");
    ck_assert_str_eq(text, "ID     NAME   AD...\n9c...  cl...  10...\n");
    free(text);
}
END_TEST

START_TEST(cells_cannot_drive_the_terminal)
{
    char *text = NULL;
    size_t len = 0;
    struct page page = {0, "..."};
    struct table table;
    FILE *file = open_memstream(&text, &len);
    table_init(&table, headers, 1, 1);
    table_set(&table, 0, 0, "replaced");
    table_set(&table, 0, 0, "a\x1b[31m\n\x9b");
    ck_assert_int_eq(table_print(&table, file, &page), 0);
    table_fini(&table);
    fclose(file);
    ck_assert_str_eq(text, "ID\na?[31m??\n");
    free(text);
}
END_TEST

START_TEST(a_file_is_no_terminal)
{
    FILE *file = tmpfile();
    struct page page = page_of(file);
    ck_assert_uint_eq(page.width, 0);
    ck_assert_str_eq(page.mark, "..."); /* no locale was set */
    fclose(file);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("hctl_table");
    tcase_add_test(tc, as_wide_as_needed);
    tcase_add_test(tc, headers_alone);
    tcase_add_test(tc, cut_to_the_page);
    tcase_add_test(tc, cut_with_one_letter);
    tcase_add_loop_test(tc, no_line_is_wider_than_the_page, 0, ARRAY_LEN(widths));
    tcase_add_test(tc, too_narrow_a_page);
    tcase_add_test(tc, cells_cannot_drive_the_terminal);
    tcase_add_test(tc, a_file_is_no_terminal);
    return unit_run(tc);
}
