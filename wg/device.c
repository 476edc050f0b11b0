#include "wg/device.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Threads and locks. Fast callers load pointers of the tables, of a peer's keypairs and its
 * endpoint. They change timers and counters and, under the peer's lock, staging, endpoint and the
 * confirmation of a session. Everything else is done here and in the files of slow and setup calls
 * (run, config, handshake, info) under the device's lock.
 *
 * A fast caller that leaves work posts the peer to a lock-free stack, which wg_device_run empties.
 * A posted peer holds a reference: one that was removed meanwhile lives until it is taken. */

enum { DEFAULT_MTU = 1420 };

int wg_device_create(struct wg_device **out, const struct wg_env *env)
{
    struct wg_device *dev = calloc(1, sizeof *dev);
    if (dev == NULL)
        return -ENOMEM;
    if (fair_lock_init(&dev->lock) != 0)
        goto fail;
    if (staging_pool_init(&dev->staging) != 0)
        goto fail_lock;
    uint8_t seed[16];
    dev->env = *env;
    atomic_init(&dev->mtu, DEFAULT_MTU);
    allowedips_init(&dev->allowedips);
    index_table_init(&dev->indices);
    env->random(env->ctx, seed, sizeof seed);
    ratelimit_init(&dev->ratelimit, seed);
    env->random(env->ctx, seed, sizeof seed);
    map_init(&dev->peers_by_key, seed);
    bytes_wipe(seed, sizeof seed);
    list_init(&dev->peers);
    heap_init(&dev->deadlines);
    garbage_init(&dev->garbage);
    *out = dev;
    return 0;
fail_lock:
    fair_lock_fini(&dev->lock);
fail:
    free(dev);
    return -ENOMEM;
}

struct wg_peer *device_take_posted(struct wg_device *dev)
{
    return atomic_exchange(&dev->posted, NULL);
}

static void drop_posted(struct wg_device *dev)
{
    struct wg_peer *next;
    for (struct wg_peer *peer = device_take_posted(dev); peer != NULL; peer = next) {
        next = peer->next_posted;
        peer_put(peer);
    }
}

void wg_device_destroy(struct wg_device *dev)
{
    if (dev == NULL)
        return;
    list_for_each_safe (pos, &dev->peers) {
        device_unlink_peer(dev, container_of(pos, struct wg_peer, place));
    }
    drop_posted(dev);
    garbage_free(garbage_take(&dev->garbage));
    map_fini(&dev->peers_by_key);
    heap_fini(&dev->deadlines);
    staging_pool_fini(&dev->staging);
    apart_destroy(atomic_load(&dev->apart));
    index_table_fini(&dev->indices);
    allowedips_fini(&dev->allowedips);
    noise_identity_fini(&dev->identity);
    cookie_checker_fini(&dev->cookies);
    fair_lock_fini(&dev->lock);
    bytes_wipe(dev, sizeof *dev);
    free(dev);
}

void device_post(struct wg_device *dev, struct wg_peer *peer)
{
    if (atomic_exchange(&peer->posted, true))
        return;
    peer_ref(peer);
    struct wg_peer *head = atomic_load(&dev->posted);
    do
        peer->next_posted = head;
    while (!atomic_compare_exchange_weak(&dev->posted, &head, peer));
    if (head == NULL) /* the caller that posted the first peer has called wake */
        dev->env.wake(dev->env.ctx);
}

bool device_may_send(const struct wg_device *dev, const struct wg_peer *peer)
{
    return atomic_load(&dev->is_up) && dev->identity.has_key && peer_has_endpoint(peer);
}

int device_add_index(struct wg_device *dev, void *entry, uint32_t *index)
{
    for (;;) {
        dev->env.random(dev->env.ctx, index, sizeof *index);
        int result = index_insert(&dev->indices, *index, entry, &dev->garbage);
        if (result != -EEXIST)
            return result;
    }
}

void device_clear_handshake(struct wg_device *dev, struct wg_peer *peer)
{
    noise_handshake_clear(&peer->noise);
    if (peer->has_handshake_index)
        index_remove(&dev->indices, peer->handshake_index);
    peer->has_handshake_index = false;
}

void device_reap_keypairs(struct wg_device *dev, struct wg_peer *peer)
{
    pthread_mutex_lock(&peer->lock);
    struct garbage_item *item = garbage_take(&peer->keypairs.retired);
    pthread_mutex_unlock(&peer->lock);
    while (item != NULL) {
        struct garbage_item *next = item->next;
        index_remove(&dev->indices, container_of(item, struct keypair, garbage)->local_index);
        garbage_push(&dev->garbage, item, item->free);
        item = next;
    }
}

void device_clear_sessions(struct wg_device *dev, struct wg_peer *peer)
{
    device_clear_handshake(dev, peer);
    pthread_mutex_lock(&peer->lock);
    keypairs_retire_all(&peer->keypairs);
    timers_reset(&peer->timers);
    pthread_mutex_unlock(&peer->lock);
    device_reap_keypairs(dev, peer);
}

void device_link_peer(struct wg_device *dev, struct wg_peer *peer)
{
    list_append(&dev->peers, &peer->place);
    dev->peer_count++;
}

static void free_peer(struct garbage_item *item)
{
    peer_put(container_of(item, struct wg_peer, garbage));
}

void device_unlink_peer(struct wg_device *dev, struct wg_peer *peer)
{
    list_remove(&peer->place);
    dev->peer_count--;
    heap_remove(&dev->deadlines, &peer->deadline);
    allowedips_remove_all(&dev->allowedips, &peer->allowed_ips, &dev->garbage);
    pthread_mutex_lock(&peer->lock);
    peer->is_removed = true;
    staging_clear(&peer->staging, &dev->staging);
    pthread_mutex_unlock(&peer->lock);
    device_clear_sessions(dev, peer);
    garbage_push(&dev->garbage, &peer->garbage, free_peer);
}

int wg_device_keep_apart(struct wg_device *dev, const struct ip_prefix *prefixes, size_t count)
{
    struct apart *apart = NULL;
    if (count > 0) {
        apart = apart_create(prefixes, count);
        if (apart == NULL)
            return -ENOMEM;
    }
    fair_lock_take(&dev->lock);
    struct apart *former = atomic_exchange(&dev->apart, apart);
    if (former != NULL)
        garbage_push(&dev->garbage, &former->garbage, apart_free_item);
    fair_lock_give(&dev->lock);
    return 0;
}

void wg_device_set_mtu(struct wg_device *dev, uint32_t mtu)
{
    atomic_store(&dev->mtu, mtu);
}

struct wg_garbage *wg_device_take_garbage(struct wg_device *dev)
{
    fair_lock_take(&dev->lock);
    struct garbage_item *first = garbage_take(&dev->garbage);
    fair_lock_give(&dev->lock);
    return (struct wg_garbage *)(void *)first;
}

void wg_garbage_free(struct wg_garbage *garbage)
{
    garbage_free((struct garbage_item *)(void *)garbage);
}
