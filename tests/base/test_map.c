#include "base/map.h"

#include "tests/unit.h"

#include <stdbool.h>
#include <string.h>

static const uint8_t seed[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* Aumasson and Bernstein, "SipHash", appendix A and the reference vectors: key 00..0f, message
 * 00 01 02 ... of the given length. */
static const struct {
    size_t len;
    uint64_t hash;
} vectors[] = {
    {0, UINT64_C(0x726fdb47dd0e0e31)},  {1, UINT64_C(0x74f839c593dc67fd)},
    {7, UINT64_C(0xab0200f58b01d137)},  {8, UINT64_C(0x93f5f5799a932462)},
    {15, UINT64_C(0xa129ca6149be45e5)},
};

START_TEST(siphash_vectors)
{
    uint8_t message[16];
    for (uint8_t i = 0; i < sizeof message; i++)
        message[i] = i;
    ck_assert_uint_eq(map_siphash(seed, message, vectors[_i].len), vectors[_i].hash);
}
END_TEST

enum { KEYS = 400 };

static size_t count_walk(const struct map *map)
{
    size_t cursor = 0;
    size_t found = 0;
    while (map_next(map, &cursor) != NULL)
        found++;
    return found;
}

START_TEST(random_operations_against_an_array)
{
    static uint16_t keys[KEYS];
    static int values[KEYS];
    bool present[KEYS] = {false};
    size_t count = 0;
    struct map map;
    map_init(&map, seed);
    srandom(11);
    for (int round = 0; round < 50000; round++) {
        size_t i = (size_t)random() % KEYS;
        keys[i] = (uint16_t)i;
        /* phases of growth and of shrinking */
        if (random() % 10 < (round / 5000 % 2 == 0 ? 7 : 3)) {
            ck_assert_int_eq(map_put(&map, &keys[i], sizeof keys[i], &values[i]), 0);
            count += (size_t)!present[i];
            present[i] = true;
        } else {
            void *removed = map_remove(&map, &keys[i], sizeof keys[i]);
            ck_assert_ptr_eq(removed, present[i] ? &values[i] : NULL);
            count -= (size_t)present[i];
            present[i] = false;
        }
        size_t j = (size_t)random() % KEYS;
        uint16_t key = (uint16_t)j;
        ck_assert_ptr_eq(map_get(&map, &key, sizeof key), present[j] ? &values[j] : NULL);
        ck_assert_uint_eq(map.count, count);
    }
    ck_assert_uint_eq(count_walk(&map), count);
    map_fini(&map);
    ck_assert_ptr_null(map_get(&map, &keys[0], sizeof keys[0]));
}
END_TEST

START_TEST(keys_are_bytes_with_a_length)
{
    int a;
    int b;
    int c;
    struct map map;
    map_init(&map, seed);
    ck_assert_ptr_null(map_remove(&map, "x", 1));
    ck_assert_int_eq(map_put(&map, "x", 1, &a), 0);
    ck_assert_int_eq(map_put(&map, "x\0", 2, &b), 0);
    ck_assert_int_eq(map_put(&map, "", 0, &c), 0);
    ck_assert_ptr_eq(map_get(&map, "x", 1), &a);
    ck_assert_ptr_eq(map_get(&map, "x\0", 2), &b);
    ck_assert_ptr_eq(map_get(&map, "", 0), &c);
    ck_assert_int_eq(map_put(&map, "x", 1, &c), 0);
    ck_assert_ptr_eq(map_get(&map, "x", 1), &c);
    ck_assert_uint_eq(map.count, 3);
    map_fini(&map);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("map");
    tcase_add_loop_test(tc, siphash_vectors, 0, ARRAY_LEN(vectors));
    tcase_add_test(tc, random_operations_against_an_array);
    tcase_add_test(tc, keys_are_bytes_with_a_length);
    return unit_run(tc);
}
