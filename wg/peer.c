#include "wg/peer.h"

#include "base/bytes.h"

#include <stdatomic.h>
#include <stdlib.h>

struct wg_peer *peer_create(const uint8_t public_key[32])
{
    struct wg_peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL)
        return NULL;
    if (pthread_mutex_init(&peer->lock, NULL) != 0) {
        free(peer);
        return NULL;
    }
    atomic_init(&peer->references, 1);
    staging_init(&peer->staging);
    timers_reset(&peer->timers);
    garbage_init(&peer->keypairs.retired);
    peer->handshake_entry.kind = INDEX_HANDSHAKE;
    peer->handshake_entry.peer = peer;
    noise_peer_init(&peer->noise, public_key);
    cookie_maker_init(&peer->cookie, public_key);
    list_init(&peer->allowed_ips);
    list_init(&peer->place);
    return peer;
}

struct wg_peer *peer_ref(struct wg_peer *peer)
{
    atomic_fetch_add_explicit(&peer->references, 1, memory_order_relaxed);
    return peer;
}

void peer_put(struct wg_peer *peer)
{
    if (atomic_fetch_sub_explicit(&peer->references, 1, memory_order_acq_rel) != 1)
        return;
    noise_peer_fini(&peer->noise);
    cookie_maker_fini(&peer->cookie);
    pthread_mutex_destroy(&peer->lock);
    bytes_wipe(peer, sizeof *peer);
    free(peer);
}

bool peer_has_endpoint(const struct wg_peer *peer)
{
    struct wg_endpoint endpoint;
    endpoint_slot_load(&peer->endpoint, &endpoint);
    return endpoint_is_set(&endpoint.remote);
}

void peer_set_endpoint(struct wg_peer *peer, const struct wg_endpoint *endpoint)
{
    if (endpoint_slot_holds(&peer->endpoint, endpoint))
        return;
    pthread_mutex_lock(&peer->lock);
    endpoint_slot_store(&peer->endpoint, endpoint);
    pthread_mutex_unlock(&peer->lock);
}

void peer_forget_source(struct wg_peer *peer)
{
    struct wg_endpoint endpoint;
    pthread_mutex_lock(&peer->lock);
    endpoint_slot_load(&peer->endpoint, &endpoint);
    endpoint.source = (struct ip_addr){0};
    endpoint.ifindex = 0;
    endpoint_slot_store(&peer->endpoint, &endpoint);
    pthread_mutex_unlock(&peer->lock);
}

void peer_note_handshake(struct wg_peer *peer, struct wg_time now)
{
    atomic_store(&peer->handshake_real_ns, now.real_ns);
    atomic_store(&peer->handshake_boot_ns, now.boot_ns);
}
