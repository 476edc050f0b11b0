#include "wg/path/queue.h"

#include "base/bytes.h"
#include "wg/wire.h"

#include <errno.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { SOURCES = 1024 };

/* A ring. Each index is written by one side only and counts without wrapping at the limit. The
 * writer's release publishes the message's bytes with it. */
struct queue {
    alignas(64) _Atomic size_t pushed;
    alignas(64) _Atomic size_t popped;
    _Atomic size_t initiations;
    uint64_t seed;
    _Atomic uint16_t waiting[SOURCES]; /* by hash of the source */
    struct queue_message messages[QUEUE_LIMIT];
};

int queue_create(struct queue **out, uint64_t seed)
{
    /* Not cleared: pages that no flood fills are never touched. */
    struct queue *queue = NULL;
    if (posix_memalign((void **)&queue, 64, sizeof *queue) != 0)
        return -ENOMEM;
    atomic_init(&queue->pushed, 0);
    atomic_init(&queue->popped, 0);
    atomic_init(&queue->initiations, 0);
    queue->seed = seed;
    for (size_t i = 0; i < SOURCES; i++)
        atomic_init(&queue->waiting[i], 0);
    *out = queue;
    return 0;
}

void queue_destroy(struct queue *queue)
{
    free(queue);
}

/* Sources that share a place share what it may hold. */
static _Atomic uint16_t *place_of(struct queue *queue, const struct wg_endpoint *from)
{
    struct ip_addr addr;
    uint64_t hash = queue->seed;
    endpoint_addr(&from->remote, &addr);
    hash ^= load_le64(addr.bytes); /* of IPv6 the upper half; of IPv4 all, and zeros */
    hash = (hash ^ hash >> 32) * UINT64_C(0xd6e8feb86659fd93);
    hash = (hash ^ hash >> 32) * (queue->seed | 1);
    return &queue->waiting[hash >> 32 & (SOURCES - 1)];
}

static bool is_initiation(const uint8_t *bytes, size_t len)
{
    return len > 0 && bytes[0] == WIRE_INITIATION;
}

bool queue_push(struct queue *queue, const uint8_t *bytes, size_t len,
                const struct wg_endpoint *from)
{
    size_t pushed = atomic_load_explicit(&queue->pushed, memory_order_relaxed);
    size_t popped = atomic_load_explicit(&queue->popped, memory_order_acquire);
    if (pushed - popped >= QUEUE_LIMIT || len > WG_HANDSHAKE_MAX)
        return false;
    _Atomic uint16_t *waiting = place_of(queue, from);
    if (atomic_load_explicit(waiting, memory_order_relaxed) >= QUEUE_LIMIT - (pushed - popped))
        return false;
    atomic_fetch_add_explicit(waiting, 1, memory_order_relaxed);
    struct queue_message *message = &queue->messages[pushed % QUEUE_LIMIT];
    message->from = *from;
    message->len = len;
    memcpy(message->bytes, bytes, len);
    if (is_initiation(bytes, len))
        atomic_fetch_add_explicit(&queue->initiations, 1, memory_order_relaxed);
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
    const struct queue_message *message = &queue->messages[popped % QUEUE_LIMIT];
    atomic_fetch_sub_explicit(place_of(queue, &message->from), 1, memory_order_relaxed);
    if (is_initiation(message->bytes, message->len))
        atomic_fetch_sub_explicit(&queue->initiations, 1, memory_order_relaxed);
    atomic_store_explicit(&queue->popped, popped + 1, memory_order_release);
}

size_t queue_len(struct queue *queue)
{
    size_t popped = atomic_load_explicit(&queue->popped, memory_order_acquire);
    return atomic_load_explicit(&queue->pushed, memory_order_acquire) - popped;
}

size_t queue_initiations(struct queue *queue)
{
    return atomic_load_explicit(&queue->initiations, memory_order_relaxed);
}
