#include "wg/staging.h"

#include "base/bytes.h"
#include "wg/wg.h"
#include "wg/wire.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static size_t size_of(size_t len)
{
    return sizeof(struct staged) + len + WIRE_PADDING - 1 + WG_DATA_OVERHEAD;
}

int staging_pool_init(struct staging_pool *pool)
{
    heap_init(&pool->longest);
    atomic_init(&pool->bytes, 0);
    return -pthread_mutex_init(&pool->lock, NULL);
}

void staging_pool_fini(struct staging_pool *pool)
{
    heap_fini(&pool->longest);
    pthread_mutex_destroy(&pool->lock);
}

int staging_pool_reserve(struct staging_pool *pool, size_t peers)
{
    pthread_mutex_lock(&pool->lock);
    int rc = heap_reserve(&pool->longest, peers);
    pthread_mutex_unlock(&pool->lock);
    return rc;
}

struct staging *staging_pool_longest(struct staging_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct heap_node *node = heap_min(&pool->longest);
    pthread_mutex_unlock(&pool->lock);
    return node == NULL ? NULL : container_of(node, struct staging, node);
}

/* Changes the bytes of the queue; false, with nothing changed, when all would have too many. */
static bool account(struct staging *staging, struct staging_pool *pool, size_t more, size_t less)
{
    pthread_mutex_lock(&pool->lock);
    bool fits = atomic_load(&pool->bytes) + more <= STAGING_BYTES + less;
    if (fits) {
        staging->bytes = staging->bytes + more - less;
        atomic_store(&pool->bytes, atomic_load(&pool->bytes) + more - less);
        if (staging->bytes == 0)
            heap_remove(&pool->longest, &staging->node);
        else
            heap_set(&pool->longest, &staging->node, UINT64_MAX - staging->bytes);
    }
    pthread_mutex_unlock(&pool->lock);
    return fits;
}

void staging_init(struct staging *staging)
{
    list_init(&staging->packets);
    atomic_init(&staging->count, 0);
}

int staging_add(struct staging *staging, struct staging_pool *pool, const uint8_t *bytes,
                size_t len)
{
    if (atomic_load(&staging->count) >= STAGING_PACKETS)
        staged_destroy(staging_take(staging, pool));
    size_t size = size_of(len);
    if (!account(staging, pool, size, 0))
        return -ENOBUFS;
    struct staged *staged = malloc(size);
    if (staged == NULL) {
        (void)account(staging, pool, 0, size);
        return -ENOMEM;
    }
    staged->len = len;
    memcpy(staged->sealed + WG_HEADER_LEN, bytes, len);
    list_append(&staging->packets, &staged->place);
    atomic_fetch_add(&staging->count, 1);
    return 0;
}

struct staged *staging_take(struct staging *staging, struct staging_pool *pool)
{
    if (list_empty(&staging->packets))
        return NULL;
    struct staged *staged = list_first(&staging->packets, struct staged, place);
    list_remove(&staged->place);
    atomic_fetch_sub(&staging->count, 1);
    (void)account(staging, pool, 0, size_of(staged->len));
    return staged;
}

void staged_destroy(struct staged *staged)
{
    if (staged == NULL)
        return;
    bytes_wipe(staged, size_of(staged->len));
    free(staged);
}

void staging_clear(struct staging *staging, struct staging_pool *pool)
{
    for (;;) {
        struct staged *staged = staging_take(staging, pool);
        if (staged == NULL)
            return;
        staged_destroy(staged);
    }
}
