#include "wg/garbage.h"

#include <stddef.h>

void garbage_init(struct garbage *garbage)
{
    garbage->first = NULL;
}

void garbage_push(struct garbage *garbage, struct garbage_item *item,
                  void (*free_item)(struct garbage_item *item))
{
    item->free = free_item;
    item->next = garbage->first;
    garbage->first = item;
}

struct garbage_item *garbage_take(struct garbage *garbage)
{
    struct garbage_item *first = garbage->first;
    garbage->first = NULL;
    return first;
}

void garbage_free(struct garbage_item *first)
{
    while (first != NULL) {
        struct garbage_item *next = first->next;
        first->free(first);
        first = next;
    }
}
