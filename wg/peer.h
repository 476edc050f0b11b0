#ifndef WG_PEER_H
#define WG_PEER_H

#include "base/heap.h"
#include "base/list.h"
#include "wg/cookie.h"
#include "wg/endpoint.h"
#include "wg/keypair.h"
#include "wg/noise.h"
#include "wg/staging.h"
#include "wg/timers.h"
#include "wg/wg.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* One peer. Lock order: the device's lock, then a peer's. */
struct wg_peer {
    /* read and written by any thread */
    struct keypairs keypairs;
    struct endpoint_slot endpoint;
    struct timers timers;
    _Atomic uint64_t rx_bytes;
    _Atomic uint64_t tx_bytes;
    _Atomic uint64_t handshake_real_ns; /* end of the last one; 0: never */
    _Atomic uint64_t handshake_boot_ns; /* the same */
    _Atomic uint32_t references;        /* its owner's and, while posted, the stack's */
    _Atomic bool posted;
    struct wg_peer *next_posted;

    /* protects staging, and writes to keypairs, endpoint and is_removed */
    pthread_mutex_t lock;
    struct staging staging;
    bool is_removed;

    /* under the device's lock */
    struct index_entry handshake_entry;
    bool has_handshake_index;
    uint32_t handshake_index;
    struct noise_peer noise;
    struct cookie_maker cookie;
    struct list allowed_ips;
    struct list place;
    struct heap_node deadline;
    struct garbage_item garbage;
    uint64_t configured_by; /* number of the last configuration that named it */
    uint64_t removed_by;    /* number of the configuration that removed it */
};

/* NULL when out of memory. */
struct wg_peer *peer_create(const uint8_t public_key[32]);

struct wg_peer *peer_ref(struct wg_peer *peer);

/* The last reference wipes and frees the peer. */
void peer_put(struct wg_peer *peer);

bool peer_has_endpoint(const struct wg_peer *peer);

/* Stores the endpoint if it differs. Takes the peer's lock then. */
void peer_set_endpoint(struct wg_peer *peer, const struct wg_endpoint *endpoint);

/* Remembers that a handshake has completed now. */
void peer_note_handshake(struct wg_peer *peer, struct wg_time now);

/* Lets the kernel choose the source address again. */
void peer_forget_source(struct wg_peer *peer);

#endif
