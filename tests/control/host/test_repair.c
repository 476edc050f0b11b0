#include "control/host/repair.h"

#include "tests/unit.h"

static const uint64_t SECOND = UINT64_C(1000000000);

/* Undone as soon as it is repaired: the pauses between repairs. */
START_TEST(pauses_grow)
{
    static const uint64_t pauses_s[] = {0, 1, 2, 4, 8, 16, 32, 64, 64, 64};
    struct repair repair = {0};
    uint64_t now = 1000 * SECOND;
    for (size_t i = 0; i < sizeof pauses_s / sizeof pauses_s[0]; i++) {
        uint64_t wait_ms = 0;
        if (i > 0) {
            ck_assert(!repair_due(&repair, now, &wait_ms));
            ck_assert_uint_eq(wait_ms, pauses_s[i] * 1000);
            now += wait_ms * SECOND / 1000;
        }
        ck_assert(repair_due(&repair, now, &wait_ms));
        ck_assert(repair.is_contested == (i + 1 >= REPAIR_CONTESTED));
        ck_assert(repair_news(&repair) == (i + 1 == REPAIR_CONTESTED));
    }
}
END_TEST

START_TEST(the_shortest_wait_counts)
{
    struct repair first = {0};
    struct repair second = {0};
    uint64_t wait_ms = 0;
    ck_assert(repair_due(&first, SECOND, &wait_ms));
    ck_assert(repair_due(&second, SECOND, &wait_ms));
    ck_assert(repair_due(&second, 2 * SECOND, &wait_ms));
    ck_assert_uint_eq(wait_ms, 0);
    ck_assert(!repair_due(&second, 2 * SECOND, &wait_ms));
    ck_assert_uint_eq(wait_ms, 2000);
    ck_assert(!repair_due(&first, 3 * SECOND / 2, &wait_ms));
    ck_assert_uint_eq(wait_ms, 500);
}
END_TEST

START_TEST(quiet_ends_a_fight)
{
    struct repair repair = {0};
    uint64_t wait_ms = 0;
    uint64_t now = SECOND;
    for (int i = 0; i < REPAIR_CONTESTED; i++, now += 100 * SECOND)
        ck_assert(repair_due(&repair, now, &wait_ms));
    ck_assert(repair.is_contested);
    repair_rest(&repair, now);
    ck_assert(repair.is_contested);
    repair_rest(&repair, now + 200 * SECOND);
    ck_assert(!repair.is_contested);
    ck_assert(repair_due(&repair, now + 200 * SECOND, &wait_ms));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("repair");
    tcase_add_test(tc, pauses_grow);
    tcase_add_test(tc, the_shortest_wait_counts);
    tcase_add_test(tc, quiet_ends_a_fight);
    return unit_run(tc);
}
