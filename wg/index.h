#ifndef WG_INDEX_H
#define WG_INDEX_H

#include "wg/garbage.h"

#include <stddef.h>
#include <stdint.h>

struct index_slots;

/* Maps our 32-bit receiver indices to entries. Lookups take no lock and may run during any change.
 * Changes serialise on the owner's lock. An entry must outlive the grace period after its removal
 * or replacement. */
struct index_table {
    _Atomic(struct index_slots *) slots; /* NULL until the first insert */
    size_t live;                         /* indices with an entry */
};

void index_table_init(struct index_table *table);

/* Frees at once: no reader may remain. */
void index_table_fini(struct index_table *table);

/* Publishes `entry` (not NULL) under a random candidate. Returns 0, -EEXIST when the candidate is
 * taken (draw another), or -ENOMEM; on failure nothing has changed. May retire an outgrown table to
 * `garbage`. */
int index_insert(struct index_table *table, uint32_t candidate, void *entry,
                 struct garbage *garbage);

/* Replaces the entry of a present index, in one step that cannot fail. Returns the former entry, or
 * NULL when the index is not present, which changes nothing. */
void *index_replace(struct index_table *table, uint32_t index, void *entry);

/* Returns the former entry, or NULL. */
void *index_remove(struct index_table *table, uint32_t index);

/* The entry, or NULL. */
void *index_lookup(const struct index_table *table, uint32_t index);

#endif
