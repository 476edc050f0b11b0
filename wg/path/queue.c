#include "wg/path/queue.h"

#include <errno.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* A ring. Each index is written by one side only and counts without wrapping at the limit. The
 * writer's release publishes the message's bytes with it. */
struct queue {
    alignas(64) _Atomic size_t pushed;
    alignas(64) _Atomic size_t popped;
    struct queue_message messages[QUEUE_LIMIT];
};

int queue_create(struct queue **out)
{
    /* Not cleared: pages that no flood fills are never touched. */
    struct queue *queue = NULL;
    if (posix_memalign((void **)&queue, 64, sizeof *queue) != 0)
        return -ENOMEM;
    atomic_init(&queue->pushed, 0);
    atomic_init(&queue->popped, 0);
    *out = queue;
    return 0;
}

void queue_destroy(struct queue *queue)
{
    free(queue);
}

bool queue_push(struct queue *queue, const uint8_t *bytes, size_t len,
                const struct wg_endpoint *from)
{
    size_t pushed = atomic_load_explicit(&queue->pushed, memory_order_relaxed);
    size_t popped = atomic_load_explicit(&queue->popped, memory_order_acquire);
    if (pushed - popped >= QUEUE_LIMIT || len > WG_HANDSHAKE_MAX)
        return false;
    struct queue_message *message = &queue->messages[pushed % QUEUE_LIMIT];
    message->from = *from;
    message->len = len;
    memcpy(message->bytes, bytes, len);
    atomic_store_explicit(&queue->pushed, pushed + 1, memory_order_release);
    return true;
}

const struct queue_message *queue_front(struct queue *queue)
{
    size_t popped = atomic_load_explicit(&queue->popped, memory_order_relaxed);
    size_t pushed = atomic_load_explicit(&queue->pushed, memory_order_acquire);
    return pushed == popped ? NULL : &queue->messages[popped % QUEUE_LIMIT];
}

void queue_pop(struct queue *queue)
{
    size_t popped = atomic_load_explicit(&queue->popped, memory_order_relaxed);
    atomic_store_explicit(&queue->popped, popped + 1, memory_order_release);
}

size_t queue_len(struct queue *queue)
{
    size_t popped = atomic_load_explicit(&queue->popped, memory_order_acquire);
    return atomic_load_explicit(&queue->pushed, memory_order_acquire) - popped;
}
