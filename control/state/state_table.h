#ifndef CONTROL_STATE_STATE_TABLE_H
#define CONTROL_STATE_STATE_TABLE_H

#include <stddef.h>

/* Pointers in the order of `compare`, which must not find two of them equal. The pointers are
 * borrowed. A table of zeros with `compare` set is empty. */
struct state_table {
    void **items;
    size_t count;
    size_t capacity;
    int (*compare)(const void *a, const void *b);
};

/* Makes room for one more item, so that the next state_table_add cannot fail. 0 or -ENOMEM. */
int state_table_reserve(struct state_table *table);

/* 0, or -ENOMEM with the table unchanged. */
int state_table_add(struct state_table *table, void *item);

/* Does nothing when the item is not in the table. */
void state_table_remove(struct state_table *table, const void *item);

void state_table_fini(struct state_table *table);

#endif
