#include "base/bytes.h"
#include "wg/crypto/aead.h"
#include "wg/device.h"
#include "wg/ip.h"
#include "wg/wire.h"

#include <stdatomic.h>

/* Datagrams are opened in batches and then settled one by one, in order: replay window, roaming,
 * confirmation of a session, timers, and last the inner packet. */

enum { BATCH = 16 };

struct batch {
    size_t count;
    struct aead_op ops[BATCH];
    struct keypair *keypairs[BATCH];
    struct wg_inbound *datagrams[BATCH];
};

static struct keypair *find_keypair(const struct wg_device *dev, const struct wire_data *header)
{
    struct index_entry *entry = index_lookup(&dev->indices, load_le32(header->receiver));
    if (entry == NULL || entry->kind != INDEX_KEYPAIR)
        return NULL;
    return container_of(entry, struct keypair, entry);
}

static enum wg_inbound_verdict receive_add(const struct wg_device *dev, struct batch *batch,
                                           struct wg_inbound *datagram, uint64_t now)
{
    const struct wire_data *header = (const struct wire_data *)datagram->bytes;
    if (datagram->len < WIRE_DATA_MIN_LEN)
        return WG_IN_DROP;
    struct keypair *keypair = find_keypair(dev, header);
    if (!keypair_is_fresh(keypair, now))
        return WG_IN_DROP;
    uint8_t *body = datagram->bytes + WG_HEADER_LEN;
    batch->ops[batch->count] = (struct aead_op){.key = keypair->recv_key,
                                                .counter = load_le64(header->counter),
                                                .src = body,
                                                .len = datagram->len - WG_DATA_OVERHEAD,
                                                .dst = body};
    batch->keypairs[batch->count] = keypair;
    batch->datagrams[batch->count++] = datagram;
    return WG_IN_DROP; /* unless it proves authentic */
}

static enum wg_inbound_verdict classify(const struct wg_device *dev, struct batch *batch,
                                        struct wg_inbound *datagram, uint64_t now)
{
    if (datagram->len < 4)
        return WG_IN_DROP;
    switch (load_le32(datagram->bytes)) {
    case WIRE_INITIATION:
        return datagram->len == WIRE_INITIATION_LEN ? WG_IN_HANDSHAKE : WG_IN_DROP;
    case WIRE_RESPONSE:
        return datagram->len == WIRE_RESPONSE_LEN ? WG_IN_HANDSHAKE : WG_IN_DROP;
    case WIRE_COOKIE_REPLY:
        return datagram->len == WIRE_COOKIE_REPLY_LEN ? WG_IN_HANDSHAKE : WG_IN_DROP;
    case WIRE_DATA:
        return receive_add(dev, batch, datagram, now);
    }
    return WG_IN_DROP;
}

/* Confirms a session in which we were the responder, on its first data. */
static bool confirm(struct wg_peer *peer, struct keypair *keypair, struct wg_time now)
{
    if (atomic_load_explicit(&peer->keypairs.next, memory_order_relaxed) != keypair)
        return false;
    pthread_mutex_lock(&peer->lock);
    bool confirmed = keypairs_confirm(&peer->keypairs, keypair);
    if (confirmed)
        timers_handshake_complete(&peer->timers);
    pthread_mutex_unlock(&peer->lock);
    if (confirmed)
        peer_note_handshake(peer, now);
    return confirmed;
}

static void receive_account(struct wg_device *dev, struct wg_peer *peer, struct keypair *keypair,
                            const struct wg_inbound *datagram, struct wg_time now)
{
    bool is_empty = datagram->len == WIRE_DATA_MIN_LEN;
    atomic_fetch_add_explicit(&peer->rx_bytes, datagram->len, memory_order_relaxed);
    peer_set_endpoint(peer, &datagram->from);
    bool due = confirm(peer, keypair, now);
    due |= timers_received(&peer->timers, is_empty ? TIMERS_EMPTY : TIMERS_DATA, now.boot_ns);
    if (keypair_wants_rekey_receiving(keypair, now.boot_ns) &&
        atomic_load_explicit(&peer->keypairs.current, memory_order_relaxed) == keypair)
        due |= timers_want_rekey_receiving(&peer->timers);
    if (due)
        device_post(dev, peer);
}

static enum wg_inbound_verdict receive_deliver(const struct wg_device *dev,
                                               const struct wg_peer *peer,
                                               struct wg_inbound *datagram, size_t len)
{
    struct ip_packet ip;
    uint8_t *plain = datagram->bytes + WG_HEADER_LEN;
    if (!ip_packet_read(&ip, plain, len) || ip.len > len)
        return WG_IN_DROP;
    if (allowedips_lookup(&dev->allowedips, ip.family, ip.source) != peer)
        return WG_IN_DROP;
    if (!ip_packet_combine_ecn(plain, datagram->ds))
        return WG_IN_DROP;
    datagram->plain = plain;
    datagram->plain_len = ip.len;
    return apart_refuses(atomic_load_explicit(&dev->apart, memory_order_acquire), &ip)
               ? WG_IN_PROHIBITED
               : WG_IN_DELIVER;
}

static void receive_settle(struct wg_device *dev, const struct aead_op *op, struct keypair *keypair,
                           struct wg_inbound *datagram, struct wg_time now)
{
    struct wg_peer *peer = keypair->entry.peer;
    if (!op->ok || !replay_accept(&keypair->replay, op->counter))
        return;
    receive_account(dev, peer, keypair, datagram, now);
    datagram->verdict =
        op->len == 0 ? WG_IN_CONSUMED : receive_deliver(dev, peer, datagram, op->len);
}

static void receive_finish(struct wg_device *dev, struct batch *batch, struct wg_time now)
{
    aead_open(batch->ops, batch->count);
    for (size_t i = 0; i < batch->count; i++)
        receive_settle(dev, &batch->ops[i], batch->keypairs[i], batch->datagrams[i], now);
    batch->count = 0;
}

void wg_device_open(struct wg_device *dev, struct wg_inbound *datagrams, size_t count,
                    struct wg_time now)
{
    struct batch batch;
    batch.count = 0;
    bool is_up = atomic_load_explicit(&dev->is_up, memory_order_acquire);
    for (size_t i = 0; i < count; i++) {
        datagrams[i].plain = NULL;
        datagrams[i].plain_len = 0;
        datagrams[i].verdict =
            is_up ? classify(dev, &batch, &datagrams[i], now.boot_ns) : WG_IN_DROP;
        if (batch.count == BATCH)
            receive_finish(dev, &batch, now);
    }
    receive_finish(dev, &batch, now);
}
