#include "wg/keypair.h"

#include "tests/unit.h"
#include "wg/noise.h"
#include "wg/timers.h"
#include "wg/wire.h"

#include <stdatomic.h>
#include <string.h>

/* One keypair's limits, and how sessions replace each other. */

static struct keypair *make(bool initiator, uint32_t index, uint64_t born)
{
    struct noise_session session = {.initiator = initiator, .local_index = index};
    struct keypair *keypair = keypair_create(NULL);
    ck_assert_ptr_nonnull(keypair);
    keypair_fill(keypair, &session, born);
    return keypair;
}

START_TEST(age_limits)
{
    static const struct {
        bool initiator;
        uint64_t age_s;
        bool fresh;
        bool rekey;
        bool rekey_receiving;
    } table[] = {
        {true, 0, true, false, false},    {true, 119, true, false, false},
        {true, 120, true, true, false},   {true, 164, true, true, false},
        {true, 165, true, true, true},    {true, 179, true, true, true},
        {true, 180, false, true, true},   {false, 120, true, false, false},
        {false, 179, true, false, false}, {false, 180, false, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        uint64_t now = UINT64_C(5000000000) + table[i].age_s * UINT64_C(1000000000);
        struct keypair *keypair = make(table[i].initiator, 1, UINT64_C(5000000000));
        ck_assert(keypair_is_fresh(keypair, now) == table[i].fresh);
        ck_assert(keypair_wants_rekey(keypair, 0, now) == table[i].rekey);
        ck_assert(keypair_wants_rekey_receiving(keypair, now) == table[i].rekey_receiving);
        keypair_destroy(keypair);
    }
    ck_assert(!keypair_is_fresh(NULL, 0));
    keypair_destroy(NULL);
}
END_TEST

START_TEST(message_limits)
{
    uint64_t counter;
    struct keypair *keypair = make(false, 1, 1);
    ck_assert(keypair_reserve(keypair, &counter));
    ck_assert_uint_eq(counter, 0);
    ck_assert(keypair_reserve(keypair, &counter));
    ck_assert_uint_eq(counter, 1);
    ck_assert(!keypair_wants_rekey(keypair, (UINT64_C(1) << 60) - 1, 1));
    ck_assert(keypair_wants_rekey(keypair, UINT64_C(1) << 60, 1));
    atomic_store(&keypair->send_counter, UINT64_MAX - (1 << 13) - 1);
    ck_assert(keypair_reserve(keypair, &counter));
    ck_assert_uint_eq(counter, UINT64_MAX - (1 << 13) - 1);
    for (int i = 0; i < 10000; i++) {
        if (keypair_reserve(keypair, &counter))
            ck_abort_msg("reserved a counter behind the last one");
    }
    keypair_destroy(keypair);
}
END_TEST

/* Steps: i/r begin a session as initiator/responder (numbered from 1), c confirms `next`. After
 * it: previous, current, next, and how many were displaced. */
static const struct {
    const char *steps;
    uint32_t previous;
    uint32_t current;
    uint32_t next;
    unsigned retired;
} rotations[] = {
    {"", 0, 0, 0, 0},     {"i", 0, 1, 0, 0},  {"ii", 1, 2, 0, 0},     {"iii", 2, 3, 0, 1},
    {"r", 0, 0, 1, 0},    {"rc", 0, 1, 0, 0}, {"rr", 0, 0, 2, 1},     {"rcr", 0, 1, 2, 0},
    {"rcrc", 1, 2, 0, 0}, {"ir", 0, 1, 2, 0}, {"iir", 0, 2, 3, 1},    {"irc", 1, 2, 0, 0},
    {"iri", 2, 3, 0, 1},  {"ri", 1, 2, 0, 0}, {"rcrcrc", 2, 3, 0, 1},
};

static uint32_t index_of(_Atomic(struct keypair *) *slot)
{
    struct keypair *keypair = atomic_load(slot);
    return keypair == NULL ? 0 : keypair->local_index;
}

START_TEST(sessions_rotate)
{
    struct keypairs keypairs = {.retired = {NULL}};
    uint32_t number = 0;
    for (const char *step = rotations[_i].steps; *step != 0; step++) {
        if (*step == 'c')
            ck_assert(keypairs_confirm(&keypairs, atomic_load(&keypairs.next)));
        else
            keypairs_begin(&keypairs, make(*step == 'i', ++number, 1));
    }
    ck_assert_uint_eq(index_of(&keypairs.previous), rotations[_i].previous);
    ck_assert_uint_eq(index_of(&keypairs.current), rotations[_i].current);
    ck_assert_uint_eq(index_of(&keypairs.next), rotations[_i].next);
    unsigned retired = 0;
    for (struct garbage_item *item = keypairs.retired.first; item != NULL; item = item->next)
        retired++;
    ck_assert_uint_eq(retired, rotations[_i].retired);
    ck_assert(atomic_load(&keypairs.current) == NULL ||
              !keypairs_confirm(&keypairs, atomic_load(&keypairs.current)));
    keypairs_retire_all(&keypairs);
    ck_assert_ptr_null(atomic_load(&keypairs.current));
    ck_assert_ptr_null(atomic_load(&keypairs.previous));
    ck_assert_ptr_null(atomic_load(&keypairs.next));
    garbage_free(garbage_take(&keypairs.retired));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("keypair");
    tcase_add_test(tc, age_limits);
    tcase_add_test(tc, message_limits);
    tcase_add_loop_test(tc, sessions_rotate, 0, ARRAY_LEN(rotations));
    return unit_run(tc);
}
