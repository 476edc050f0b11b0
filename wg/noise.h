#ifndef WG_NOISE_H
#define WG_NOISE_H

#include "wg/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The handshake: Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s (paper, section 5.4). It fills and reads the
 * fields of messages. The caller adds macs, sends, finds peers and indices, and holds the lock over
 * an identity and its peers. Each step works on a copy and commits it at the end: a failed step has
 * changed nothing. */

/* Our own key. Without a private key, `has_key` is false and every step fails. */
struct noise_identity {
    bool has_key;
    uint8_t private_key[WIRE_KEY_LEN];
    uint8_t public_key[WIRE_KEY_LEN];
    uint8_t initial_chaining_key[32]; /* HASH(CONSTRUCTION) */
    uint8_t initial_hash[32];         /* HASH(chaining key || IDENTIFIER) */
};

enum noise_state {
    NOISE_IDLE,
    NOISE_CREATED_INITIATION,
    NOISE_CONSUMED_INITIATION,
    NOISE_CREATED_RESPONSE,  /* ready for noise_begin_session, as responder */
    NOISE_CONSUMED_RESPONSE, /* ready for noise_begin_session, as initiator */
};

/* The state of one handshake. */
struct noise_handshake {
    enum noise_state state;
    uint32_t local_index;
    uint32_t remote_index;
    uint8_t hash[32];
    uint8_t chaining_key[32];
    uint8_t ephemeral_private[WIRE_KEY_LEN];
    uint8_t remote_ephemeral[WIRE_KEY_LEN];
};

/* One peer, embedded in its owner. */
struct noise_peer {
    uint8_t remote_static[WIRE_KEY_LEN];
    uint8_t preshared_key[WIRE_KEY_LEN]; /* all zero: none */
    uint8_t static_static[WIRE_KEY_LEN]; /* computed when first needed */
    bool has_static_static;
    bool has_initiation; /* last_initiation_ns and latest_timestamp are valid */
    uint8_t latest_timestamp[WIRE_TIMESTAMP_LEN];
    uint64_t last_initiation_ns; /* boot time of the last one accepted */
    struct noise_handshake handshake;
};

/* An opened initiation: the sender's static key is known. Wiped by accept or by fini. */
struct noise_opened {
    uint8_t remote_static[WIRE_KEY_LEN];
    uint8_t hash[32];
    uint8_t chaining_key[32];
};

struct noise_session {
    uint8_t send_key[32];
    uint8_t recv_key[32];
    uint32_t local_index;
    uint32_t remote_index;
    bool initiator;
};

enum noise_result {
    NOISE_OK,
    NOISE_INVALID,  /* not authentic, or in the wrong state, or no key */
    NOISE_REPLAYED, /* the timestamp is not newer than the newest seen */
    NOISE_FLOODED,  /* less than 20 ms after the last initiation of this peer */
};

/* The key is clamped; all zero means none. After a change, call noise_peer_identity_changed for
 * each peer. */
void noise_identity_set(struct noise_identity *identity, const uint8_t private_key[WIRE_KEY_LEN]);
void noise_identity_fini(struct noise_identity *identity);

/* Costs no curve operation. */
void noise_peer_init(struct noise_peer *peer, const uint8_t remote_static[WIRE_KEY_LEN]);
void noise_peer_fini(struct noise_peer *peer);

/* Whether the peer has our own key. All steps refuse it, and the caller must not keep it as a
 * peer. */
bool noise_peer_is_self(const struct noise_peer *peer, const struct noise_identity *identity);

/* Applies from the next handshake on; NULL or all zero: none. */
void noise_peer_set_preshared_key(struct noise_peer *peer, const uint8_t *key);

/* Ends the current handshake and forgets what was derived from the former private key. */
void noise_peer_identity_changed(struct noise_peer *peer);

/* Accepts the next authentic initiation whatever its timestamp: the peer's clock may have gone back.
 * For when the peer has proved by other means that it is there: recorded initiations from before
 * are accepted, too, which ends no session but may move the endpoint until the peer's next packet. */
void noise_peer_forget_timestamp(struct noise_peer *peer);

/* Ends the current handshake and wipes its secrets. Timestamps stay. */
void noise_handshake_clear(struct noise_peer *peer);

/* Creates the first message: fills all of `out` but the macs. `random` makes the ephemeral key. The
 * response will carry `local_index`. False without a key or with a peer that gives a zero shared
 * secret. */
bool noise_create_initiation(struct noise_peer *peer, const struct noise_identity *identity,
                             uint32_t local_index, const uint8_t random[32], uint64_t real_ns,
                             struct wire_initiation *out);

/* Opens a received first message, step a: finds whose it is. False when it was not made for us.
 * Costs one curve operation and touches no peer. */
bool noise_open_initiation(struct noise_opened *out, const struct noise_identity *identity,
                           const struct wire_initiation *message);
void noise_opened_fini(struct noise_opened *opened);

/* Step b, with the peer whose key `opened` names: authenticates the message and, on NOISE_OK, drops
 * a current handshake in favour of this one. `opened` is wiped in every case. */
enum noise_result noise_accept_initiation(struct noise_peer *peer,
                                          const struct noise_identity *identity,
                                          struct noise_opened *opened,
                                          const struct wire_initiation *message, uint64_t boot_ns);

/* Creates the second message, after an accepted initiation. */
bool noise_create_response(struct noise_peer *peer, const struct noise_identity *identity,
                           uint32_t local_index, const uint8_t random[32],
                           struct wire_response *out);

/* Consumes a received second message. `peer` is the one whose handshake has the message's receiver
 * as its local index. */
enum noise_result noise_consume_response(struct noise_peer *peer,
                                         const struct noise_identity *identity,
                                         const struct wire_response *message);

/* Derives the keys of the finished handshake and wipes it. False, with nothing written, when no
 * handshake is finished. The caller wipes `out` with noise_session_fini. */
bool noise_begin_session(struct noise_peer *peer, struct noise_session *out);
void noise_session_fini(struct noise_session *session);

/* TAI64N with the low 24 bits of the nanoseconds masked, so that it does not reveal the exact
 * time. */
void noise_timestamp(uint8_t out[WIRE_TIMESTAMP_LEN], uint64_t real_ns);

#endif
