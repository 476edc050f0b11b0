#include "base/search.h"

#include "tests/unit.h"

struct sought {
    const int *sorted;
    int value;
    size_t *asked;
};

static bool is_before(const void *ctx, size_t place)
{
    const struct sought *sought = ctx;
    (*sought->asked)++;
    return sought->sorted[place] < sought->value;
}

START_TEST(first_place_that_is_not_before)
{
    static const int sorted[] = {2, 4, 4, 4, 7, 9};
    static const struct {
        size_t count;
        int value;
        size_t place;
    } rows[] = {
        {0, 5, 0},                                   /* nothing to search */
        {1, 1, 0}, {1, 2, 0},  {1, 3, 1}, {6, 1, 0}, /* before all */
        {6, 4, 1},                                   /* the first of equal ones */
        {6, 5, 4},                                   /* between two */
        {6, 9, 5}, {6, 10, 6},                       /* behind all */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t asked = 0;
        struct sought sought = {.sorted = sorted, .value = rows[i].value, .asked = &asked};
        ck_assert_uint_eq(search_place(rows[i].count, is_before, &sought), rows[i].place);
    }
}
END_TEST

START_TEST(number_of_questions_is_logarithmic)
{
    static int sorted[1000];
    for (int i = 0; i < 1000; i++)
        sorted[i] = i;
    for (int value = 0; value <= 1000; value++) {
        size_t asked = 0;
        struct sought sought = {.sorted = sorted, .value = value, .asked = &asked};
        ck_assert_uint_eq(search_place(1000, is_before, &sought), (size_t)value);
        ck_assert_uint_le(asked, 10);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("search");
    tcase_add_test(tc, first_place_that_is_not_before);
    tcase_add_test(tc, number_of_questions_is_logarithmic);
    return unit_run(tc);
}
