#include "control/cluster/turns.h"

#include "tests/unit.h"

#include <errno.h>
#include <stdio.h>

static const uint8_t seed[16] = {7};

struct job {
    struct turn turn;
    char owner;
};

static struct turns turns;
static struct job jobs[400];
static size_t job_count;
static uint64_t now_ns = 1;

static void setup(void)
{
    turns_init(&turns, seed);
    job_count = 0;
}

static int add(const char *owner, bool metered)
{
    uint64_t wait_ns = 0;
    struct job *job = &jobs[job_count++];
    job->owner = owner == NULL ? '-' : owner[0];
    return turns_add(&turns, &job->turn, owner, metered, now_ns, &wait_ns);
}

static char take(void)
{
    struct turn *turn = turns_take(&turns);
    if (turn == NULL)
        return '.';
    char owner = container_of(turn, struct job, turn)->owner;
    turns_end(&turns, turn, now_ns);
    return owner;
}

/* Owners in the order of their requests, and the order in which they are served. */
static const struct {
    const char *added, *served;
} orders[] = {
    {"aaab", "abaa."},
    {"aaabbbccc", "abcabcabc."},
    {"aaaaaaaacb", "acbaaaaaaa."},
    {"ba", "ba."},
};

START_TEST(takes_turns)
{
    for (const char *at = orders[_i].added; *at != '\0'; at++)
        ck_assert_int_eq(add((char[]){*at, '\0'}, false), 0);
    for (const char *at = orders[_i].served; *at != '\0'; at++)
        ck_assert_int_eq(take(), *at);
    turns_fini(&turns);
}
END_TEST

START_TEST(places_are_limited)
{
    size_t places = _i == 0 ? TURNS_PLACES_METERED : TURNS_PLACES;
    for (size_t i = 0; i < places; i++)
        ck_assert_int_eq(add("a", _i == 0), 0);
    ck_assert_int_eq(add("a", _i == 0), -ENOBUFS);
    ck_assert_int_eq(add("b", _i == 0), 0);
    ck_assert_int_eq(add(NULL, false), 0);
    ck_assert_int_eq(take(), 'a');
    ck_assert_int_eq(add("a", _i == 0), 0);
    while (take() != '.')
        ;
    turns_fini(&turns);
}
END_TEST

START_TEST(the_node_itself_has_no_limit)
{
    for (size_t i = 0; i < TURNS_PLACES + 10; i++)
        ck_assert_int_eq(add(NULL, false), 0);
    while (take() != '.')
        ;
    turns_fini(&turns);
}
END_TEST

/* Requests, and those of them that were charged. */
static void serve(const char *owner, bool metered, bool charge)
{
    ck_assert_int_eq(add(owner, metered), 0);
    struct turn *turn = turns_take(&turns);
    if (charge)
        turns_charge(turn, now_ns);
    turns_end(&turns, turn, now_ns);
    job_count = 0;
}

START_TEST(rate_is_limited)
{
    uint64_t wait_ns = 0;
    for (int i = 0; i < 1000; i++)
        serve("a", true, false);
    for (int i = 0; i < TURNS_BURST; i++)
        serve("a", true, true);
    ck_assert_int_eq(turns_add(&turns, &jobs[0].turn, "a", true, now_ns, &wait_ns), -EAGAIN);
    ck_assert_uint_le(wait_ns, TURNS_COST_NS);
    serve("b", true, true);
    now_ns += wait_ns;
    serve("a", true, true);
    ck_assert_int_eq(add("a", true), -EAGAIN);
    now_ns += TURNS_BURST * TURNS_COST_NS + 1;
    for (int i = 0; i < TURNS_BURST; i++)
        serve("a", true, true);
    ck_assert_int_eq(add("a", true), -EAGAIN);
    for (int i = 0; i < 1000; i++)
        serve("c", false, true);
    turns_fini(&turns);
}
END_TEST

START_TEST(owners_are_forgotten)
{
    char name[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "peer %d", i);
        serve(name, true, true);
    }
    ck_assert_uint_eq(turns.owners.count, 1000);
    now_ns += TURNS_COST_NS + 1;
    serve("a", true, false);
    ck_assert_uint_eq(turns.owners.count, 0);
    turns_fini(&turns);
}
END_TEST

START_TEST(waiting_turn_is_ended)
{
    for (const char *at = "aab"; *at != '\0'; at++)
        ck_assert_int_eq(add((char[]){*at, '\0'}, false), 0);
    turns_end(&turns, &jobs[0].turn, now_ns);
    turns_end(&turns, &jobs[2].turn, now_ns);
    ck_assert_int_eq(take(), 'a');
    ck_assert_int_eq(take(), '.');
    turns_fini(&turns);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("turns");
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_loop_test(tc, takes_turns, 0, (int)ARRAY_LEN(orders));
    tcase_add_loop_test(tc, places_are_limited, 0, 2);
    tcase_add_test(tc, the_node_itself_has_no_limit);
    tcase_add_test(tc, rate_is_limited);
    tcase_add_test(tc, owners_are_forgotten);
    tcase_add_test(tc, waiting_turn_is_ended);
    return unit_run(tc);
}
