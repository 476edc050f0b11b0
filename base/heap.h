#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A binary min-heap of deadlines. Nodes are embedded in their owners and know their place, so
 * moving or removing a deadline takes O(log n). */
struct heap_node {
    uint64_t key;
    size_t place; /* 1-based index in the heap; 0 when not in one */
};

struct heap {
    struct heap_node **nodes;
    size_t count;
    size_t capacity;
};

void heap_init(struct heap *heap);
void heap_fini(struct heap *heap);

/* Makes room for `count` nodes, so that heap_set cannot fail. Returns 0 or -ENOMEM with the heap
 * unchanged. */
int heap_reserve(struct heap *heap, size_t count);

/* Inserts the node with this key, or moves it. Room must have been reserved. */
void heap_set(struct heap *heap, struct heap_node *node, uint64_t key);

/* Does nothing when the node is not in the heap. */
void heap_remove(struct heap *heap, struct heap_node *node);

/* The node with the lowest key, or NULL. */
struct heap_node *heap_min(const struct heap *heap);

#endif
