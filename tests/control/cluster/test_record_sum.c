#include "control/cluster/record_sum.h"

#include "control/state/record.h"
#include "tests/unit.h"

#include <string.h>

#define KEY RECORD_KEY_PEERS "11111111-2222-4333-8444-555555555501"

static uint8_t value[64];

/* A record of two fields, sealed into `value`. */
static struct record_op sealed(const char *key)
{
    static const uint8_t plain[] = {0x0a, 3, 'a', 'b', 'c', 0x10, 7};
    struct record_op op = {.kind = RECORD_SET, .key = key, .value = plain, .len = sizeof plain};
    record_sum_seal(&op, value);
    op.value = value;
    op.len += RECORD_SUM_BYTES;
    return op;
}

START_TEST(sealed_and_opened)
{
    struct record_op op = sealed(KEY);
    ck_assert(record_sum_open(&op, value));
    ck_assert_uint_eq(op.len, 7);
    ck_assert(record_sum_open(&op, value)); /* a record of an older version */
    ck_assert_uint_eq(op.len, 7);
}
END_TEST

/* Bits of the values are caught, one by one; a flipped tag of the sum is no damage to the record. */
START_TEST(flipped_bits)
{
    size_t len = sealed(KEY).len;
    for (size_t bit = 0; bit < 8 * len; bit++) {
        struct record_op op = sealed(KEY);
        bool in_tag = bit / 8 == 7 || bit / 8 == 8;
        value[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_msg(record_sum_open(&op, value) == in_tag, "bit %zu", bit);
    }
}
END_TEST

START_TEST(bound_to_its_place)
{
    struct record_op op = sealed(KEY);
    op.key = RECORD_KEY_PEERS "21111111-2222-4333-8444-555555555501";
    ck_assert(!record_sum_open(&op, value));
    op = sealed(RECORD_KEY_AUTHORIZED);
    op.kind = RECORD_HSET;
    op.field = "someone";
    ck_assert(!record_sum_open(&op, value));
}
END_TEST

START_TEST(fields_behind_it_stay)
{
    struct record_op op = sealed(KEY);
    memcpy(value + op.len, "\x18\x01", 2);
    op.len += 2;
    ck_assert(record_sum_open(&op, value));
    ck_assert_uint_eq(op.len, 9);
    ck_assert_mem_eq(value + 5, "\x10\x07\x18\x01", 4);
}
END_TEST

START_TEST(texts_have_none)
{
    static const char *const keys[] = {RECORD_KEY_META, RECORD_KEY_PEERIPS, "heimdall:other"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        ck_assert(!record_sum_applies(
            &(struct record_op){.kind = RECORD_HSET, .key = keys[i], .field = "f"}));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("record_sum");
    tcase_add_test(tc, sealed_and_opened);
    tcase_add_test(tc, flipped_bits);
    tcase_add_test(tc, bound_to_its_place);
    tcase_add_test(tc, fields_behind_it_stay);
    tcase_add_test(tc, texts_have_none);
    return unit_run(tc);
}
