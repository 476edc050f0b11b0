#include "base/search.h"

size_t search_place(size_t count, bool (*is_before)(const void *ctx, size_t place), const void *ctx)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (is_before(ctx, middle))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
