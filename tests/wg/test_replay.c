#include "wg/replay.h"

#include "tests/unit.h"
#include "wg/wire.h"

#include <string.h>

#define LIMIT WIRE_REJECT_AFTER_MESSAGES

/* Played in order; `bound` is 8128, the window. */
enum { bound = 8192 - 64 };
static const struct {
    int line;
    uint64_t counter;
    bool accepted;
} steps[] = {
    {1, 0, true},
    {2, 0, false},
    {3, 1, true},
    {4, 3, true},
    {5, 2, true},
    {6, 2, false},
    {7, 64, true},
    {8, 63, true},
    {9, 63, false},
    /* the far end of the window, exactly */
    {10, 10 + bound, true},
    {11, 10, true},
    {12, 10, false},
    {13, 9, false},
    {14, 11, true},
    {15, 64, false},
    {16, 10 + bound, false},
    /* the ring wraps: old bits must not show */
    {17, 10 + 2 * bound, true},
    {18, 10 + bound, false},
    {19, 11 + bound, true},
    {20, 9 + bound, false},
    {21, 10 + bound + 8064, true},
    {22, 20 + 3 * 8192, true},
    {23, 20 + 3 * 8192 - 64, true},
    {24, 20 + 3 * 8192 - bound, true},
    {25, 20 + 3 * 8192 - bound - 1, false},
    /* far jumps clear everything */
    {26, UINT64_C(1) << 40, true},
    {27, (UINT64_C(1) << 40) - 1, true},
    {28, (UINT64_C(1) << 40) - bound, true},
    {29, (UINT64_C(1) << 40) - bound - 1, false},
    {30, 20 + 3 * 8192, false},
    /* the end of a session's numbers */
    {31, LIMIT, false},
    {32, LIMIT + 1, false},
    {33, UINT64_MAX, false},
    {34, (UINT64_C(1) << 40) + 1, true},
    {35, LIMIT - 1, true},
    {36, LIMIT - 1, false},
    {37, LIMIT - 2, true},
    {38, LIMIT - 1 - bound, true},
    {39, LIMIT - 2 - bound, false},
    {40, LIMIT, false},
};

/* A jump by a whole ring, and by more: the bit of the counter before the jump is in its way. */
START_TEST(jumps_over_the_ring)
{
    for (uint64_t words = 127; words < 260; words++) {
        struct replay replay;
        replay_init(&replay);
        ck_assert(replay_accept(&replay, 10));
        ck_assert(replay_accept(&replay, 11 + 64 * words));
        bool all = true;
        for (uint64_t back = 1; back <= bound; back++)
            all = replay_accept(&replay, 11 + 64 * words - back) && all;
        ck_assert_msg(all, "a jump by %lu words", words);
    }
}
END_TEST

START_TEST(numbered_steps)
{
    struct replay replay;
    replay_init(&replay);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        ck_assert_msg(replay_accept(&replay, steps[i].counter) == steps[i].accepted, "step %d",
                      steps[i].line);
}
END_TEST

/* From several places in a word: all of the window backwards, each once. */
static const uint64_t places[] = {0, 1, 31, 62, 63, 64, 65, 127};

START_TEST(backwards)
{
    struct replay replay;
    uint64_t newest = 3 * UINT64_C(8192) + places[_i];
    replay_init(&replay);
    for (uint64_t c = newest; c + bound >= newest; c--)
        ck_assert(replay_accept(&replay, c));
    for (uint64_t c = newest; c + bound + 100 >= newest; c--)
        ck_assert(!replay_accept(&replay, c));
    ck_assert(replay_accept(&replay, newest + 1));
}
END_TEST

/* Against one flag for each counter, over jumps of every kind. */
START_TEST(against_flags)
{
    enum { COUNTERS = 400000 };
    static uint8_t seen[COUNTERS];
    struct replay replay;
    uint64_t newest = 0;
    uint32_t random = 1;
    bool any = false;
    replay_init(&replay);
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < 200000; i++) {
        random = random * 1664525 + 1013904223;
        uint64_t step = (random >> 8) % (random >> 31 ? 6 : 12000);
        uint64_t counter = random & 64 ? newest + step % 300 : newest - (step < newest ? step : 0);
        if (counter >= COUNTERS)
            break;
        bool expected = !seen[counter] && (!any || counter + bound >= newest);
        ck_assert(replay_accept(&replay, counter) == expected);
        seen[counter] = 1;
        newest = counter > newest ? counter : newest;
        any = true;
    }
    ck_assert_uint_gt(newest, COUNTERS / 2);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("replay");
    tcase_add_test(tc, numbered_steps);
    tcase_add_test(tc, jumps_over_the_ring);
    tcase_add_loop_test(tc, backwards, 0, ARRAY_LEN(places));
    tcase_add_test(tc, against_flags);
    return unit_run(tc);
}
