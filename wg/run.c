#include "wg/run.h"

#include "wg/device.h"
#include "wg/handshake.h"
#include "wg/send.h"
#include "wg/wire.h"

#include <stdatomic.h>

/* The slow callers' entry points. Each takes the device's lock, reports what happened to the peers
 * concerned, and then serves them: a peer does what its timers have due and gets its next deadline.
 * Peers with a deadline are in a heap; those that fast callers left work for are in the stack of
 * posted ones.
 *
 * No call serves peers for long: what exceeds DEVICE_WORK_MAX becomes due at once and is left to the
 * next wg_device_run. Between two of them the other callers have their turn, so that 10,000 due peers
 * delay neither a configuration nor the answers to the handshakes that they begin. Posted peers
 * come first: a packet waits there. */

enum { DUE_POSTED, DUE_LEFT_OVER }; /* keys in the heap of deadlines, before all times */

static void drop_staged(struct wg_device *dev, struct wg_peer *peer)
{
    pthread_mutex_lock(&peer->lock);
    staging_clear(&peer->staging, &dev->staging);
    pthread_mutex_unlock(&peer->lock);
}

/* Takes the peer's lock, so that a packet staged meanwhile is either among those dropped or
 * requests a handshake of its own. */
static enum timers_action next_action(struct device_call *call, struct wg_peer *peer)
{
    pthread_mutex_lock(&peer->lock);
    enum timers_action action =
        timers_next(&peer->timers, device_may_send(call->dev, peer), call->now.boot_ns);
    if (action == TIMERS_GIVE_UP)
        staging_clear(&peer->staging, &call->dev->staging);
    pthread_mutex_unlock(&peer->lock);
    return action;
}

/* Sessions this old are useless to both sides. The timers go on. */
static void wipe_keys(struct wg_device *dev, struct wg_peer *peer)
{
    device_clear_handshake(dev, peer);
    pthread_mutex_lock(&peer->lock);
    keypairs_retire_all(&peer->keypairs);
    pthread_mutex_unlock(&peer->lock);
    device_reap_keypairs(dev, peer);
}

static bool do_next(struct device_call *call, struct wg_peer *peer)
{
    switch (next_action(call, peer)) {
    case TIMERS_NOTHING:
        return false;
    case TIMERS_INITIATE:
        handshake_initiate(call, peer);
        return true;
    case TIMERS_INITIATE_ELSEWHERE:
    case TIMERS_INITIATE_AGAIN:
        peer_forget_source(peer);
        handshake_initiate(call, peer);
        return true;
    case TIMERS_GIVE_UP:
        return true;
    case TIMERS_ACKNOWLEDGE:
        send_empty(call, peer);
        return true;
    case TIMERS_KEEP_ALIVE:
        if (!send_empty(call, peer))
            timers_want_handshake(&peer->timers);
        return true;
    case TIMERS_WIPE:
        wipe_keys(call->dev, peer);
        return true;
    }
    return false;
}

static void set_deadline(struct wg_device *dev, struct wg_peer *peer)
{
    uint64_t due = timers_arm(&peer->timers, device_may_send(dev, peer));
    if (due == TIMERS_NEVER)
        heap_remove(&dev->deadlines, &peer->deadline);
    else
        heap_set(&dev->deadlines, &peer->deadline, due < DUE_LEFT_OVER ? DUE_LEFT_OVER : due);
}

void run_serve_peer(struct device_call *call, struct wg_peer *peer)
{
    struct wg_device *dev = call->dev;
    device_reap_keypairs(dev, peer);
    if (peer->is_removed)
        return;
    if (!atomic_load(&dev->is_up)) {
        heap_remove(&dev->deadlines, &peer->deadline);
        return;
    }
    if (!device_work_is_done(call)) {
        call->work += DEVICE_WORK_SERVE;
        send_staged(call, peer);
        while (do_next(call, peer))
            ;
        set_deadline(dev, peer);
    } else if (atomic_load(&peer->staging.count) != 0) {
        heap_set(&dev->deadlines, &peer->deadline, DUE_LEFT_OVER);
    } else {
        set_deadline(dev, peer);
    }
}

bool wg_device_handshake(struct wg_device *dev, const uint8_t *bytes, size_t len,
                         const struct wg_endpoint *from, bool under_load, struct wg_time now,
                         const struct wg_sink *sink)
{
    struct device_call call = {.dev = dev, .now = now, .sink = sink};
    struct wg_peer *peer = NULL;
    fair_lock_take(&dev->lock);
    if (atomic_load(&dev->is_up) && dev->identity.has_key) {
        peer = handshake_consume(&call, bytes, len, from, under_load);
        if (peer != NULL)
            run_serve_peer(&call, peer);
    }
    fair_lock_give(&dev->lock);
    return peer != NULL || len == WIRE_COOKIE_REPLY_LEN;
}

static void schedule_posted(struct wg_device *dev)
{
    struct wg_peer *next;
    for (struct wg_peer *peer = device_take_posted(dev); peer != NULL; peer = next) {
        next = peer->next_posted;
        atomic_store(&peer->posted, false);
        if (!peer->is_removed)
            heap_set(&dev->deadlines, &peer->deadline, DUE_POSTED);
        peer_put(peer);
    }
}

void wg_device_run(struct wg_device *dev, struct wg_time now, const struct wg_sink *sink)
{
    struct device_call call = {.dev = dev, .now = now, .sink = sink};
    fair_lock_take(&dev->lock);
    schedule_posted(dev);
    while (!device_work_is_done(&call)) {
        struct heap_node *first = heap_min(&dev->deadlines);
        if (first == NULL || first->key > now.boot_ns)
            break;
        run_serve_peer(&call, container_of(first, struct wg_peer, deadline));
    }
    fair_lock_give(&dev->lock);
}

uint64_t wg_device_deadline(struct wg_device *dev)
{
    fair_lock_take(&dev->lock);
    struct heap_node *first = heap_min(&dev->deadlines);
    uint64_t due = first == NULL ? WG_NEVER : first->key;
    fair_lock_give(&dev->lock);
    return due;
}

void wg_device_set_up(struct wg_device *dev, bool up, struct wg_time now,
                      const struct wg_sink *sink)
{
    struct device_call call = {.dev = dev, .now = now, .sink = sink};
    fair_lock_take(&dev->lock);
    bool was_up = atomic_exchange(&dev->is_up, up);
    list_for_each (pos, &dev->peers) {
        struct wg_peer *peer = container_of(pos, struct wg_peer, place);
        if (was_up && !up) {
            drop_staged(dev, peer);
            device_clear_sessions(dev, peer);
        }
        if (was_up != up)
            run_serve_peer(&call, peer);
    }
    fair_lock_give(&dev->lock);
}

void wg_device_reinitiate(struct wg_device *dev, struct wg_time now, const struct wg_sink *sink)
{
    struct device_call call = {.dev = dev, .now = now, .sink = sink};
    fair_lock_take(&dev->lock);
    list_for_each (pos, &dev->peers) {
        struct wg_peer *peer = container_of(pos, struct wg_peer, place);
        uint64_t last = atomic_load(&peer->handshake_boot_ns);
        bool is_expected = last != 0 && now.boot_ns - last < TIMERS_REJECT_AFTER;
        if (is_expected && atomic_load(&peer->keypairs.current) == NULL) {
            timers_want_handshake(&peer->timers);
            run_serve_peer(&call, peer);
        }
    }
    fair_lock_give(&dev->lock);
}
