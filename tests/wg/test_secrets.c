#include "wg/wg.h"

#include "base/bytes.h"
#include "tests/unit.h"
#include "tests/wg/harness.h"
#include "tests/wg/memory_scan.h"
#include "wg/device.h" /* to know the secrets */

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* Secrets that are no longer needed are nowhere in the memory of the process: heap, data, and the
 * stack of the engine. The devices live in a thread of their own, so that the search does not
 * overwrite what they left on their stack. The thread works in steps, and the main thread searches
 * between them. */

static struct sim sim;
static pthread_barrier_t barrier;

enum { MAX_SECRETS = 16 };

static struct secret secrets[MAX_SECRETS];
static size_t secret_total;

static void note(const char *name, const uint8_t bytes[32])
{
    ck_assert(!bytes_is_zero_ct(bytes, 32));
    ck_assert_uint_lt(secret_total, MAX_SECRETS);
    secret_note(&secrets[secret_total++], name, bytes);
}

static struct wg_peer *peer_of(int host)
{
    return list_first(&sim.hosts[host].dev->peers, struct wg_peer, place);
}

static void note_session(void)
{
    const struct keypair *keypair = atomic_load(&peer_of(0)->keypairs.current);
    ck_assert_ptr_nonnull(keypair);
    note("send key", keypair->send_key);
    note("receive key", keypair->recv_key);
}

static void note_handshake(void)
{
    const struct noise_handshake *handshake = &peer_of(0)->noise.handshake;
    note("ephemeral key", handshake->ephemeral_private);
    note("chaining key", handshake->chaining_key);
}

static void note_statics(void)
{
    note("private key", sim.hosts[0].dev->identity.private_key);
    note("other private key", sim.hosts[1].dev->identity.private_key);
    note("preshared key", peer_of(0)->noise.preshared_key);
    note("static-static", peer_of(0)->noise.static_static);
}

/* What the tests themselves hold must not be found. */
static void configure(int at, const uint8_t private_key[WG_KEY_LEN], bool with_preshared_key,
                      const uint8_t preshared_key[WG_KEY_LEN])
{
    static struct wg_peer_config peer;
    static struct wg_device_config config;
    memcpy(peer.public_key, sim.hosts[1 - at].public_key, WG_KEY_LEN);
    if (with_preshared_key) {
        peer.has_preshared_key = peer.update_only = true;
        memcpy(peer.preshared_key, preshared_key, WG_KEY_LEN);
        config.peers = &peer;
        config.peer_count = 1;
    }
    if (private_key != NULL) {
        config.has_private_key = true;
        memcpy(config.private_key, private_key, WG_KEY_LEN);
    }
    sim_configure(&sim, at, &config);
    bytes_wipe(&config, sizeof config);
    bytes_wipe(&peer, sizeof peer);
}

static void fill_random(uint8_t *out)
{
    for (size_t i = 0; i < WG_KEY_LEN; i++)
        out[i] = (uint8_t)sim_random(&sim);
}

static void set_preshared_key(void)
{
    static uint8_t key[WG_KEY_LEN];
    fill_random(key);
    configure(0, NULL, true, key);
    configure(1, NULL, true, key);
    bytes_wipe(key, sizeof key);
}

static void start(void)
{
    sim_init(&sim, 77);
    for (int i = 0; i < SIM_HOSTS; i++)
        bytes_wipe(sim.hosts[i].private_key, WG_KEY_LEN);
    sim_connect(&sim, 0, 1);
    set_preshared_key();
}

static void exchange(void)
{
    unsigned before = sim.hosts[1].delivered;
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, SIM_MS(100));
    sim_send(&sim, 1, 0, 1, 100);
    sim_run(&sim, SIM_MS(100));
    ck_assert_uint_eq(sim.hosts[1].delivered, before + 1);
}

static bool lose_all(struct sim *s, struct sim_datagram *datagram)
{
    (void)s;
    (void)datagram;
    return false;
}

/* Leaves an initiation without an answer, and a plaintext that waits for one. */
static void start_in_vain(bool with_packet)
{
    static uint8_t packet[SIM_DATAGRAM];
    sim.filter = lose_all;
    size_t len = sim_make_packet(packet, 0, 1, 1, 100);
    packet[0] = 0x46; /* its content is not the harness's */
    fill_random(packet + 32);
    ck_assert_int_eq(sim_send_bytes(&sim, 0, packet, len), WG_OUT_STAGED);
    if (with_packet)
        note("staged packet", packet + 32);
    bytes_wipe(packet, sizeof packet);
    sim_run(&sim, SIM_MS(100));
    sim.filter = NULL;
    note_handshake();
}

static void begin_session(void)
{
    start();
    exchange();
    note_session();
}

static void begin_handshake(void)
{
    start();
    start_in_vain(false);
}

static void begin_handshake_with_packet(void)
{
    start();
    start_in_vain(true);
}

static void begin_everything(void)
{
    begin_session();
    note_statics();
}

static void finish_handshake(void)
{
    sim_run(&sim, SIM_S(6));
    ck_assert_uint_eq(sim.hosts[1].delivered, 1);
}

static void pass_540_s(void)
{
    sim_run(&sim, SIM_S(541));
}

static void give_up_and_pass_540_s(void)
{
    sim.filter = lose_all;
    sim_run(&sim, SIM_S(100 + 541));
}

static void renew_twice(void)
{
    for (int i = 0; i < 2; i++) {
        sim_run(&sim, SIM_S(121));
        exchange();
        exchange();
    }
}

static void remove_peers(void)
{
    sim_remove_peer(&sim, 0, 1);
    sim_remove_peer(&sim, 1, 0);
}

static void go_down(void)
{
    for (int i = 0; i < 2; i++) {
        struct wg_sink sink = sim_sink(&sim.hosts[i]);
        wg_device_set_up(sim.hosts[i].dev, false, sim_time(&sim), &sink);
        wg_garbage_free(wg_device_take_garbage(sim.hosts[i].dev));
    }
}

static void replace_private_keys(void)
{
    static uint8_t key[WG_KEY_LEN];
    for (int i = 0; i < 2; i++) {
        fill_random(key);
        configure(i, key, false, NULL);
    }
    bytes_wipe(key, sizeof key);
}

static void replace_preshared_key(void)
{
    set_preshared_key();
}

static void inform(void)
{
    struct wg_device_info info;
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(wg_device_info(sim.hosts[i].dev, &info), 0);
        wg_device_info_fini(&info);
    }
}

static void inform_and_destroy(void)
{
    inform();
    sim_fini(&sim);
    for (int i = 0; i < SIM_HOSTS; i++)
        sim.hosts[i].dev = NULL;
}

static const struct {
    const char *name;
    void (*begin)(void);
    void (*end)(void);
    const char *kept; /* which secrets are still needed then */
} table[] = {
    /* 0 */ {"a session expires", begin_session, pass_540_s, ""},
    {"a session is displaced", begin_session, renew_twice, ""},
    {"a handshake is finished", begin_handshake, finish_handshake, ""},
    {"a handshake is abandoned", begin_handshake_with_packet, give_up_and_pass_540_s, ""},
    {"a peer is removed", begin_everything, remove_peers, "private key, other private key"},
    /* 5 */ {"a peer is removed during a handshake", begin_handshake_with_packet, remove_peers, ""},
    {"the device goes down", begin_session, go_down, ""},
    {"the private key is replaced", begin_everything, replace_private_keys, "preshared key"},
    {"the preshared key is replaced", begin_everything, replace_preshared_key,
     "send key, receive key, private key, other private key, static-static"},
    {"the device is destroyed", begin_everything, inform_and_destroy, ""},
};

static void pause_for_scan(void)
{
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
}

static void *run(void *place)
{
    const int *row = place;
    table[*row].begin();
    pause_for_scan();
    table[*row].end();
    pause_for_scan();
    return NULL;
}

/* Meanwhile the thread waits at a shallow depth, above what its steps have left behind. */
static void check(bool ended, const char *kept)
{
    pthread_barrier_wait(&barrier);
    ck_assert_uint_gt(secret_total, 0);
    for (size_t i = 0; i < secret_total; i++) {
        size_t count = secret_count(&secrets[i]);
        bool expected = !ended || strstr(kept, secrets[i].name) != NULL;
        ck_assert_msg((count > 0) == expected, "%s: found %zu times", secrets[i].name, count);
    }
    pthread_barrier_wait(&barrier);
}

START_TEST(nothing_is_left_when)
{
    pthread_t thread;
    int place = _i;
    ck_assert_int_eq(pthread_barrier_init(&barrier, NULL, 2), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, run, &place), 0);
    check(false, "");
    check(true, table[_i].kept);
    pthread_join(thread, NULL);
    if (sim.hosts[0].dev != NULL)
        sim_fini(&sim);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("secrets");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, nothing_is_left_when, 0, ARRAY_LEN(table));
    return unit_run(tc);
}
