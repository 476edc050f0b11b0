#ifndef WG_GARBAGE_H
#define WG_GARBAGE_H

/* What a writer has unpublished but a reader may still hold. A list keeps it until the caller knows
 * that a grace period has passed; then it is freed, newest first. One lock of the owner covers a
 * list. */

struct garbage_item {
    struct garbage_item *next;
    void (*free)(
        struct garbage_item *item); /* wipes secrets, frees the struct that embeds the item */
};

struct garbage {
    struct garbage_item *first;
};

void garbage_init(struct garbage *garbage);

/* Takes ownership of the struct that embeds `item`. Cannot fail. */
void garbage_push(struct garbage *garbage, struct garbage_item *item,
                  void (*free_item)(struct garbage_item *item));

/* Empties the list and returns its items, linked by `next`, or NULL. */
struct garbage_item *garbage_take(struct garbage *garbage);

/* Frees what garbage_take returned; NULL is allowed. */
void garbage_free(struct garbage_item *first);

#endif
