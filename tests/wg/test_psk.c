#include "wg/psk.h"

#include "base/clock.h"
#include "tests/unit.h"
#include "wg/crypto/crypto.h"
#include "wg/noise.h"

#include <string.h>

static const char secret[] = "9c76f92d-d55a-46c0-84d6-58c981442830";
static const uint8_t key_a[32] = {1, 2, 3};
static const uint8_t key_b[32] = {1, 2, 4};

static void derive(uint8_t out[32], const char *text, const uint8_t *a, const uint8_t *b,
                   uint64_t round)
{
    wg_psk_derive(out, text, strlen(text), a, b, round);
}

/* Computed with Python's hashlib: KDF1 is HMAC(HMAC(key, input), 1) over BLAKE2s. */
START_TEST(known_answer)
{
    static const uint8_t expected[32] = {0xb9, 0x8a, 0xfb, 0x50, 0xd5, 0x6d, 0x69, 0xf5,
                                         0xc7, 0xbd, 0x47, 0xde, 0xba, 0xce, 0x04, 0x25,
                                         0x22, 0xe8, 0x01, 0xb8, 0xb3, 0x64, 0x95, 0x7b,
                                         0x9b, 0xcd, 0x44, 0x0e, 0xde, 0x05, 0x33, 0x10};
    uint8_t psk[32];
    derive(psk, secret, key_a, key_b, 7);
    ck_assert_mem_eq(psk, expected, sizeof psk);
}
END_TEST

START_TEST(what_it_depends_on)
{
    static const uint8_t key_c[32] = {9};
    uint8_t psk[32];
    uint8_t other[32];
    derive(psk, secret, key_a, key_b, 0);
    derive(other, secret, key_b, key_a, 0);
    ck_assert_mem_eq(psk, other, 32);
    derive(other, secret, key_a, key_b, 1);
    ck_assert_mem_ne(psk, other, 32);
    derive(other, secret, key_a, key_c, 0);
    ck_assert_mem_ne(psk, other, 32);
    derive(other, secret, key_c, key_b, 0);
    ck_assert_mem_ne(psk, other, 32);
    derive(other, "9c76f92d-d55a-46c0-84d6-58c981442831", key_a, key_b, 0);
    ck_assert_mem_ne(psk, other, 32);
}
END_TEST

/* The initiator and the responder of a recorded handshake, with every X25519 private key of it:
 * what somebody has who recorded it and broke X25519 later. */
struct recording {
    struct noise_identity identity[2];
    struct noise_peer peer[2];
    struct wire_initiation initiation;
    struct wire_response response;
};

static const uint8_t ephemeral[2][32] = {{11, 1}, {22, 2}};

static void meet(struct recording *recording, const uint8_t psk[32])
{
    for (int i = 0; i < 2; i++) {
        uint8_t private_key[32];
        memset(private_key, 0x11 * (i + 1), sizeof private_key);
        noise_identity_set(&recording->identity[i], private_key);
    }
    for (int i = 0; i < 2; i++) {
        noise_peer_init(&recording->peer[i], recording->identity[1 - i].public_key);
        noise_peer_set_preshared_key(&recording->peer[i], psk);
    }
}

static bool initiate(struct recording *recording)
{
    memset(&recording->initiation, 0, sizeof recording->initiation);
    return noise_create_initiation(&recording->peer[0], &recording->identity[0], 100, ephemeral[0],
                                   UINT64_C(1700000000) * NS_PER_SEC, &recording->initiation);
}

static void record(struct recording *recording, const uint8_t psk[32])
{
    struct noise_opened opened;
    meet(recording, psk);
    ck_assert(initiate(recording));
    ck_assert(noise_open_initiation(&opened, &recording->identity[1], &recording->initiation));
    ck_assert_int_eq(noise_accept_initiation(&recording->peer[1], &recording->identity[1], &opened,
                                             &recording->initiation, 0),
                     NOISE_OK);
    memset(&recording->response, 0, sizeof recording->response);
    ck_assert(noise_create_response(&recording->peer[1], &recording->identity[1], 200, ephemeral[1],
                                    &recording->response));
}

/* The session that the recording gives to somebody with all private keys and this preshared key. */
static bool open_recording(const struct recording *recording, const uint8_t psk[32],
                           struct noise_session *session)
{
    struct recording again;
    meet(&again, psk);
    ck_assert(initiate(&again));
    ck_assert_mem_eq(&again.initiation, &recording->initiation, 116);
    return noise_consume_response(&again.peer[0], &again.identity[0], &recording->response) ==
               NOISE_OK &&
           noise_begin_session(&again.peer[0], session);
}

START_TEST(a_recording_stays_closed)
{
    static const uint8_t none[32];
    struct recording recording;
    struct noise_session session;
    struct noise_session opened;
    uint8_t psk[32];
    uint8_t guess[32];
    ck_assert_int_eq(crypto_init(), 0);
    meet(&recording, none);
    derive(psk, secret, recording.identity[0].public_key, recording.identity[1].public_key, 0);
    record(&recording, psk);
    ck_assert(noise_begin_session(&recording.peer[1], &session));
    /* with the secret it opens: the private keys are the right ones */
    ck_assert(open_recording(&recording, psk, &opened));
    ck_assert_mem_eq(opened.send_key, session.recv_key, 32);
    ck_assert(!open_recording(&recording, none, &opened));
    derive(guess, "another secret of the same cluster", recording.identity[0].public_key,
           recording.identity[1].public_key, 0);
    ck_assert(!open_recording(&recording, guess, &opened));
    derive(guess, secret, recording.identity[0].public_key, recording.identity[1].public_key, 1);
    ck_assert(!open_recording(&recording, guess, &opened));
    /* without a preshared key both private keys are enough */
    record(&recording, none);
    ck_assert(noise_begin_session(&recording.peer[1], &session));
    ck_assert(open_recording(&recording, none, &opened));
    ck_assert_mem_eq(opened.send_key, session.recv_key, 32);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("psk");
    tcase_add_test(tc, known_answer);
    tcase_add_test(tc, what_it_depends_on);
    tcase_add_test(tc, a_recording_stays_closed);
    return unit_run(tc);
}
