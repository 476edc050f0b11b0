#include "wg/noise.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "wg/crypto/aead.h"
#include "wg/crypto/blake2s.h"
#include "wg/crypto/hkdf.h"
#include "wg/crypto/x25519.h"

#include <string.h>

/* States of a handshake:
 *
 *   initiator  IDLE -create_initiation-> CREATED_INITIATION -consume_response-> CONSUMED_RESPONSE
 *   responder  any -accept_initiation-> CONSUMED_INITIATION -create_response-> CREATED_RESPONSE
 *
 * From either last state begin_session leads back to IDLE. Steps are labelled with the Noise tokens
 * e, s, es, ss, ee, se, psk. */

static const char construction[] = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
static const char identifier[] = "WireGuard v1 zx2c4 Jason@zx2c4.com";

#define INITIATION_INTERVAL_NS (20 * NS_PER_MS)

/* TAI64's label of the UNIX epoch (cr.yp.to/libtai/tai64.html) */
#define TAI64_EPOCH (UINT64_C(0x4000000000000000) + 10)

void noise_timestamp(uint8_t out[WIRE_TIMESTAMP_LEN], uint64_t real_ns)
{
    store_be64(out, TAI64_EPOCH + real_ns / NS_PER_SEC);
    store_be32(out + 8, (uint32_t)(real_ns % NS_PER_SEC) & ~UINT32_C(0xffffff));
}

void noise_identity_set(struct noise_identity *identity, const uint8_t private_key[WIRE_KEY_LEN])
{
    noise_identity_fini(identity);
    if (bytes_is_zero_ct(private_key, WIRE_KEY_LEN))
        return;
    memcpy(identity->private_key, private_key, WIRE_KEY_LEN);
    x25519_clamp(identity->private_key);
    x25519_public(identity->public_key, identity->private_key);
    blake2s_hash(identity->initial_chaining_key, construction, sizeof construction - 1, NULL, 0);
    blake2s_hash(identity->initial_hash, identity->initial_chaining_key, 32, identifier,
                 sizeof identifier - 1);
    identity->has_key = true;
}

void noise_identity_fini(struct noise_identity *identity)
{
    bytes_wipe(identity, sizeof *identity);
}

void noise_peer_init(struct noise_peer *peer, const uint8_t remote_static[WIRE_KEY_LEN])
{
    memset(peer, 0, sizeof *peer);
    memcpy(peer->remote_static, remote_static, WIRE_KEY_LEN);
}

void noise_peer_fini(struct noise_peer *peer)
{
    bytes_wipe(peer, sizeof *peer);
}

bool noise_peer_is_self(const struct noise_peer *peer, const struct noise_identity *identity)
{
    return identity->has_key &&
           memcmp(peer->remote_static, identity->public_key, WIRE_KEY_LEN) == 0;
}

void noise_peer_set_preshared_key(struct noise_peer *peer, const uint8_t *key)
{
    if (key != NULL)
        memcpy(peer->preshared_key, key, WIRE_KEY_LEN);
    else
        bytes_wipe(peer->preshared_key, WIRE_KEY_LEN);
}

void noise_peer_identity_changed(struct noise_peer *peer)
{
    noise_handshake_clear(peer);
    bytes_wipe(peer->static_static, sizeof peer->static_static);
    peer->has_static_static = false;
}

void noise_handshake_clear(struct noise_peer *peer)
{
    bytes_wipe(&peer->handshake, sizeof peer->handshake);
}

void noise_opened_fini(struct noise_opened *opened)
{
    bytes_wipe(opened, sizeof *opened);
}

void noise_session_fini(struct noise_session *session)
{
    bytes_wipe(session, sizeof *session);
}

static void mix_hash(uint8_t hash[32], const uint8_t *bytes, size_t len)
{
    blake2s_hash(hash, hash, 32, bytes, len);
}

/* An ephemeral public key is mixed into both. */
static void mix_ephemeral(uint8_t hash[32], uint8_t chaining_key[32],
                          const uint8_t ephemeral[WIRE_KEY_LEN])
{
    hkdf_kdf1(chaining_key, chaining_key, ephemeral, WIRE_KEY_LEN);
    mix_hash(hash, ephemeral, WIRE_KEY_LEN);
}

/* Mixes in a shared secret. `key`, unless NULL, receives the key for the next field. */
static void mix_secret(uint8_t chaining_key[32], uint8_t *key, const uint8_t secret[WIRE_KEY_LEN])
{
    if (key != NULL)
        hkdf_kdf2(chaining_key, key, chaining_key, secret, WIRE_KEY_LEN);
    else
        hkdf_kdf1(chaining_key, chaining_key, secret, WIRE_KEY_LEN);
}

static bool mix_dh(uint8_t chaining_key[32], uint8_t *key, const uint8_t private_key[WIRE_KEY_LEN],
                   const uint8_t public_key[WIRE_KEY_LEN])
{
    uint8_t secret[WIRE_KEY_LEN];
    bool ok = x25519_shared(secret, private_key, public_key);
    if (ok)
        mix_secret(chaining_key, key, secret);
    bytes_wipe(secret, sizeof secret);
    return ok;
}

static bool mix_static_static(struct noise_peer *peer, const struct noise_identity *identity,
                              uint8_t chaining_key[32], uint8_t key[32])
{
    if (!peer->has_static_static &&
        !x25519_shared(peer->static_static, identity->private_key, peer->remote_static))
        return false;
    peer->has_static_static = true;
    mix_secret(chaining_key, key, peer->static_static);
    return true;
}

static void mix_preshared_key(struct noise_handshake *handshake, uint8_t key[32],
                              const uint8_t preshared_key[WIRE_KEY_LEN])
{
    uint8_t tau[32];
    hkdf_kdf3(handshake->chaining_key, tau, key, handshake->chaining_key, preshared_key,
              WIRE_KEY_LEN);
    mix_hash(handshake->hash, tau, sizeof tau);
    bytes_wipe(tau, sizeof tau);
}

/* A sealed field is bound to the transcript so far and becomes part of it. */
static void seal_and_mix(uint8_t hash[32], const uint8_t key[32], uint8_t *sealed,
                         const uint8_t *plain, size_t len)
{
    aead_seal_field(sealed, plain, len, hash, 32, key);
    mix_hash(hash, sealed, len + WIRE_TAG_LEN);
}

static bool open_and_mix(uint8_t hash[32], const uint8_t key[32], uint8_t *plain,
                         const uint8_t *sealed, size_t len)
{
    if (!aead_open_field(plain, sealed, len, hash, 32, key))
        return false;
    mix_hash(hash, sealed, len + WIRE_TAG_LEN);
    return true;
}

/* Starts the transcript with the responder's static key, which both sides know in advance. */
static void start(const struct noise_identity *identity, uint8_t hash[32], uint8_t chaining_key[32],
                  const uint8_t responder_static[WIRE_KEY_LEN])
{
    memcpy(chaining_key, identity->initial_chaining_key, 32);
    memcpy(hash, identity->initial_hash, 32);
    mix_hash(hash, responder_static, WIRE_KEY_LEN);
}

static void make_ephemeral(struct noise_handshake *handshake, uint8_t public_key[WIRE_KEY_LEN],
                           const uint8_t random[32])
{
    memcpy(handshake->ephemeral_private, random, WIRE_KEY_LEN);
    x25519_clamp(handshake->ephemeral_private);
    x25519_public(public_key, handshake->ephemeral_private);
    mix_ephemeral(handshake->hash, handshake->chaining_key, public_key);
}

bool noise_create_initiation(struct noise_peer *peer, const struct noise_identity *identity,
                             uint32_t local_index, const uint8_t random[32], uint64_t real_ns,
                             struct wire_initiation *out)
{
    if (!identity->has_key || noise_peer_is_self(peer, identity))
        return false;
    struct noise_handshake next = {.state = NOISE_CREATED_INITIATION, .local_index = local_index};
    uint8_t key[32];
    uint8_t timestamp[WIRE_TIMESTAMP_LEN];
    bool ok = false;

    store_le32(out->type, WIRE_INITIATION);
    store_le32(out->sender, local_index);
    start(identity, next.hash, next.chaining_key, peer->remote_static);
    /* e */
    make_ephemeral(&next, out->ephemeral, random);
    /* es */
    if (!mix_dh(next.chaining_key, key, next.ephemeral_private, peer->remote_static))
        goto out;
    /* s */
    seal_and_mix(next.hash, key, out->sealed_static, identity->public_key, WIRE_KEY_LEN);
    /* ss */
    if (!mix_static_static(peer, identity, next.chaining_key, key))
        goto out;
    /* payload */
    noise_timestamp(timestamp, real_ns);
    seal_and_mix(next.hash, key, out->sealed_timestamp, timestamp, sizeof timestamp);
    peer->handshake = next;
    ok = true;
out:
    bytes_wipe(key, sizeof key);
    bytes_wipe(&next, sizeof next);
    return ok;
}

bool noise_open_initiation(struct noise_opened *out, const struct noise_identity *identity,
                           const struct wire_initiation *message)
{
    if (!identity->has_key)
        return false;
    struct noise_opened opened;
    uint8_t key[32];
    start(identity, opened.hash, opened.chaining_key, identity->public_key);
    /* e, es, s */
    mix_ephemeral(opened.hash, opened.chaining_key, message->ephemeral);
    bool ok = mix_dh(opened.chaining_key, key, identity->private_key, message->ephemeral) &&
              open_and_mix(opened.hash, key, opened.remote_static, message->sealed_static,
                           WIRE_KEY_LEN) &&
              memcmp(opened.remote_static, identity->public_key, WIRE_KEY_LEN) != 0;
    if (ok)
        *out = opened;
    bytes_wipe(key, sizeof key);
    noise_opened_fini(&opened);
    return ok;
}

void noise_peer_forget_timestamp(struct noise_peer *peer)
{
    memset(peer->latest_timestamp, 0, sizeof peer->latest_timestamp);
}

/* Whether an authentic initiation may be accepted now. */
static enum noise_result judge(const struct noise_peer *peer,
                               const uint8_t timestamp[WIRE_TIMESTAMP_LEN], uint64_t boot_ns)
{
    if (!peer->has_initiation)
        return NOISE_OK;
    /* big endian: the order of the bytes is the order of the times */
    if (memcmp(timestamp, peer->latest_timestamp, WIRE_TIMESTAMP_LEN) <= 0)
        return NOISE_REPLAYED;
    if (boot_ns < peer->last_initiation_ns + INITIATION_INTERVAL_NS)
        return NOISE_FLOODED;
    return NOISE_OK;
}

enum noise_result noise_accept_initiation(struct noise_peer *peer,
                                          const struct noise_identity *identity,
                                          struct noise_opened *opened,
                                          const struct wire_initiation *message, uint64_t boot_ns)
{
    enum noise_result result = NOISE_INVALID;
    struct noise_handshake next = {.state = NOISE_CONSUMED_INITIATION,
                                   .remote_index = load_le32(message->sender)};
    uint8_t key[32];
    uint8_t timestamp[WIRE_TIMESTAMP_LEN];
    memcpy(next.hash, opened->hash, sizeof next.hash);
    memcpy(next.chaining_key, opened->chaining_key, sizeof next.chaining_key);
    memcpy(next.remote_ephemeral, message->ephemeral, WIRE_KEY_LEN);

    if (!identity->has_key || memcmp(opened->remote_static, peer->remote_static, WIRE_KEY_LEN) != 0)
        goto out;
    /* ss, payload */
    if (!mix_static_static(peer, identity, next.chaining_key, key) ||
        !open_and_mix(next.hash, key, timestamp, message->sealed_timestamp, sizeof timestamp))
        goto out;
    result = judge(peer, timestamp, boot_ns);
    if (result != NOISE_OK)
        goto out;
    memcpy(peer->latest_timestamp, timestamp, sizeof timestamp);
    peer->last_initiation_ns = boot_ns;
    peer->has_initiation = true;
    peer->handshake = next;
out:
    bytes_wipe(key, sizeof key);
    bytes_wipe(&next, sizeof next);
    noise_opened_fini(opened);
    return result;
}

bool noise_create_response(struct noise_peer *peer, const struct noise_identity *identity,
                           uint32_t local_index, const uint8_t random[32],
                           struct wire_response *out)
{
    if (!identity->has_key || peer->handshake.state != NOISE_CONSUMED_INITIATION)
        return false;
    struct noise_handshake next = peer->handshake;
    uint8_t key[32];
    bool ok = false;
    next.state = NOISE_CREATED_RESPONSE;
    next.local_index = local_index;

    store_le32(out->type, WIRE_RESPONSE);
    store_le32(out->sender, local_index);
    store_le32(out->receiver, next.remote_index);
    /* e */
    make_ephemeral(&next, out->ephemeral, random);
    /* ee, se */
    if (!mix_dh(next.chaining_key, NULL, next.ephemeral_private, next.remote_ephemeral) ||
        !mix_dh(next.chaining_key, NULL, next.ephemeral_private, peer->remote_static))
        goto out;
    /* psk, payload */
    mix_preshared_key(&next, key, peer->preshared_key);
    seal_and_mix(next.hash, key, out->sealed_empty, NULL, 0);
    peer->handshake = next;
    ok = true;
out:
    bytes_wipe(key, sizeof key);
    bytes_wipe(&next, sizeof next);
    return ok;
}

enum noise_result noise_consume_response(struct noise_peer *peer,
                                         const struct noise_identity *identity,
                                         const struct wire_response *message)
{
    if (!identity->has_key || peer->handshake.state != NOISE_CREATED_INITIATION ||
        peer->handshake.local_index != load_le32(message->receiver))
        return NOISE_INVALID;
    struct noise_handshake next = peer->handshake;
    uint8_t key[32];
    uint8_t nothing[1];
    enum noise_result result = NOISE_INVALID;
    next.state = NOISE_CONSUMED_RESPONSE;
    next.remote_index = load_le32(message->sender);
    memcpy(next.remote_ephemeral, message->ephemeral, WIRE_KEY_LEN);

    /* e */
    mix_ephemeral(next.hash, next.chaining_key, message->ephemeral);
    /* ee, se */
    if (!mix_dh(next.chaining_key, NULL, next.ephemeral_private, message->ephemeral) ||
        !mix_dh(next.chaining_key, NULL, identity->private_key, message->ephemeral))
        goto out;
    /* psk, payload */
    mix_preshared_key(&next, key, peer->preshared_key);
    if (!open_and_mix(next.hash, key, nothing, message->sealed_empty, 0))
        goto out;
    peer->handshake = next;
    result = NOISE_OK;
out:
    bytes_wipe(key, sizeof key);
    bytes_wipe(&next, sizeof next);
    return result;
}

bool noise_begin_session(struct noise_peer *peer, struct noise_session *out)
{
    const struct noise_handshake *handshake = &peer->handshake;
    uint8_t first[32];
    uint8_t second[32];
    if (handshake->state != NOISE_CREATED_RESPONSE && handshake->state != NOISE_CONSUMED_RESPONSE)
        return false;
    hkdf_kdf2(first, second, handshake->chaining_key, NULL, 0);
    out->initiator = handshake->state == NOISE_CONSUMED_RESPONSE;
    memcpy(out->send_key, out->initiator ? first : second, sizeof first);
    memcpy(out->recv_key, out->initiator ? second : first, sizeof first);
    out->local_index = handshake->local_index;
    out->remote_index = handshake->remote_index;
    bytes_wipe(first, sizeof first);
    bytes_wipe(second, sizeof second);
    noise_handshake_clear(peer);
    return true;
}
