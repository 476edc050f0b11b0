#include "control/state/state_table.h"

#include "base/search.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct sought {
    const struct state_table *table;
    const void *item;
};

static bool is_before(const void *ctx, size_t place)
{
    const struct sought *sought = ctx;
    return sought->table->compare(sought->table->items[place], sought->item) < 0;
}

/* The first place whose item does not come before `item`. */
static size_t place_of(const struct state_table *table, const void *item)
{
    return search_place(table->count, is_before, &(struct sought){table, item});
}

int state_table_reserve(struct state_table *table)
{
    if (table->count < table->capacity)
        return 0;
    size_t capacity = table->capacity == 0 ? 16 : table->capacity * 2;
    void **items = realloc(table->items, capacity * sizeof *items);
    if (items == NULL)
        return -ENOMEM;
    table->items = items;
    table->capacity = capacity;
    return 0;
}

int state_table_add(struct state_table *table, void *item)
{
    if (state_table_reserve(table) != 0)
        return -ENOMEM;
    size_t place = place_of(table, item);
    memmove(&table->items[place + 1], &table->items[place],
            (table->count - place) * sizeof *table->items);
    table->items[place] = item;
    table->count++;
    return 0;
}

void state_table_remove(struct state_table *table, const void *item)
{
    size_t place = place_of(table, item);
    if (place == table->count || table->items[place] != item)
        return;
    table->count--;
    memmove(&table->items[place], &table->items[place + 1],
            (table->count - place) * sizeof *table->items);
}

void state_table_fini(struct state_table *table)
{
    free(table->items);
    *table = (struct state_table){.compare = table->compare};
}
