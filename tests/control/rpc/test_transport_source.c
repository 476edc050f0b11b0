#include "control/rpc/transport_source.h"

#include "tests/unit.h"

#include <stdio.h>

static const uint8_t seed[16] = {5};
static const unsigned limits[TRANSPORT_STAGES] = {4, 4};
static struct transport_pending pending;

/* Connections by the letter of their address, in order, with the number of the one that must make
 * room for the last (-1: none). */
static const struct {
    const char *joined;
    int victim;
} orders[] = {
    {"aaaa", -1}, {"aaaaa", 0}, /* the oldest of the only address */
    {"baaaa", 1},               /* 2: the busiest address, although another one is older */
    {"abbbb", 1}, {"aabbc", 0}, /* 4: of two as busy, the one with the oldest */
    {"abcde", 0},
};

START_TEST(the_busiest_makes_room)
{
    struct transport_place places[8] = {0};
    int count = 0;
    transport_pending_init(&pending, seed, limits);
    struct transport_place *victim = NULL;
    for (const char *at = orders[_i].joined; *at != '\0'; at++, count++) {
        ck_assert_ptr_null(victim);
        ck_assert_int_eq(transport_pending_open(&pending, &places[count], (char[]){*at, '\0'}, 1),
                         0);
        victim = transport_pending_join(&pending, &places[count], TRANSPORT_HANDSHAKING);
    }
    ck_assert_int_eq(victim == NULL ? -1 : (int)(victim - places), orders[_i].victim);
    ck_assert_ptr_nonnull(transport_pending_victim(&pending));
    for (int i = 0; i < count; i++)
        transport_pending_close(&pending, &places[i], 1);
    ck_assert_ptr_null(transport_pending_victim(&pending));
    transport_pending_fini(&pending);
}
END_TEST

/* 4,000 silent connections of one address do not push out the only one of another. */
START_TEST(one_address_keeps_no_other_out)
{
    static struct transport_place crowd[4000];
    struct transport_place other = {0};
    transport_pending_init(&pending, seed, limits);
    ck_assert_int_eq(transport_pending_open(&pending, &other, "other", 1), 0);
    ck_assert_ptr_null(transport_pending_join(&pending, &other, TRANSPORT_NOT_BEGUN));
    for (size_t i = 0; i < ARRAY_LEN(crowd); i++) {
        ck_assert_int_eq(transport_pending_open(&pending, &crowd[i], "crowd", 1), 0);
        struct transport_place *victim =
            transport_pending_join(&pending, &crowd[i], TRANSPORT_NOT_BEGUN);
        ck_assert_ptr_ne(victim, &other);
        if (victim != NULL)
            transport_pending_close(&pending, victim, 1);
    }
    ck_assert_ptr_null(transport_pending_join(&pending, &other, TRANSPORT_HANDSHAKING));
    transport_pending_leave(&pending, &other);
    for (size_t i = 0; i < ARRAY_LEN(crowd); i++)
        transport_pending_close(&pending, &crowd[i], 1);
    transport_pending_close(&pending, &other, 1);
    ck_assert_uint_eq(pending.sources, 0);
    transport_pending_fini(&pending);
}
END_TEST

START_TEST(lines_are_limited)
{
    unsigned left_out, lines = 0;
    struct transport_place other = {0};
    transport_pending_init(&pending, seed, limits);
    for (int i = 0; i < 1000; i++) {
        struct transport_place place = {0};
        ck_assert_int_eq(transport_pending_open(&pending, &place, "a", 1), 0);
        lines += transport_pending_may_log(&pending, &place, 1, &left_out);
        transport_pending_close(&pending, &place, 1);
    }
    ck_assert_uint_eq(lines, LOG_LIMIT_LINES);
    ck_assert_int_eq(transport_pending_open(&pending, &other, "b", 1), 0);
    ck_assert(transport_pending_may_log(&pending, &other, 1, &left_out));
    transport_pending_close(&pending, &other, 1);
    for (int i = 0; i < 2000; i++) { /* many addresses: together ten times as many, not all kept */
        char address[16];
        snprintf(address, sizeof address, "c%d", i);
        ck_assert_int_eq(transport_pending_open(&pending, &other, address, 1), 0);
        lines += transport_pending_may_log(&pending, &other, 1, &left_out);
        transport_pending_close(&pending, &other, 1);
    }
    ck_assert_uint_le(lines, 10 * LOG_LIMIT_LINES);
    ck_assert_uint_le(pending.sources, 1024);
    transport_pending_fini(&pending);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("transport source");
    tcase_add_loop_test(tc, the_busiest_makes_room, 0, (int)ARRAY_LEN(orders));
    tcase_add_test(tc, one_address_keeps_no_other_out);
    tcase_add_test(tc, lines_are_limited);
    return unit_run(tc);
}
