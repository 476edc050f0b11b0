#include "base/heap.h"

#include "tests/unit.h"

enum { COUNT = 500 };

/* The lowest key among the nodes in the heap, found by a scan. */
static const struct heap_node *lowest(const struct heap_node *nodes)
{
    const struct heap_node *best = NULL;
    for (int i = 0; i < COUNT; i++)
        if (nodes[i].place != 0 && (best == NULL || nodes[i].key < best->key))
            best = &nodes[i];
    return best;
}

START_TEST(random_operations_against_a_scan)
{
    static struct heap_node nodes[COUNT];
    struct heap heap;
    heap_init(&heap);
    ck_assert_ptr_null(heap_min(&heap));
    ck_assert_int_eq(heap_reserve(&heap, COUNT), 0);
    srandom(3);
    for (int round = 0; round < 20000; round++) {
        struct heap_node *node = &nodes[random() % COUNT];
        if (random() % 3 == 0)
            heap_remove(&heap, node);
        else
            heap_set(&heap, node, (uint64_t)random() % 1000);
        const struct heap_node *expected = lowest(nodes);
        const struct heap_node *min = heap_min(&heap);
        ck_assert((min == NULL) == (expected == NULL));
        ck_assert(min == NULL || min->key == expected->key);
    }
    uint64_t last = 0;
    while (heap_min(&heap) != NULL) {
        struct heap_node *min = heap_min(&heap);
        ck_assert_uint_ge(min->key, last);
        last = min->key;
        heap_remove(&heap, min);
        ck_assert_uint_eq(min->place, 0);
    }
    heap_fini(&heap);
}
END_TEST

START_TEST(reserve_keeps_what_is_there)
{
    struct heap_node a = {0};
    struct heap_node b = {0};
    struct heap heap;
    heap_init(&heap);
    ck_assert_int_eq(heap_reserve(&heap, 1), 0);
    heap_set(&heap, &a, 5);
    ck_assert_int_eq(heap_reserve(&heap, 1000), 0);
    heap_set(&heap, &b, 4);
    ck_assert_ptr_eq(heap_min(&heap), &b);
    heap_set(&heap, &b, 6);
    ck_assert_ptr_eq(heap_min(&heap), &a);
    heap_remove(&heap, &a);
    heap_remove(&heap, &a);
    ck_assert_ptr_eq(heap_min(&heap), &b);
    ck_assert_int_eq(heap_reserve(&heap, SIZE_MAX / 16), -12);
    ck_assert_ptr_eq(heap_min(&heap), &b);
    heap_fini(&heap);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("heap");
    tcase_add_test(tc, random_operations_against_a_scan);
    tcase_add_test(tc, reserve_keeps_what_is_there);
    return unit_run(tc);
}
