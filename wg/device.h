#ifndef WG_DEVICE_H
#define WG_DEVICE_H

#include "base/fair_lock.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "wg/allowedips.h"
#include "wg/apart.h"
#include "wg/cookie.h"
#include "wg/garbage.h"
#include "wg/index.h"
#include "wg/noise.h"
#include "wg/peer.h"
#include "wg/ratelimit.h"
#include "wg/wg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wg_device {
    /* fast callers read these without a lock; tables change under the lock */
    struct wg_env env;
    struct allowedips allowedips;
    struct index_table indices;
    _Atomic(struct apart *) apart; /* NULL: no packet is refused for that */
    _Atomic bool is_up;
    _Atomic uint32_t mtu;
    struct staging_pool staging;
    _Atomic(struct wg_peer *) posted; /* peers with work for wg_device_run, newest first */

    /* protects all below, and serialises slow and setup calls */
    struct fair_lock lock;
    struct noise_identity identity;
    struct cookie_checker cookies;
    struct ratelimit ratelimit;
    struct map peers_by_key;
    struct list peers;
    size_t peer_count;
    struct heap deadlines;
    struct garbage garbage;
    uint64_t changes; /* number of configurations applied */
};

/* One slow or setup call, while it holds the device's lock. */
struct device_call {
    struct wg_device *dev;
    struct wg_time now;
    const struct wg_sink *sink;
    unsigned work; /* done so far, in units of DEVICE_WORK_* */
};

/* What a call may do under the lock before it leaves the rest to a later one: half a millisecond
 * or so. The units are about 4 us. */
enum {
    DEVICE_WORK_MAX = 128,
    DEVICE_WORK_INITIATION = 32, /* three curve operations */
    DEVICE_WORK_SEND = 2,
    DEVICE_WORK_SERVE = 1,
};

static inline bool device_work_is_done(const struct device_call *call)
{
    return call->work >= DEVICE_WORK_MAX;
}

/* Leaves the peer to wg_device_run. Any thread may call it, without the peer's lock. */
void device_post(struct wg_device *dev, struct wg_peer *peer);

/* Returns all posted peers, linked by `next_posted`. The caller owns one reference of each. */
struct wg_peer *device_take_posted(struct wg_device *dev);

/* Whether anything may be sent to the peer: the device is up and has a private key, and the peer
 * has an endpoint. */
bool device_may_send(const struct wg_device *dev, const struct wg_peer *peer);

/* Publishes `entry` under a fresh random index. 0 or -ENOMEM. */
int device_add_index(struct wg_device *dev, void *entry, uint32_t *index);

/* Ends the peer's current handshake and removes its index. */
void device_clear_handshake(struct wg_device *dev, struct wg_peer *peer);

/* Unpublishes keypairs that were displaced. */
void device_reap_keypairs(struct wg_device *dev, struct wg_peer *peer);

/* Forgets sessions, handshake and timers; staged packets stay. */
void device_clear_sessions(struct wg_device *dev, struct wg_peer *peer);

/* Adds a new peer to the device's tables, except the map. Room in `deadlines` was reserved. */
void device_link_peer(struct wg_device *dev, struct wg_peer *peer);

/* Removes a peer from all tables, except the map, and gives it to the garbage. */
void device_unlink_peer(struct wg_device *dev, struct wg_peer *peer);

#endif
