#include "wg/handshake.h"

#include "base/bytes.h"
#include "wg/device.h"
#include "wg/send.h"
#include "wg/wire.h"

#include <stdatomic.h>

/* Connects handshake messages on the wire with `noise`: macs and cookies, indices, sessions. The
 * index of a handshake stands for its peer until the session begins, and then for the keypair. */

enum { DS_HANDSHAKE = 0x88 }; /* AF41 */

static void send_message(struct device_call *call, struct wg_peer *peer, void *message, size_t len)
{
    struct wg_endpoint endpoint;
    cookie_maker_add_macs(&peer->cookie, message, len, call->now.boot_ns);
    endpoint_slot_load(&peer->endpoint, &endpoint);
    timers_sent(&peer->timers, TIMERS_HANDSHAKE_MESSAGE, call->now.boot_ns);
    if (call->sink->send(call->sink->ctx, &endpoint, DS_HANDSHAKE, message, len))
        atomic_fetch_add_explicit(&peer->tx_bytes, len, memory_order_relaxed);
}

/* Assigns an index to the handshake that is about to start, in place of a former one. */
static bool take_index(struct wg_device *dev, struct wg_peer *peer)
{
    if (peer->has_handshake_index)
        index_remove(&dev->indices, peer->handshake_index);
    peer->has_handshake_index =
        device_add_index(dev, &peer->handshake_entry, &peer->handshake_index) == 0;
    return peer->has_handshake_index;
}

static uint32_t draw_jitter(struct wg_device *dev)
{
    uint32_t number;
    dev->env.random(dev->env.ctx, &number, sizeof number);
    return number % TIMERS_JITTER_MS;
}

void handshake_initiate(struct device_call *call, struct wg_peer *peer)
{
    struct wg_device *dev = call->dev;
    struct wire_initiation message;
    uint8_t random[32];
    call->work += DEVICE_WORK_INITIATION;
    timers_initiated(&peer->timers, call->now.boot_ns, draw_jitter(dev));
    if (!take_index(dev, peer))
        return;
    dev->env.random(dev->env.ctx, random, sizeof random);
    if (noise_create_initiation(&peer->noise, &dev->identity, peer->handshake_index, random,
                                call->now.real_ns, &message))
        send_message(call, peer, &message, sizeof message);
    else
        device_clear_handshake(dev, peer);
    bytes_wipe(random, sizeof random);
}

/* Turns the finished handshake into a session. Takes ownership of `keypair`. */
static void begin_session(struct device_call *call, struct wg_peer *peer, struct keypair *keypair)
{
    struct noise_session session;
    if (!noise_begin_session(&peer->noise, &session)) {
        keypair_destroy(keypair);
        return;
    }
    keypair_fill(keypair, &session, call->now.boot_ns);
    noise_session_fini(&session);
    pthread_mutex_lock(&peer->lock);
    keypairs_begin(&peer->keypairs, keypair);
    if (keypair->initiator)
        timers_handshake_complete(&peer->timers);
    timers_session_begun(&peer->timers, call->now.boot_ns);
    pthread_mutex_unlock(&peer->lock);
    /* Published last: the first data must find the keypair in its place. */
    index_replace(&call->dev->indices, keypair->local_index, &keypair->entry);
    peer->has_handshake_index = false;
    device_reap_keypairs(call->dev, peer);
}

/* Accounts for an authentic message from this address. */
static void received(struct device_call *call, struct wg_peer *peer, size_t len,
                     const struct wg_endpoint *from)
{
    peer_set_endpoint(peer, from);
    atomic_fetch_add_explicit(&peer->rx_bytes, len, memory_order_relaxed);
    timers_received(&peer->timers, TIMERS_HANDSHAKE_MESSAGE, call->now.boot_ns);
}

static void respond(struct device_call *call, struct wg_peer *peer)
{
    struct wg_device *dev = call->dev;
    struct wire_response response;
    uint8_t random[32];
    struct keypair *keypair = keypair_create(peer);
    if (keypair == NULL || !take_index(dev, peer))
        goto fail;
    dev->env.random(dev->env.ctx, random, sizeof random);
    bool created = noise_create_response(&peer->noise, &dev->identity, peer->handshake_index,
                                         random, &response);
    bytes_wipe(random, sizeof random);
    if (!created)
        goto fail;
    begin_session(call, peer, keypair);
    timers_responded(&peer->timers, call->now.boot_ns);
    send_message(call, peer, &response, sizeof response);
    return;
fail:
    device_clear_handshake(dev, peer);
    keypair_destroy(keypair);
}

static struct wg_peer *consume_initiation(struct device_call *call,
                                          const struct wire_initiation *message,
                                          const struct wg_endpoint *from)
{
    struct wg_device *dev = call->dev;
    struct noise_opened opened;
    if (!noise_open_initiation(&opened, &dev->identity, message))
        return NULL;
    struct wg_peer *peer =
        map_get(&dev->peers_by_key, opened.remote_static, sizeof opened.remote_static);
    bool accepted = peer != NULL && noise_accept_initiation(&peer->noise, &dev->identity, &opened,
                                                            message, call->now.boot_ns) == NOISE_OK;
    noise_opened_fini(&opened);
    if (!accepted)
        return NULL;
    received(call, peer, sizeof *message, from);
    respond(call, peer);
    return peer;
}

static struct wg_peer *find_handshake(struct wg_device *dev, const uint8_t receiver[4])
{
    struct index_entry *entry = index_lookup(&dev->indices, load_le32(receiver));
    return entry != NULL && entry->kind == INDEX_HANDSHAKE ? entry->peer : NULL;
}

static struct wg_peer *consume_response(struct device_call *call,
                                        const struct wire_response *message,
                                        const struct wg_endpoint *from)
{
    struct wg_device *dev = call->dev;
    struct wg_peer *peer = find_handshake(dev, message->receiver);
    if (peer == NULL)
        return NULL;
    struct keypair *keypair = keypair_create(peer);
    if (keypair == NULL)
        return NULL;
    if (noise_consume_response(&peer->noise, &dev->identity, message) != NOISE_OK) {
        keypair_destroy(keypair);
        return NULL;
    }
    received(call, peer, sizeof *message, from);
    begin_session(call, peer, keypair);
    peer_note_handshake(peer, call->now);
    /* The responder may use the session only after the first data. */
    if (atomic_load(&peer->staging.count) == 0)
        send_empty(call, peer);
    return peer;
}

static void consume_cookie_reply(struct device_call *call, const struct wire_cookie_reply *message)
{
    struct index_entry *entry = index_lookup(&call->dev->indices, load_le32(message->receiver));
    if (entry != NULL)
        cookie_maker_consume_reply(&entry->peer->cookie, message, call->now.boot_ns);
}

static void send_cookie(struct device_call *call, const uint8_t *message, size_t len,
                        const struct wg_endpoint *to)
{
    struct wg_device *dev = call->dev;
    struct wire_cookie_reply reply;
    uint8_t random[COOKIE_RANDOM_LEN];
    dev->env.random(dev->env.ctx, random, sizeof random);
    /* both messages have the sender's index behind the type */
    cookie_checker_create_reply(&dev->cookies, &reply, message, len, message + 4, &to->remote,
                                random, call->now.boot_ns);
    bytes_wipe(random, sizeof random);
    (void)call->sink->send(call->sink->ctx, to, DS_HANDSHAKE, (const uint8_t *)&reply,
                           sizeof reply);
}

/* Whether the message is worth a curve operation. */
static bool is_admitted(struct device_call *call, const uint8_t *message, size_t len,
                        const struct wg_endpoint *from, bool under_load)
{
    struct ip_addr source;
    switch (cookie_checker_check(&call->dev->cookies, message, len, &from->remote, under_load,
                                 call->now.boot_ns)) {
    case COOKIE_BAD_MAC:
        return false;
    case COOKIE_MAC1_ONLY:
        if (under_load)
            send_cookie(call, message, len, from);
        return !under_load;
    case COOKIE_MAC1_MAC2:
        endpoint_addr(&from->remote, &source);
        return !under_load || ratelimit_allow(&call->dev->ratelimit, &source, call->now.boot_ns);
    }
    return false;
}

struct wg_peer *handshake_consume(struct device_call *call, const uint8_t *bytes, size_t len,
                                  const struct wg_endpoint *from, bool under_load)
{
    uint32_t type = len >= 4 ? load_le32(bytes) : 0;
    if (type == WIRE_COOKIE_REPLY && len == WIRE_COOKIE_REPLY_LEN) {
        consume_cookie_reply(call, (const struct wire_cookie_reply *)bytes);
        return NULL;
    }
    if (type == WIRE_INITIATION && len == WIRE_INITIATION_LEN &&
        is_admitted(call, bytes, len, from, under_load))
        return consume_initiation(call, (const struct wire_initiation *)bytes, from);
    if (type == WIRE_RESPONSE && len == WIRE_RESPONSE_LEN &&
        is_admitted(call, bytes, len, from, under_load))
        return consume_response(call, (const struct wire_response *)bytes, from);
    return NULL;
}
