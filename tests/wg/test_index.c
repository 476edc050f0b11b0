#include "wg/index.h"

#include "tests/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

/* ck_assert writes to a file each time it passes; this one only when it fails. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg("%s", #condition);                                                        \
    } while (0)

/* The linker routes the module's allocations here; see CMakeLists.txt. */
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
static _Atomic bool no_memory;

void *__wrap_calloc(size_t count, size_t size)
{
    return no_memory ? NULL : __real_calloc(count, size);
}

static struct index_table table;
static struct garbage garbage;

static void begin(void)
{
    index_table_init(&table);
    garbage_init(&garbage);
    no_memory = false;
}

static void end(void)
{
    no_memory = false;
    garbage_free(garbage_take(&garbage));
    index_table_fini(&table);
}

START_TEST(one_by_one)
{
    int a;
    int b;
    begin();
    ck_assert(index_lookup(&table, 0) == NULL);
    ck_assert(index_remove(&table, 0) == NULL);
    ck_assert_int_eq(index_insert(&table, 0, &a, &garbage), 0);
    ck_assert_int_eq(index_insert(&table, UINT32_MAX, &b, &garbage), 0);
    ck_assert(index_lookup(&table, 0) == &a);
    ck_assert(index_lookup(&table, UINT32_MAX) == &b);
    ck_assert(index_lookup(&table, 1) == NULL);
    ck_assert_int_eq(index_insert(&table, 0, &b, &garbage), -EEXIST);
    ck_assert(index_lookup(&table, 0) == &a);
    ck_assert(index_replace(&table, 0, &b) == &a);
    ck_assert(index_lookup(&table, 0) == &b);
    ck_assert(index_replace(&table, 7, &b) == NULL);
    ck_assert(index_lookup(&table, 7) == NULL);
    ck_assert_uint_eq(table.live, 2);
    ck_assert(index_remove(&table, 0) == &b);
    ck_assert(index_remove(&table, 0) == NULL);
    ck_assert(index_replace(&table, 0, &a) == NULL);
    ck_assert(index_lookup(&table, 0) == NULL);
    ck_assert_int_eq(index_insert(&table, 0, &a, &garbage), 0);
    ck_assert(index_lookup(&table, 0) == &a);
    ck_assert_uint_eq(table.live, 2);
    end();
}
END_TEST

/* Random churn among indices that collide on purpose, against an array. */
START_TEST(against_array)
{
    enum { INDICES = 2000 };
    static int entries[INDICES];
    static bool live[INDICES];
    uint32_t random = 7;
    size_t count = 0;
    memset(live, 0, sizeof live);
    begin();
    for (int i = 0; i < 100000; i++) {
        random = random * 1664525 + 1013904223;
        uint32_t n = (random >> 8) % INDICES;
        uint32_t index = n % 3 * 0x10000 + n / 3 * 8;
        if (random >> 31) {
            REQUIRE(index_insert(&table, index, &entries[n], &garbage) == (live[n] ? -EEXIST : 0));
            count += (size_t)!live[n];
            live[n] = true;
        } else {
            REQUIRE(index_remove(&table, index) == (live[n] ? &entries[n] : NULL));
            count -= (size_t)live[n];
            live[n] = false;
        }
        REQUIRE(table.live == count);
        n = (random >> 12) % INDICES;
        index = n % 3 * 0x10000 + n / 3 * 8;
        REQUIRE(index_lookup(&table, index) == (live[n] ? &entries[n] : NULL));
        if (i % 1000 == 0)
            garbage_free(garbage_take(&garbage));
    }
    end();
}
END_TEST

/* Sessions come and go forever: memory stays proportional to the live ones. */
START_TEST(churn_does_not_grow)
{
    int entry;
    size_t retired = 0;
    begin();
    for (uint32_t i = 0; i < 100000; i++) {
        REQUIRE(index_insert(&table, i * 2654435761u, &entry, &garbage) == 0);
        if (i >= 4)
            REQUIRE(index_remove(&table, (i - 4) * 2654435761u) == &entry);
        for (struct garbage_item *item = garbage_take(&garbage); item != NULL; retired++) {
            struct garbage_item *next = item->next;
            item->free(item);
            item = next;
        }
    }
    ck_assert_uint_eq(table.live, 4);
    ck_assert_uint_lt(retired, 100000 / 4);
    end();
}
END_TEST

/* Out of memory: refused when no slot is left, and never harmful. */
START_TEST(allocation_failure)
{
    int entry;
    uint32_t inserted = 0;
    begin();
    no_memory = true;
    ck_assert_int_eq(index_insert(&table, 1, &entry, &garbage), -ENOMEM);
    ck_assert(index_lookup(&table, 1) == NULL);
    no_memory = false;
    ck_assert_int_eq(index_insert(&table, inserted++, &entry, &garbage), 0);
    no_memory = true;
    while (index_insert(&table, inserted, &entry, &garbage) == 0)
        ck_assert_uint_lt(++inserted, 1000);
    ck_assert_uint_eq(table.live, inserted);
    for (uint32_t i = 0; i < inserted; i++)
        ck_assert(index_lookup(&table, i) == &entry);
    ck_assert(index_lookup(&table, inserted) == NULL);
    ck_assert(index_lookup(&table, 5000) == NULL);
    ck_assert(index_remove(&table, 0) == &entry);
    no_memory = false;
    ck_assert_int_eq(index_insert(&table, inserted, &entry, &garbage), 0);
    ck_assert(index_lookup(&table, inserted) == &entry);
    end();
}
END_TEST

struct entry {
    uint32_t index;
};

static _Atomic bool done;
static _Atomic unsigned long lookups;

static void *reader(void *arg)
{
    uint32_t n = 0;
    (void)arg;
    while (!done) {
        n = (n + 1) % 64;
        struct entry *entry = index_lookup(&table, n << 28 | n);
        if (entry != NULL && entry->index != (n << 28 | n))
            return entry;
        lookups++;
    }
    return NULL;
}

/* A reader concurrent with a writer finds an index's own entry or none. */
START_TEST(reader_beside_writer)
{
    static struct entry entries[64];
    pthread_t thread;
    void *wrong;
    begin();
    done = false;
    for (uint32_t n = 0; n < 64; n++)
        entries[n].index = n << 28 | n;
    ck_assert_int_eq(pthread_create(&thread, NULL, reader, NULL), 0);
    for (uint32_t i = 0; i < 64 * 300 || (lookups < 1000 && i < 1000000); i++) {
        uint32_t n = i * 37 % 64;
        if (index_remove(&table, entries[n].index) == NULL)
            REQUIRE(index_insert(&table, entries[n].index, &entries[n], &garbage) == 0);
    }
    done = true;
    pthread_join(thread, &wrong);
    REQUIRE(wrong == NULL);
    end();
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("index");
    tcase_add_test(tc, one_by_one);
    tcase_add_test(tc, against_array);
    tcase_add_test(tc, churn_does_not_grow);
    tcase_add_test(tc, allocation_failure);
    tcase_add_test(tc, reader_beside_writer);
    return unit_run(tc);
}
