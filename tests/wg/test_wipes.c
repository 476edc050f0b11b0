#include "wg/noise.h"

#include "base/bytes.h"
#include "tests/unit.h"
#include "tests/wg/harness.h"
#include "wg/crypto/crypto.h"
#include "wg/crypto/hkdf.h"
#include "wg/crypto/x25519.h"
#include "wg/device.h" /* to know the secrets */

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <string.h>

/* The stack of a step holds none of its secrets afterwards. Each step runs in a thread whose stack
 * is the test's. The test derives the secrets of the handshake from the paper (section 5.4), and
 * searches for them as they are and as HMAC pads them. */

enum { STACK = 1 << 18, MAX_SECRETS = 40 };

static alignas(4096) uint8_t stack[STACK];

static struct {
    const char *name;
    uint8_t bytes[32];
} secrets[MAX_SECRETS];
static size_t secret_count;

static struct side {
    uint8_t random[32]; /* of the private key */
    uint8_t ephemeral_random[32];
    struct noise_identity identity;
    struct noise_peer peer;
    struct noise_session session;
} a, b;
static const uint8_t psk[32] = {42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};

static void note(const char *name, const uint8_t bytes[32])
{
    ck_assert_uint_lt(secret_count, MAX_SECRETS);
    secrets[secret_count].name = name;
    memcpy(secrets[secret_count++].bytes, bytes, 32);
}

/* Mixes `input` into the chaining key; the other outputs go to `second` and `third`, if wanted. */
static void mix(const char *name, uint8_t chaining_key[32], const uint8_t *input, size_t len,
                uint8_t *second, uint8_t *third)
{
    uint8_t unused[2][32];
    uint8_t extracted[32];
    hkdf_hmac(extracted, chaining_key, 32, input, len);
    note("what is extracted", extracted);
    hkdf_kdf3(chaining_key, second != NULL ? second : unused[0], third != NULL ? third : unused[1],
              chaining_key, input, len);
    note(name, chaining_key);
}

static void mix_dh(const char *name, uint8_t chaining_key[32], const uint8_t private_key[32],
                   const uint8_t public_key[32], uint8_t *key)
{
    uint8_t shared[32];
    ck_assert(x25519_shared(shared, private_key, public_key));
    note("shared secret", shared);
    mix(name, chaining_key, shared, 32, key, NULL);
    if (key != NULL)
        note("key of a field", key);
}

static void init_side(struct side *side, uint8_t number)
{
    for (uint8_t i = 0; i < 32; i++) {
        side->random[i] = (uint8_t)(number * 7 + i * 31);
        side->ephemeral_random[i] = (uint8_t)(number * 11 + i * 29);
    }
    noise_identity_set(&side->identity, side->random);
}

static void work_out_secrets(void)
{
    uint8_t ephemeral[2][32], public[2][32], ck[32], key[32], tau[32], second[32];
    struct side *sides[] = {&a, &b};
    for (int i = 0; i < 2; i++) {
        note("random number", sides[i]->ephemeral_random);
        memcpy(ephemeral[i], sides[i]->ephemeral_random, 32);
        x25519_clamp(ephemeral[i]);
        note("ephemeral key", ephemeral[i]);
        x25519_public(public[i], ephemeral[i]);
        note("private key", sides[i]->identity.private_key);
    }
    note("preshared key", psk);
    memcpy(ck, a.identity.initial_chaining_key, 32);
    hkdf_kdf1(ck, ck, public[0], 32); /* known to everybody */
    mix_dh("chaining key, es", ck, ephemeral[0], b.identity.public_key, key);
    mix_dh("chaining key, ss", ck, a.identity.private_key, b.identity.public_key, key);
    mix("chaining key, e", ck, public[1], 32, NULL, NULL);
    mix_dh("chaining key, ee", ck, ephemeral[0], public[1], NULL);
    mix_dh("chaining key, se", ck, a.identity.private_key, public[1], NULL);
    mix("chaining key, psk", ck, psk, 32, tau, key);
    note("tau", tau);
    note("key of the empty field", key);
    mix("session key", ck, NULL, 0, second, NULL);
    note("other session key", second);
}

static void setup(void)
{
    ck_assert_int_eq(crypto_init(), 0);
    secret_count = 0;
    init_side(&a, 1);
    init_side(&b, 2);
    noise_peer_init(&a.peer, b.identity.public_key);
    noise_peer_init(&b.peer, a.identity.public_key);
    noise_peer_set_preshared_key(&a.peer, psk);
    noise_peer_set_preshared_key(&b.peer, psk);
    work_out_secrets();
}

/* ---- the steps ---- */

static struct wire_initiation initiation;
static struct wire_response response;

/* Makes the compiler keep it. */
static void touch(void *memory)
{
    __asm__ volatile("" : : "r"(memory) : "memory");
}

static bool leave_a_secret(void)
{
    uint8_t copy[32];
    memcpy(copy, psk, sizeof copy);
    touch(copy);
    return true;
}

static bool create_initiation(void)
{
    return noise_create_initiation(&a.peer, &a.identity, 1, a.ephemeral_random, 1, &initiation);
}

static struct noise_opened opened;

static bool open_initiation(void)
{
    return noise_open_initiation(&opened, &b.identity, &initiation);
}

static bool accept_initiation(void)
{
    return noise_accept_initiation(&b.peer, &b.identity, &opened, &initiation, 1) == NOISE_OK;
}

static bool create_response(void)
{
    return noise_create_response(&b.peer, &b.identity, 2, b.ephemeral_random, &response);
}

static bool consume_response(void)
{
    return noise_consume_response(&a.peer, &a.identity, &response) == NOISE_OK;
}

static bool begin_session_a(void)
{
    return noise_begin_session(&a.peer, &a.session);
}

static bool begin_session_b(void)
{
    return noise_begin_session(&b.peer, &b.session);
}

static bool set_identity(void)
{
    noise_identity_set(&a.identity, a.random);
    return true;
}

static const struct step {
    const char *name;
    bool (*run)(void);
} steps[] = {
    {"create_initiation", create_initiation}, {"open_initiation", open_initiation},
    {"accept_initiation", accept_initiation}, {"create_response", create_response},
    {"consume_response", consume_response},   {"begin_session of a", begin_session_a},
    {"begin_session of b", begin_session_b},  {"set_identity", set_identity},
};

/* Below what an ending thread overwrites. */
static __attribute__((noinline)) bool run_deep(bool (*run)(void))
{
    uint8_t room[16384];
    touch(room);
    bool result = run();
    touch(room);
    return result;
}

static bool succeeded;

static void *run_in_thread(void *step)
{
    succeeded = run_deep(*(bool (**)(void))step);
    return NULL;
}

static void run_on_stack(bool (*run)(void))
{
    pthread_attr_t attr;
    pthread_t thread;
    memset(stack, 0, sizeof stack);
    ck_assert_int_eq(pthread_attr_init(&attr), 0);
    ck_assert_int_eq(pthread_attr_setstack(&attr, stack, sizeof stack), 0);
    ck_assert_int_eq(pthread_create(&thread, &attr, run_in_thread, &run), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
    ck_assert(succeeded);
}

/* Returns the name of a secret found on the stack, or NULL. Ignores the bits that clamping
 * changes. */
static const char *find_secret(void)
{
    static const uint8_t pads[] = {0, 0x36, 0x5c};
    for (size_t i = 0; i < secret_count * ARRAY_LEN(pads); i++) {
        uint8_t padded[30];
        for (size_t j = 0; j < sizeof padded; j++)
            padded[j] = secrets[i / ARRAY_LEN(pads)].bytes[j + 1] ^ pads[i % ARRAY_LEN(pads)];
        if (memmem(stack, sizeof stack, padded, sizeof padded) != NULL)
            return secrets[i / ARRAY_LEN(pads)].name;
    }
    return NULL;
}

static void assert_nothing_left(const char *what)
{
    const char *name = find_secret();
    ck_assert_msg(name == NULL, "%s left a %s", what, name);
}

START_TEST(a_secret_that_is_left_is_found)
{
    run_on_stack(leave_a_secret);
    ck_assert_ptr_nonnull(find_secret());
}
END_TEST

START_TEST(steps_leave_nothing)
{
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        run_on_stack(steps[i].run);
        assert_nothing_left(steps[i].name);
    }
    /* These were the secrets: */
    size_t found = 0;
    for (size_t i = 0; i < secret_count; i++) {
        found += memcmp(secrets[i].bytes, a.session.send_key, 32) == 0;
        found += memcmp(secrets[i].bytes, a.session.recv_key, 32) == 0;
        found += memcmp(secrets[i].bytes, a.peer.static_static, 32) == 0;
    }
    ck_assert_uint_eq(found, 3);
}
END_TEST

/* ---- the same in a device ---- */

static struct sim sim;
static struct sim_datagram caught;

static bool catch_all(struct sim *s, struct sim_datagram *datagram)
{
    (void)s;
    caught = *datagram;
    return false;
}

static struct wg_peer *peer_of(int host)
{
    return list_first(&sim.hosts[host].dev->peers, struct wg_peer, place);
}

static struct wg_sink sink;

static bool run_initiator(void)
{
    wg_device_run(sim.hosts[0].dev, sim_time(&sim), &sink);
    return true;
}

static struct sim_datagram message;

static bool hand_over(int to)
{
    struct wg_endpoint from = {.remote = message.from};
    return wg_device_handshake(sim.hosts[to].dev, message.bytes, message.len, &from, false,
                               sim_time(&sim), &sink);
}

static bool run_responder(void)
{
    return hand_over(1);
}

static bool finish_initiator(void)
{
    return hand_over(0);
}

/* Runs the step on the test's stack, for the host, with the messages caught last. */
static void run_host(bool (*run)(void), int host)
{
    message = caught;
    sink = sim_sink(&sim.hosts[host]);
    run_on_stack(run);
}

static struct wg_device_config change;

static bool configure(void)
{
    return wg_device_configure(sim.hosts[0].dev, &change, sim_time(&sim), &sink) == 0;
}

static void note_keys(const struct keypair *keypair)
{
    note("send key", keypair->send_key);
    note("receive key", keypair->recv_key);
}

START_TEST(device_leaves_nothing)
{
    sim_init(&sim, 3);
    sim_connect(&sim, 0, 1);
    sim.filter = catch_all;
    secret_count = 0;
    sim_send(&sim, 0, 1, 1, 100);
    run_host(run_initiator, 0);
    note("ephemeral key", peer_of(0)->noise.handshake.ephemeral_private);
    note("chaining key", peer_of(0)->noise.handshake.chaining_key);
    assert_nothing_left("the initiator");
    run_host(run_responder, 1);
    note_keys(atomic_load(&peer_of(1)->keypairs.next));
    assert_nothing_left("the responder");
    run_host(finish_initiator, 0);
    note_keys(atomic_load(&peer_of(0)->keypairs.current));
    assert_nothing_left("the initiator at the end");
    change.has_private_key = true;
    memcpy(change.private_key, a.identity.private_key, 32);
    note("private key", change.private_key);
    run_host(configure, 0);
    assert_nothing_left("a change of the key");
    sim_fini(&sim);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("wipes");
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, a_secret_that_is_left_is_found);
    tcase_add_test(tc, steps_leave_nothing);
    tcase_add_test(tc, device_leaves_nothing);
    return unit_run(tc);
}
