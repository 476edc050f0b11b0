#include "base/heap.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

void heap_init(struct heap *heap)
{
    *heap = (struct heap){0};
}

void heap_fini(struct heap *heap)
{
    free(heap->nodes);
    heap_init(heap);
}

int heap_reserve(struct heap *heap, size_t count)
{
    if (count <= heap->capacity)
        return 0;
    size_t capacity = heap->capacity * 2 > count ? heap->capacity * 2 : count;
    struct heap_node **nodes = realloc(heap->nodes, capacity * sizeof *nodes);
    if (nodes == NULL)
        return -ENOMEM;
    heap->nodes = nodes;
    heap->capacity = capacity;
    return 0;
}

static void place(struct heap *heap, struct heap_node *node, size_t at)
{
    heap->nodes[at - 1] = node;
    node->place = at;
}

static void sift_up(struct heap *heap, struct heap_node *node)
{
    size_t at = node->place;
    while (at > 1 && heap->nodes[at / 2 - 1]->key > node->key) {
        place(heap, heap->nodes[at / 2 - 1], at);
        at /= 2;
    }
    place(heap, node, at);
}

static void sift_down(struct heap *heap, struct heap_node *node)
{
    size_t at = node->place;
    for (;;) {
        size_t child = 2 * at;
        if (child > heap->count)
            break;
        if (child < heap->count && heap->nodes[child]->key < heap->nodes[child - 1]->key)
            child++;
        if (heap->nodes[child - 1]->key >= node->key)
            break;
        place(heap, heap->nodes[child - 1], at);
        at = child;
    }
    place(heap, node, at);
}

void heap_set(struct heap *heap, struct heap_node *node, uint64_t key)
{
    if (node->place == 0) {
        assert(heap->count < heap->capacity);
        place(heap, node, ++heap->count);
    }
    node->key = key;
    sift_up(heap, node);
    sift_down(heap, node);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    if (node->place == 0)
        return;
    struct heap_node *last = heap->nodes[--heap->count];
    if (last != node) {
        place(heap, last, node->place);
        sift_up(heap, last);
        sift_down(heap, last);
    }
    node->place = 0;
}

struct heap_node *heap_min(const struct heap *heap)
{
    return heap->count > 0 ? heap->nodes[0] : NULL;
}
