#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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

enum { UNIT_SKIPPED = 77 }; /* CTest shows such a program as skipped */

/* For tests that make namespaces, devices or marks. Without root they are left out, and a line says so. */
static inline bool unit_is_root(void)
{
    if (geteuid() == 0)
        return true;
    puts("some tests are left out: they need root");
    return false;
}

/* The same for a program whose tests all need root. */
static inline int unit_run_as_root(TCase *tc)
{
    return unit_is_root() ? unit_run(tc) : UNIT_SKIPPED;
}

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

#endif
