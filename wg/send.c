#include "wg/send.h"

#include "base/bytes.h"
#include "wg/crypto/aead.h"
#include "wg/device.h"
#include "wg/ip.h"
#include "wg/wire.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* Packets are sealed in batches. A packet is sealed at once when its peer has a session and nothing
 * is staged. Otherwise it is staged, and wg_device_run sends all staged packets in order. Meanwhile
 * it holds the peer's lock, so that no new packet can overtake: a new packet finds `count` above
 * zero, waits for the lock, and is staged or sees the queue empty. */

enum {
    BATCH = 16,
    EVICTIONS_MAX = 1024, /* small packets that make room for one of the largest */
};

struct batch {
    size_t count;
    struct aead_op ops[BATCH];
    struct wg_peer *peers[BATCH];
    const struct keypair *keypairs[BATCH];
};

/* Returns a keypair that may send now, with its counter, or NULL. */
static struct keypair *reserve(struct wg_peer *peer, uint64_t now, uint64_t *counter)
{
    struct keypair *keypair = atomic_load_explicit(&peer->keypairs.current, memory_order_acquire);
    return keypair_is_fresh(keypair, now) && keypair_reserve(keypair, counter) ? keypair : NULL;
}

/* Pads with zeros up to a multiple of 16, but not past the MTU. A packet above the MTU counts as
 * several of that size. */
static size_t padded_len(size_t len, size_t mtu)
{
    size_t last = mtu > 0 && len > mtu ? len % mtu : len;
    size_t padded = (last + WIRE_PADDING - 1) / WIRE_PADDING * WIRE_PADDING;
    if (mtu > 0 && padded > mtu)
        padded = mtu;
    return len - last + padded;
}

static void send_add(struct batch *batch, struct wg_peer *peer, const struct keypair *keypair,
                     uint64_t counter, struct wg_outbound *packet, size_t mtu)
{
    uint8_t *body = packet->sealed + WG_HEADER_LEN;
    const uint8_t *src = packet->plain;
    size_t padded = padded_len(packet->len, mtu);
    if (padded > packet->len) {
        if (src != body)
            memcpy(body, src, packet->len);
        memset(body + packet->len, 0, padded - packet->len);
        src = body;
    }
    struct wire_data *header = (struct wire_data *)packet->sealed;
    store_le32(header->type, WIRE_DATA);
    store_le32(header->receiver, keypair->remote_index);
    store_le64(header->counter, counter);
    packet->sealed_len = padded + WG_DATA_OVERHEAD;
    packet->peer = peer;
    batch->ops[batch->count] = (struct aead_op){
        .key = keypair->send_key, .counter = counter, .src = src, .len = padded, .dst = body};
    batch->peers[batch->count] = peer;
    batch->keypairs[batch->count++] = keypair;
}

/* Accounts for packets [first, end) of one peer and session. True when the peer needs service. */
static bool send_account(const struct batch *batch, size_t first, size_t end, uint64_t now)
{
    struct wg_peer *peer = batch->peers[first];
    bool data = false;
    for (size_t i = first; i < end; i++)
        data |= batch->ops[i].len > 0;
    bool due = timers_sent(&peer->timers, data ? TIMERS_DATA : TIMERS_EMPTY, now);
    if (keypair_wants_rekey(batch->keypairs[first], batch->ops[end - 1].counter, now))
        due |= timers_want_handshake(&peer->timers);
    return due;
}

/* Seals and empties the batch. `poster` is the device for fast callers and NULL for slow ones,
 * which set the deadline themselves. */
static void send_finish(struct batch *batch, struct wg_device *poster, uint64_t now)
{
    aead_seal(batch->ops, batch->count);
    size_t end;
    for (size_t first = 0; first < batch->count; first = end) {
        for (end = first + 1; end < batch->count; end++) {
            if (batch->keypairs[end] != batch->keypairs[first])
                break;
        }
        if (send_account(batch, first, end, now) && poster != NULL)
            device_post(poster, batch->peers[first]);
    }
    batch->count = 0;
}

/* Drops the oldest packet of the peer that has most bytes staged; false when none has any. */
static bool evict(struct wg_device *dev)
{
    struct staging *longest = staging_pool_longest(&dev->staging);
    if (longest == NULL)
        return false;
    struct wg_peer *peer = container_of(longest, struct wg_peer, staging);
    pthread_mutex_lock(&peer->lock);
    staged_destroy(staging_take(&peer->staging, &dev->staging));
    pthread_mutex_unlock(&peer->lock);
    return true;
}

/* Stages under the peer's lock. The handshake is requested even when the packet finds no room: it
 * is what will make room. */
static int stage_once(struct wg_device *dev, struct wg_peer *peer, const struct wg_outbound *packet,
                      uint64_t now, bool *post)
{
    int rc = -ENETDOWN;
    pthread_mutex_lock(&peer->lock);
    if (!peer->is_removed && atomic_load(&dev->is_up)) {
        rc = staging_add(&peer->staging, &dev->staging, packet->plain, packet->len);
        *post |= keypair_may_send(atomic_load(&peer->keypairs.current), now) ||
                 timers_want_handshake(&peer->timers);
    }
    pthread_mutex_unlock(&peer->lock);
    return rc;
}

static enum wg_outbound_verdict send_stage(struct wg_device *dev, struct wg_peer *peer,
                                           const struct wg_outbound *packet, uint64_t now)
{
    bool post = false;
    int rc = stage_once(dev, peer, packet, now, &post);
    for (int i = 0; rc == -ENOBUFS && i < EVICTIONS_MAX && evict(dev); i++)
        rc = stage_once(dev, peer, packet, now, &post);
    if (post)
        device_post(dev, peer);
    return rc == 0 ? WG_OUT_STAGED : WG_OUT_DROP;
}

static enum wg_outbound_verdict seal(struct wg_device *dev, struct batch *batch,
                                     struct wg_outbound *packet, uint64_t now)
{
    struct ip_packet ip;
    if (!ip_packet_read(&ip, packet->plain, packet->len))
        return WG_OUT_DROP;
    if (!packet->is_answer &&
        apart_refuses(atomic_load_explicit(&dev->apart, memory_order_acquire), &ip))
        return WG_OUT_PROHIBITED;
    struct wg_peer *peer = allowedips_lookup(&dev->allowedips, ip.family, ip.destination);
    if (peer == NULL)
        return WG_OUT_NO_PEER;
    endpoint_slot_load(&peer->endpoint, &packet->endpoint);
    if (!endpoint_is_set(&packet->endpoint.remote))
        return WG_OUT_NO_ENDPOINT;
    packet->ds = ip.ecn;
    uint64_t counter;
    struct keypair *keypair = NULL;
    if (atomic_load_explicit(&peer->staging.count, memory_order_acquire) == 0)
        keypair = reserve(peer, now, &counter);
    if (keypair == NULL)
        return send_stage(dev, peer, packet, now);
    send_add(batch, peer, keypair, counter, packet,
             atomic_load_explicit(&dev->mtu, memory_order_relaxed));
    return WG_OUT_SEND;
}

void wg_device_seal(struct wg_device *dev, struct wg_outbound *packets, size_t count,
                    struct wg_time now)
{
    struct batch batch;
    batch.count = 0;
    bool is_up = atomic_load_explicit(&dev->is_up, memory_order_acquire);
    for (size_t i = 0; i < count; i++) {
        packets[i].verdict = is_up ? seal(dev, &batch, &packets[i], now.boot_ns) : WG_OUT_DROP;
        if (batch.count == BATCH)
            send_finish(&batch, dev, now.boot_ns);
    }
    send_finish(&batch, dev, now.boot_ns);
}

void wg_outbound_sent(const struct wg_outbound *packet)
{
    atomic_fetch_add_explicit(&packet->peer->tx_bytes, packet->sealed_len, memory_order_relaxed);
}

static void send_one(struct device_call *call, struct wg_peer *peer, uint8_t *sealed, size_t len,
                     struct keypair *keypair, uint64_t counter)
{
    struct batch batch;
    struct ip_packet ip;
    struct wg_outbound packet = {
        .plain = sealed + WG_HEADER_LEN,
        .len = len,
        .sealed = sealed,
    };
    if (ip_packet_read(&ip, packet.plain, len))
        packet.ds = ip.ecn;
    endpoint_slot_load(&peer->endpoint, &packet.endpoint);
    batch.count = 0;
    send_add(&batch, peer, keypair, counter, &packet, atomic_load(&call->dev->mtu));
    send_finish(&batch, NULL, call->now.boot_ns);
    call->work += DEVICE_WORK_SEND;
    if (call->sink->send(call->sink->ctx, &packet.endpoint, packet.ds, sealed, packet.sealed_len))
        wg_outbound_sent(&packet);
}

void send_staged(struct device_call *call, struct wg_peer *peer)
{
    uint64_t counter;
    struct keypair *keypair;
    pthread_mutex_lock(&peer->lock);
    while (!list_empty(&peer->staging.packets)) {
        keypair = reserve(peer, call->now.boot_ns, &counter);
        if (keypair == NULL)
            break;
        struct staged *staged = list_first(&peer->staging.packets, struct staged, place);
        send_one(call, peer, staged->sealed, staged->len, keypair, counter);
        staged_destroy(staging_take(&peer->staging, &call->dev->staging));
    }
    pthread_mutex_unlock(&peer->lock);
}

bool send_empty(struct device_call *call, struct wg_peer *peer)
{
    uint8_t sealed[WG_DATA_OVERHEAD];
    uint64_t counter;
    struct keypair *keypair = reserve(peer, call->now.boot_ns, &counter);
    if (keypair != NULL)
        send_one(call, peer, sealed, 0, keypair, counter);
    return keypair != NULL;
}
