#include "wg/noise.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/unit.h"
#include "wg/crypto/aead.h"
#include "wg/crypto/blake2s.h"
#include "wg/crypto/crypto.h"
#include "wg/crypto/hkdf.h"
#include "wg/crypto/x25519.h"

#include <string.h>

#include "tests/wg/handshake_vectors.h"

#define REAL_NS (UINT64_C(1700000000) * NS_PER_SEC)

/* An initiator A and a responder B that know each other. */
struct side {
    struct noise_identity identity;
    struct noise_peer peer;
};

static struct side a;
static struct side b;
static const uint8_t random_a[32] = {1, 2, 3};
static const uint8_t random_b[32] = {4, 5, 6};
static const uint8_t psk[32] = {42};

static void set_identity(struct noise_identity *identity, uint8_t number)
{
    uint8_t private_key[32];
    memset(private_key, number, sizeof private_key);
    noise_identity_set(identity, private_key);
}

static void meet(void)
{
    ck_assert_int_eq(crypto_init(), 0);
    set_identity(&a.identity, 0x11);
    set_identity(&b.identity, 0x22);
    noise_peer_init(&a.peer, b.identity.public_key);
    noise_peer_init(&b.peer, a.identity.public_key);
}

static struct wire_initiation initiate(uint64_t real_ns)
{
    struct wire_initiation message;
    memset(&message, 0, sizeof message);
    ck_assert(noise_create_initiation(&a.peer, &a.identity, 100, random_a, real_ns, &message));
    return message;
}

static enum noise_result receive_initiation(const struct wire_initiation *message, uint64_t boot_ns)
{
    struct noise_opened opened;
    if (!noise_open_initiation(&opened, &b.identity, message))
        return NOISE_INVALID;
    enum noise_result result =
        noise_accept_initiation(&b.peer, &b.identity, &opened, message, boot_ns);
    ck_assert(bytes_is_zero_ct(&opened, sizeof opened));
    return result;
}

static struct wire_response respond(void)
{
    struct wire_response message;
    memset(&message, 0, sizeof message);
    ck_assert(noise_create_response(&b.peer, &b.identity, 200, random_b, &message));
    return message;
}

static void check_sessions(void)
{
    struct noise_session sa;
    struct noise_session sb;
    ck_assert(noise_begin_session(&a.peer, &sa));
    ck_assert(noise_begin_session(&b.peer, &sb));
    ck_assert_mem_eq(sa.send_key, sb.recv_key, 32);
    ck_assert_mem_eq(sa.recv_key, sb.send_key, 32);
    ck_assert_mem_ne(sa.send_key, sa.recv_key, 32);
    ck_assert(sa.initiator && !sb.initiator);
    ck_assert_uint_eq(sa.local_index, 100);
    ck_assert_uint_eq(sa.remote_index, 200);
    ck_assert_uint_eq(sb.local_index, 200);
    ck_assert_uint_eq(sb.remote_index, 100);
    /* once only, and nothing is left */
    ck_assert(!noise_begin_session(&a.peer, &sa));
    ck_assert(!noise_begin_session(&b.peer, &sb));
    ck_assert(bytes_is_zero_ct(&a.peer.handshake, sizeof a.peer.handshake));
    ck_assert(bytes_is_zero_ct(&b.peer.handshake, sizeof b.peer.handshake));
    noise_session_fini(&sa);
    ck_assert(bytes_is_zero_ct(&sa, sizeof sa));
}

/* Every byte of both messages and both keys, against an independent implementation. */
START_TEST(known_answers)
{
    struct wire_initiation initiation;
    struct wire_response response;
    struct noise_session session;
    meet();
    noise_identity_set(&a.identity, handshake_vectors[_i].static_i);
    noise_identity_set(&b.identity, handshake_vectors[_i].static_r);
    noise_peer_init(&a.peer, b.identity.public_key);
    noise_peer_init(&b.peer, a.identity.public_key);
    noise_peer_set_preshared_key(&a.peer, handshake_vectors[_i].psk);
    noise_peer_set_preshared_key(&b.peer, handshake_vectors[_i].psk);

    ck_assert(noise_create_initiation(&a.peer, &a.identity, handshake_vectors[_i].index_i,
                                      handshake_vectors[_i].ephemeral_i,
                                      handshake_vectors[_i].real_ns, &initiation));
    ck_assert_mem_eq(&initiation, handshake_vectors[_i].initiation, 116);
    ck_assert_int_eq(receive_initiation(&initiation, 0), NOISE_OK);
    ck_assert(noise_create_response(&b.peer, &b.identity, handshake_vectors[_i].index_r,
                                    handshake_vectors[_i].ephemeral_r, &response));
    ck_assert_mem_eq(&response, handshake_vectors[_i].response, 60);
    ck_assert_int_eq(noise_consume_response(&a.peer, &a.identity, &response), NOISE_OK);
    ck_assert(noise_begin_session(&a.peer, &session));
    ck_assert_mem_eq(session.send_key, handshake_vectors[_i].key_to_r, 32);
    ck_assert_mem_eq(session.recv_key, handshake_vectors[_i].key_to_i, 32);
    ck_assert_uint_eq(session.remote_index, handshake_vectors[_i].index_r);
    ck_assert(noise_begin_session(&b.peer, &session));
    ck_assert_mem_eq(session.recv_key, handshake_vectors[_i].key_to_r, 32);
    ck_assert_mem_eq(session.send_key, handshake_vectors[_i].key_to_i, 32);
}
END_TEST

/* Preshared keys of A and B: none, none; the same; one side only; different. */
static const struct {
    uint8_t psk_a, psk_b;
    bool agrees;
} preshared[] = {{0, 0, true}, {9, 9, true}, {9, 0, false}, {0, 9, false}, {9, 10, false}};

START_TEST(preshared_keys)
{
    uint8_t psk_a[32] = {preshared[_i].psk_a};
    uint8_t psk_b[32] = {preshared[_i].psk_b};
    meet();
    noise_peer_set_preshared_key(&a.peer, psk_a);
    noise_peer_set_preshared_key(&b.peer, psk_b);
    struct wire_initiation initiation = initiate(REAL_NS);
    ck_assert_int_eq(receive_initiation(&initiation, 0), NOISE_OK);
    struct wire_response response = respond();
    struct noise_peer before = a.peer;
    enum noise_result result = noise_consume_response(&a.peer, &a.identity, &response);
    ck_assert_int_eq(result, preshared[_i].agrees ? NOISE_OK : NOISE_INVALID);
    if (preshared[_i].agrees) {
        check_sessions();
        return;
    }
    /* recovers when the keys are made to agree, without a new message */
    ck_assert_mem_eq(&a.peer, &before, sizeof before);
    noise_peer_set_preshared_key(&a.peer, psk_b);
    ck_assert_int_eq(noise_consume_response(&a.peer, &a.identity, &response), NOISE_OK);
    check_sessions();
}
END_TEST

START_TEST(preshared_key_removed)
{
    meet();
    noise_peer_set_preshared_key(&a.peer, psk);
    noise_peer_set_preshared_key(&a.peer, NULL);
    ck_assert(bytes_is_zero_ct(a.peer.preshared_key, 32));
}
END_TEST

/* One peer's initiations in order: when they were made, when they arrive, and what comes of it. */
static const struct {
    int line;
    uint64_t made_ms, arrives_ms;
    enum noise_result result;
} arrivals[] = {
    {1, 100000, 5000, NOISE_OK},        {2, 100000, 6000, NOISE_REPLAYED}, /* the same again */
    {3, 99000, 7000, NOISE_REPLAYED},                                      /* older */
    {4, 100005, 8000, NOISE_REPLAYED}, /* the same but for the masked bits */
    {5, 101000, 9000, NOISE_OK},        {6, 102000, 9019, NOISE_FLOODED},
    {7, 102000, 9020, NOISE_OK}, /* one that was refused for its time is not used up */
    {8, 103000, 9039, NOISE_FLOODED},   {9, 103000, 9041, NOISE_OK},
    {10, 102500, 9500, NOISE_REPLAYED},
};

START_TEST(timestamps_and_floods)
{
    meet();
    for (size_t i = 0; i < ARRAY_LEN(arrivals); i++) {
        struct wire_initiation message = initiate(REAL_NS + arrivals[i].made_ms * NS_PER_MS);
        struct noise_peer before = b.peer;
        ck_assert_msg(receive_initiation(&message, arrivals[i].arrives_ms * NS_PER_MS) ==
                          arrivals[i].result,
                      "arrival %d", arrivals[i].line);
        if (arrivals[i].result != NOISE_OK)
            ck_assert_mem_eq(&b.peer, &before, sizeof before);
    }
}
END_TEST

/* Afterwards the order holds again, and so does the limit. */
START_TEST(forgotten_timestamp_takes_an_older_one)
{
    meet();
    struct wire_initiation message = initiate(REAL_NS + 100000 * NS_PER_MS);
    ck_assert_int_eq(receive_initiation(&message, 5000 * NS_PER_MS), NOISE_OK);
    message = initiate(REAL_NS);
    ck_assert_int_eq(receive_initiation(&message, 6000 * NS_PER_MS), NOISE_REPLAYED);
    noise_peer_forget_timestamp(&b.peer);
    ck_assert_int_eq(receive_initiation(&message, 5010 * NS_PER_MS), NOISE_FLOODED);
    ck_assert_int_eq(receive_initiation(&message, 6000 * NS_PER_MS), NOISE_OK);
    ck_assert_int_eq(receive_initiation(&message, 7000 * NS_PER_MS), NOISE_REPLAYED);
}
END_TEST

START_TEST(timestamp_format)
{
    static const uint8_t epoch[12] = {0x40, 0, 0, 0, 0, 0, 0, 10};
    static const uint8_t late[12] = {0x40, 0, 0, 0, 0, 0, 0, 11, 0x3b, 0, 0, 0};
    uint8_t out[12];
    noise_timestamp(out, 0);
    ck_assert_mem_eq(out, epoch, 12);
    noise_timestamp(out, 0xffffff);
    ck_assert_mem_eq(out, epoch, 12);
    noise_timestamp(out, NS_PER_SEC + 999999999);
    ck_assert_mem_eq(out, late, 12);
}
END_TEST

/* Any changed byte of the part that Noise covers is detected, and the peer is unchanged. */
START_TEST(initiation_tampered)
{
    meet();
    struct wire_initiation good = initiate(REAL_NS);
    /* the first accepted one makes the shared secret, so that the comparison below is exact */
    ck_assert_int_eq(receive_initiation(&good, 0), NOISE_OK);
    good = initiate(REAL_NS + NS_PER_SEC);
    struct noise_peer before = b.peer;
    for (size_t at = offsetof(struct wire_initiation, ephemeral);
         at < offsetof(struct wire_initiation, mac1); at++) {
        struct wire_initiation bad = good;
        /* also the top bit of the ephemeral key, which X25519 ignores, but the hash does not */
        ((uint8_t *)&bad)[at] ^= at % 2 ? 0x80 : 0x01;
        ck_assert_msg(receive_initiation(&bad, NS_PER_SEC) == NOISE_INVALID, "byte %zu", at);
        ck_assert_mem_eq(&b.peer, &before, sizeof before);
    }
    ck_assert_int_eq(receive_initiation(&good, NS_PER_SEC), NOISE_OK);
}
END_TEST

START_TEST(response_tampered)
{
    meet();
    struct wire_initiation initiation = initiate(REAL_NS);
    ck_assert_int_eq(receive_initiation(&initiation, 0), NOISE_OK);
    struct wire_response good = respond();
    struct noise_peer before = a.peer;
    for (size_t at = offsetof(struct wire_response, receiver);
         at < offsetof(struct wire_response, mac1); at++) {
        struct wire_response bad = good;
        ((uint8_t *)&bad)[at] ^= at % 2 ? 0x80 : 0x01;
        ck_assert_msg(noise_consume_response(&a.peer, &a.identity, &bad) == NOISE_INVALID,
                      "byte %zu", at);
        ck_assert_mem_eq(&a.peer, &before, sizeof before);
    }
    ck_assert_int_eq(noise_consume_response(&a.peer, &a.identity, &good), NOISE_OK);
    ck_assert_int_eq(noise_consume_response(&a.peer, &a.identity, &good), NOISE_INVALID);
    check_sessions();
}
END_TEST

START_TEST(wrong_keys)
{
    struct noise_opened opened;
    struct noise_peer stranger;
    meet();
    struct wire_initiation message = initiate(REAL_NS);
    /* not for C */
    struct noise_identity c;
    memset(&c, 0, sizeof c);
    set_identity(&c, 0x33);
    ck_assert(!noise_open_initiation(&opened, &c, &message));
    /* for B, but not from the peer that it is taken for */
    ck_assert(noise_open_initiation(&opened, &b.identity, &message));
    ck_assert_mem_eq(opened.remote_static, a.identity.public_key, 32);
    noise_peer_init(&stranger, c.public_key);
    ck_assert_int_eq(noise_accept_initiation(&stranger, &b.identity, &opened, &message, 0),
                     NOISE_INVALID);
    ck_assert_int_eq(stranger.handshake.state, NOISE_IDLE);
    /* without a private key nothing works */
    noise_identity_fini(&c);
    ck_assert(!noise_open_initiation(&opened, &c, &message));
    ck_assert(!noise_create_initiation(&a.peer, &c, 1, random_a, REAL_NS, &message));
    static const uint8_t none[32];
    noise_identity_set(&b.identity, none);
    ck_assert(!b.identity.has_key);
    ck_assert(!noise_peer_is_self(&b.peer, &b.identity));
}
END_TEST

/* A knows B's key and claims a public key whose private key it lacks. */
START_TEST(impostor)
{
    meet();
    struct noise_identity liar = a.identity;
    set_identity(&liar, 0x44);
    memcpy(liar.public_key, a.identity.public_key, 32);
    a.identity = liar;
    struct wire_initiation message = initiate(REAL_NS);
    ck_assert_int_eq(receive_initiation(&message, 0), NOISE_INVALID);
    ck_assert_int_eq(b.peer.handshake.state, NOISE_IDLE);
    ck_assert(!b.peer.has_initiation);
}
END_TEST

/* The first fields of an initiation to B, by anyone who knows B's public key, claiming `sender`. */
static struct wire_initiation claim(const uint8_t sender[32])
{
    struct wire_initiation message;
    uint8_t hash[32];
    uint8_t chaining_key[32];
    uint8_t key[32];
    uint8_t secret[32];
    memset(&message, 0, sizeof message);
    x25519_public(message.ephemeral, random_a);
    ck_assert(x25519_shared(secret, random_a, b.identity.public_key));
    blake2s_hash(hash, b.identity.initial_hash, 32, b.identity.public_key, 32);
    hkdf_kdf1(chaining_key, b.identity.initial_chaining_key, message.ephemeral, 32);
    blake2s_hash(hash, hash, 32, message.ephemeral, 32);
    hkdf_kdf2(chaining_key, key, chaining_key, secret, 32);
    aead_seal_field(message.sealed_static, sender, 32, hash, 32, key);
    return message;
}

START_TEST(own_key)
{
    struct wire_initiation message;
    struct noise_opened opened;
    meet();
    message = claim(a.identity.public_key);
    ck_assert(noise_open_initiation(&opened, &b.identity, &message));
    message = claim(b.identity.public_key);
    ck_assert(!noise_open_initiation(&opened, &b.identity, &message));

    ck_assert(!noise_peer_is_self(&a.peer, &a.identity));
    a.identity = b.identity;
    ck_assert(noise_peer_is_self(&a.peer, &a.identity));
    ck_assert(!noise_create_initiation(&a.peer, &a.identity, 1, random_a, REAL_NS, &message));
}
END_TEST

/* Low-order points as static and as ephemeral keys: refused wherever a shared secret is made. */
static const uint8_t low_order[][32] = {{0}, {1}};

START_TEST(zero_shared_secret)
{
    struct wire_initiation message;
    struct noise_opened opened;
    struct noise_peer peer;
    meet();
    noise_peer_init(&peer, low_order[_i]);
    ck_assert(!noise_create_initiation(&peer, &a.identity, 1, random_a, REAL_NS, &message));
    ck_assert_int_eq(peer.handshake.state, NOISE_IDLE);

    message = initiate(REAL_NS);
    memcpy(message.ephemeral, low_order[_i], 32);
    ck_assert(!noise_open_initiation(&opened, &b.identity, &message));

    message = initiate(REAL_NS);
    ck_assert_int_eq(receive_initiation(&message, 0), NOISE_OK);
    struct wire_response response = respond();
    memcpy(response.ephemeral, low_order[_i], 32);
    ck_assert_int_eq(noise_consume_response(&a.peer, &a.identity, &response), NOISE_INVALID);
    ck_assert_int_eq(a.peer.handshake.state, NOISE_CREATED_INITIATION);
}
END_TEST

START_TEST(states)
{
    struct wire_response response;
    struct noise_session session;
    meet();
    memset(&response, 0, sizeof response);
    ck_assert(!noise_begin_session(&a.peer, &session));
    ck_assert(!noise_create_response(&a.peer, &a.identity, 1, random_a, &response));
    ck_assert_int_eq(noise_consume_response(&a.peer, &a.identity, &response), NOISE_INVALID);
    struct wire_initiation message = initiate(REAL_NS);
    ck_assert(!noise_begin_session(&a.peer, &session));
    ck_assert(!noise_create_response(&a.peer, &a.identity, 1, random_a, &response));
    ck_assert_int_eq(receive_initiation(&message, 0), NOISE_OK);
    ck_assert(!noise_begin_session(&b.peer, &session));
    response = respond();
    ck_assert(!noise_create_response(&b.peer, &b.identity, 1, random_b, &response));
    /* a new initiation invalidates the old response */
    message = initiate(REAL_NS + NS_PER_SEC);
    ck_assert_int_eq(noise_consume_response(&a.peer, &a.identity, &response), NOISE_INVALID);
    noise_handshake_clear(&a.peer);
    ck_assert_int_eq(noise_consume_response(&a.peer, &a.identity, &response), NOISE_INVALID);
    ck_assert_int_eq(receive_initiation(&message, NS_PER_SEC), NOISE_OK);
}
END_TEST

/* Where no handshake is under way, its keys are all zero, and anyone could make a response to
 * them. */
START_TEST(response_to_nothing)
{
    static const uint8_t zero[32];
    uint8_t nobody[32];
    uint8_t shared[32];
    uint8_t hash[32] = {0};
    uint8_t chaining_key[32] = {0};
    uint8_t tau[32];
    uint8_t key[32];
    struct wire_response forged = {.type = {WIRE_RESPONSE}};
    meet();
    x25519_public(nobody, zero);
    x25519_public(forged.ephemeral, random_b);
    hkdf_kdf1(chaining_key, chaining_key, forged.ephemeral, 32);
    blake2s_hash(hash, hash, 32, forged.ephemeral, 32);
    ck_assert(x25519_shared(shared, random_b, nobody));
    hkdf_kdf1(chaining_key, chaining_key, shared, 32);
    ck_assert(x25519_shared(shared, random_b, a.identity.public_key));
    hkdf_kdf1(chaining_key, chaining_key, shared, 32);
    hkdf_kdf3(chaining_key, tau, key, chaining_key, zero, 32);
    blake2s_hash(hash, hash, 32, tau, 32);
    aead_seal_field(forged.sealed_empty, NULL, 0, hash, 32, key);
    ck_assert_int_eq(noise_consume_response(&a.peer, &a.identity, &forged), NOISE_INVALID);
}
END_TEST

/* Both start at once: the one whose initiation is accepted second wins, on both sides the same. */
START_TEST(crossing_initiations)
{
    struct wire_initiation from_b;
    struct noise_opened opened;
    meet();
    struct wire_initiation from_a = initiate(REAL_NS);
    ck_assert(noise_create_initiation(&b.peer, &b.identity, 300, random_b, REAL_NS, &from_b));
    ck_assert_int_eq(receive_initiation(&from_a, 0), NOISE_OK);
    struct wire_response response = respond();
    ck_assert_int_eq(noise_consume_response(&a.peer, &a.identity, &response), NOISE_OK);
    check_sessions();
    ck_assert(noise_open_initiation(&opened, &a.identity, &from_b));
    ck_assert_int_eq(noise_accept_initiation(&a.peer, &a.identity, &opened, &from_b, 0), NOISE_OK);
}
END_TEST

/* The static-static secret is computed when first needed, kept, and recomputed for a new key. */
START_TEST(identity_changed)
{
    meet();
    ck_assert(!a.peer.has_static_static);
    struct wire_initiation message = initiate(REAL_NS);
    ck_assert(a.peer.has_static_static);
    ck_assert_mem_eq(message.type, "\1\0\0\0", 4);
    set_identity(&a.identity, 0x55);
    noise_peer_identity_changed(&a.peer);
    ck_assert(!a.peer.has_static_static);
    ck_assert(bytes_is_zero_ct(a.peer.static_static, 32));
    ck_assert(bytes_is_zero_ct(&a.peer.handshake, sizeof a.peer.handshake));
    noise_peer_init(&b.peer, a.identity.public_key);
    message = initiate(REAL_NS);
    ck_assert_int_eq(receive_initiation(&message, 0), NOISE_OK);
    struct wire_response response = respond();
    ck_assert_int_eq(noise_consume_response(&a.peer, &a.identity, &response), NOISE_OK);
    check_sessions();
    noise_peer_fini(&a.peer);
    ck_assert(bytes_is_zero_ct(&a.peer, sizeof a.peer));
    noise_identity_fini(&a.identity);
    ck_assert(bytes_is_zero_ct(&a.identity, sizeof a.identity));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("noise");
    tcase_add_loop_test(tc, known_answers, 0, ARRAY_LEN(handshake_vectors));
    tcase_add_loop_test(tc, preshared_keys, 0, ARRAY_LEN(preshared));
    tcase_add_test(tc, preshared_key_removed);
    tcase_add_test(tc, timestamps_and_floods);
    tcase_add_test(tc, forgotten_timestamp_takes_an_older_one);
    tcase_add_test(tc, timestamp_format);
    tcase_add_test(tc, initiation_tampered);
    tcase_add_test(tc, response_tampered);
    tcase_add_test(tc, wrong_keys);
    tcase_add_test(tc, impostor);
    tcase_add_test(tc, own_key);
    tcase_add_loop_test(tc, zero_shared_secret, 0, ARRAY_LEN(low_order));
    tcase_add_test(tc, states);
    tcase_add_test(tc, response_to_nothing);
    tcase_add_test(tc, crossing_initiations);
    tcase_add_test(tc, identity_changed);
    return unit_run(tc);
}
