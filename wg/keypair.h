#ifndef WG_KEYPAIR_H
#define WG_KEYPAIR_H

#include "wg/garbage.h"
#include "wg/replay.h"

#include <stdbool.h>
#include <stdint.h>

struct noise_session;
struct wg_peer;

/* What one of our indices stands for. First member of its owner, a handshake's or a keypair. */
struct index_entry {
    enum { INDEX_HANDSHAKE, INDEX_KEYPAIR } kind;
    struct wg_peer *peer;
};

/* The keys of one session. Constant once published, except the counter, which senders share, and
 * the window, which only the one receiver uses. */
struct keypair {
    struct index_entry entry;
    struct garbage_item garbage;
    uint32_t local_index;
    uint32_t remote_index;
    bool initiator;
    uint64_t born_ns; /* boot time */
    uint8_t send_key[32];
    uint8_t recv_key[32];
    _Atomic uint64_t send_counter;
    struct replay replay;
};

/* NULL when memory is short. It holds no keys until keypair_fill. */
struct keypair *keypair_create(struct wg_peer *peer);
void keypair_fill(struct keypair *keypair, const struct noise_session *session, uint64_t now);

/* Wipes. Accepts NULL. */
void keypair_destroy(struct keypair *keypair);

/* Whether the session is young enough to send or receive with. False for NULL. */
bool keypair_is_fresh(const struct keypair *keypair, uint64_t now);

/* Whether the session is young enough and has counters left. False for NULL. */
bool keypair_may_send(const struct keypair *keypair, uint64_t now);

/* Reserves the next counter. False when all are used. */
bool keypair_reserve(struct keypair *keypair, uint64_t *counter);

/* Whether a sender is due to request the next session. */
bool keypair_wants_rekey(const struct keypair *keypair, uint64_t counter, uint64_t now);

/* The same for a receiver. */
bool keypair_wants_rekey_receiving(const struct keypair *keypair, uint64_t now);

/* The sessions of a peer (paper, section 6.3). Readers load the pointers without a lock. Changes
 * are made under the peer's lock; what they displace waits in `retired` for the removal of its
 * index. */
struct keypairs {
    _Atomic(struct keypair *) current;  /* the only one that senders use */
    _Atomic(struct keypair *) previous; /* still received on */
    _Atomic(struct keypair *) next;     /* created as responder; the first data confirms it */
    struct garbage retired;
};

void keypairs_begin(struct keypairs *keypairs, struct keypair *keypair);

/* Makes `next` current when the first data under it arrives. False when `keypair` is not `next`. */
bool keypairs_confirm(struct keypairs *keypairs, struct keypair *keypair);

void keypairs_retire_all(struct keypairs *keypairs);

#endif
