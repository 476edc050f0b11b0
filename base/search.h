#ifndef BASE_SEARCH_H
#define BASE_SEARCH_H

#include <stdbool.h>
#include <stddef.h>

/* Binary search in anything that has places 0 to count - 1 in order. `is_before` tells whether the
 * item at a place sorts before what is sought: true up to some place and false from there on.
 * Returns the first place where it is false, which is where a new item belongs; `count` if none. */
size_t search_place(size_t count, bool (*is_before)(const void *ctx, size_t place),
                    const void *ctx);

#endif
