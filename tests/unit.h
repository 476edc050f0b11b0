#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <check.h>
#include <stdlib.h>

/* Runs one test case as a program: `int main(void) { ... return unit_run(tc); }`. */
static inline int unit_run(TCase *tc)
{
    Suite *suite = suite_create("unit");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

#endif
