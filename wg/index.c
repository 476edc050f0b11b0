#include "wg/index.h"

#include "base/list.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

/* Open addressing with linear probing. Indices are random numbers of our own, so they are their own
 * hash. A slot keeps its index for the life of its array: a removal clears only the entry, so a
 * reader that has matched the index never reads another index's entry. An array full of indices,
 * dead or alive, is replaced by one sized for the live ones. */

enum { MIN_SLOTS = 16 };

#define USED (UINT64_C(1) << 32) /* set in a key: distinguishes index 0 from an empty slot */

struct slot {
    _Atomic uint64_t key;
    _Atomic(void *) entry; /* NULL: removed */
};

struct index_slots {
    struct garbage_item garbage;
    size_t capacity; /* a power of two */
    size_t used;     /* writer only */
    struct slot slots[];
};

void index_table_init(struct index_table *table)
{
    atomic_init(&table->slots, NULL);
    table->live = 0;
}

void index_table_fini(struct index_table *table)
{
    free(atomic_load_explicit(&table->slots, memory_order_relaxed));
    index_table_init(table);
}

static void free_slots(struct garbage_item *item)
{
    free(container_of(item, struct index_slots, garbage));
}

static struct index_slots *slots_create(size_t capacity)
{
    struct index_slots *slots = calloc(1, sizeof *slots + capacity * sizeof slots->slots[0]);
    if (slots != NULL)
        slots->capacity = capacity;
    return slots;
}

/* The slot of this index, or the empty slot where it belongs. There is always an empty one. */
static struct slot *find(struct index_slots *slots, uint32_t index)
{
    for (size_t i = index;; i++) {
        struct slot *slot = &slots->slots[i & (slots->capacity - 1)];
        uint64_t key = atomic_load_explicit(&slot->key, memory_order_acquire);
        if (key == 0 || key == (index | USED))
            return slot;
    }
}

/* The entry is stored before the key: a reader that sees the key sees the entry. */
static void put(struct index_slots *slots, struct slot *slot, uint32_t index, void *entry)
{
    atomic_store_explicit(&slot->entry, entry, memory_order_release);
    if (atomic_load_explicit(&slot->key, memory_order_relaxed) == 0) {
        atomic_store_explicit(&slot->key, index | USED, memory_order_release);
        slots->used++;
    }
}

/* Publishes an array with room for one more; false when memory is short. */
static bool renew(struct index_table *table, struct index_slots *old, struct garbage *garbage)
{
    size_t capacity = MIN_SLOTS;
    while (capacity < 4 * (table->live + 1))
        capacity *= 2;
    struct index_slots *fresh = slots_create(capacity);
    if (fresh == NULL)
        return false;
    for (size_t i = 0; old != NULL && i < old->capacity; i++) {
        void *entry = atomic_load_explicit(&old->slots[i].entry, memory_order_relaxed);
        uint32_t index = (uint32_t)atomic_load_explicit(&old->slots[i].key, memory_order_relaxed);
        if (entry != NULL)
            put(fresh, find(fresh, index), index, entry);
    }
    atomic_store_explicit(&table->slots, fresh, memory_order_release);
    if (old != NULL)
        garbage_push(garbage, &old->garbage, free_slots);
    return true;
}

int index_insert(struct index_table *table, uint32_t candidate, void *entry,
                 struct garbage *garbage)
{
    struct index_slots *slots = atomic_load_explicit(&table->slots, memory_order_relaxed);
    if (index_lookup(table, candidate) != NULL)
        return -EEXIST;
    /* a failed allocation is survived as long as one slot stays empty */
    if (slots == NULL || slots->used + 1 > slots->capacity / 2) {
        if (renew(table, slots, garbage))
            slots = atomic_load_explicit(&table->slots, memory_order_relaxed);
        else if (slots == NULL || slots->used + 2 > slots->capacity)
            return -ENOMEM;
    }
    put(slots, find(slots, candidate), candidate, entry);
    table->live++;
    return 0;
}

static struct slot *find_live(const struct index_table *table, uint32_t index)
{
    struct index_slots *slots = atomic_load_explicit(&table->slots, memory_order_acquire);
    if (slots == NULL)
        return NULL;
    struct slot *slot = find(slots, index);
    return atomic_load_explicit(&slot->key, memory_order_relaxed) != 0 ? slot : NULL;
}

void *index_replace(struct index_table *table, uint32_t index, void *entry)
{
    struct slot *slot = find_live(table, index);
    void *former = slot ? atomic_load_explicit(&slot->entry, memory_order_relaxed) : NULL;
    if (former != NULL)
        atomic_store_explicit(&slot->entry, entry, memory_order_release);
    return former;
}

void *index_remove(struct index_table *table, uint32_t index)
{
    void *former = index_replace(table, index, NULL);
    if (former != NULL)
        table->live--;
    return former;
}

void *index_lookup(const struct index_table *table, uint32_t index)
{
    struct slot *slot = find_live(table, index);
    return slot ? atomic_load_explicit(&slot->entry, memory_order_acquire) : NULL;
}
