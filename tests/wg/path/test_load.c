#include "wg/path/load.h"

#include "base/clock.h"
#include "tests/unit.h"
#include "wg/path/queue.h"

enum { EIGHTH = QUEUE_LIMIT / 8 };

#define S(n) ((n)*NS_PER_SEC)

static const struct {
    uint64_t at;
    size_t queued;
    bool high;
} steps[] = {
    {S(100), 0, false},
    {S(100), EIGHTH - 1, false},
    {S(101), EIGHTH, true},
    {S(101), 0, true}, /* held for 1 s */
    {S(102) - 1, EIGHTH - 1, true},
    /* 5 */ {S(102), EIGHTH - 1, false},
    {S(103), QUEUE_LIMIT, true},
    {S(103) + 500, EIGHTH, true}, /* from the last time on */
    {S(104), 1, true},
    {S(104) + 499, 1, true},
    /* 10 */ {S(104) + 500, 1, false},
};

START_TEST(numbered_steps)
{
    struct load load = {0};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        ck_assert_msg(load_is_high(&load, steps[i].queued, steps[i].at) == steps[i].high,
                      "step %zu", i);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("load");
    tcase_add_test(tc, numbered_steps);
    return unit_run(tc);
}
