#ifndef BASE_SEARCH_H
#define BASE_SEARCH_H

#include <stdbool.h>
#include <stddef.h>

/* Binary search in anything with ordered places 0 to count - 1. `is_before` returns whether the
 * item at a place sorts before the one sought: true up to some place and false from there on.
 * Returns the first place where it is false, which is where a new item belongs, or `count`. */
size_t search_place(size_t count, bool (*is_before)(const void *ctx, size_t place),
                    const void *ctx);

#endif
