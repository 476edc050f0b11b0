#include "wg/path/path.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/unit.h"
#include "tun/tun.h"
#include "wg/path/udp.h"
#include "wg/wire.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* A device with many peers. The peers are engines that share one socket and one thread; peer i is
 * reached at 127.1.X.Y, where X and Y are the bytes of i. */

enum { PEERS = 3000, BATCH = UDP_BATCH };

struct crowd {
    struct wg_device *devices[PEERS];
    uint8_t public_keys[PEERS][WG_KEY_LEN];
    struct udp *udp;
    pthread_t thread;
    atomic_bool stopping;
    atomic_uint cookies; /* cookie replies received */
};

static struct crowd crowd;
static struct path *hub;
static struct tun *inner, *outer;
static uint8_t hub_key[WG_KEY_LEN];

static void fill_random(void *ctx, void *out, size_t len)
{
    (void)ctx;
    ck_assert_int_eq(getentropy(out, len), 0);
}

static void wake_nobody(void *ctx)
{
    (void)ctx;
}

static bool answer(void *ctx, const struct wg_endpoint *to, uint8_t ds, const uint8_t *bytes,
                   size_t len)
{
    struct udp_message message = {.bytes = bytes, .len = len, .endpoint = to, .ds = ds};
    (void)udp_send(((struct crowd *)ctx)->udp, &message, 1);
    return true;
}

static struct wg_time now(void)
{
    return (struct wg_time){clock_boottime_ns(), clock_realtime_ns()};
}

static void receive_one(struct wg_inbound *in, const struct wg_sink *sink)
{
    unsigned number = (unsigned)in->from.source.bytes[2] << 8 | in->from.source.bytes[3];
    ck_assert_uint_lt(number, PEERS);
    struct wg_device *dev = crowd.devices[number];
    if (in->len > 0 && in->bytes[0] == WIRE_COOKIE_REPLY)
        atomic_fetch_add(&crowd.cookies, 1);
    wg_device_open(dev, in, 1, now());
    if (in->verdict == WG_IN_HANDSHAKE)
        wg_device_handshake(dev, in->bytes, in->len, &in->from, false, now(), sink);
}

static void *crowd_main(void *unused)
{
    struct wg_sink sink = {.ctx = &crowd, .send = answer};
    struct wg_inbound in[BATCH];
    uint8_t *slots = malloc((size_t)BATCH * UDP_DATAGRAM_MAX);
    struct pollfd readable = {.fd = udp_fd(crowd.udp, UDP_IPV4), .events = POLLIN};
    while (!atomic_load(&crowd.stopping)) {
        poll(&readable, 1, 10);
        for (size_t i = 0; i < BATCH; i++)
            in[i] = (struct wg_inbound){.bytes = slots + i * UDP_DATAGRAM_MAX};
        size_t count = udp_receive(crowd.udp, UDP_IPV4, in, BATCH);
        for (size_t i = 0; i < count; i++)
            receive_one(&in[i], &sink);
    }
    free(slots);
    return unused;
}

static void open_hub(void)
{
    struct err err = {0};
    struct path_info info;
    ck_assert_int_eq(tun_memory(&inner, &outer), 0);
    ck_assert_int_eq(tun_memory_set_link(inner, false, 1420), 0);
    struct path_options options = {.tun = inner};
    ck_assert_msg(path_create(&hub, &options, &err) == 0, "%s", err.text);
    ck_assert_msg(path_start(hub, &err) == 0, "%s", err.text);
    struct wg_device_config config = {.has_private_key = true, .private_key = {1}};
    ck_assert_msg(path_configure(hub, &config, &err) == 0, "%s", err.text);
    ck_assert_int_eq(path_info(hub, &info), 0);
    memcpy(hub_key, info.device.public_key, WG_KEY_LEN);
    path_info_fini(&info);
}

static void open_peer(unsigned number)
{
    struct wg_env env = {.random = fill_random, .wake = wake_nobody};
    struct wg_sink sink = {.ctx = &crowd, .send = answer};
    struct wg_peer_config peer = {0};
    struct wg_device_config config = {.has_private_key = true, .peers = &peer, .peer_count = 1};
    memcpy(peer.public_key, hub_key, WG_KEY_LEN);
    store_be32(config.private_key, number + 2);
    ck_assert_int_eq(wg_device_create(&crowd.devices[number], &env), 0);
    ck_assert_int_eq(wg_device_configure(crowd.devices[number], &config, now(), &sink), 0);
    wg_device_set_up(crowd.devices[number], true, now(), &sink);
    struct wg_device_info info;
    ck_assert_int_eq(wg_device_info(crowd.devices[number], &info), 0);
    memcpy(crowd.public_keys[number], info.public_key, WG_KEY_LEN);
    wg_device_info_fini(&info);
}

/* All peers have an endpoint and a keepalive, so that each is due as soon as the link is up. */
static void configure_hub(void)
{
    static struct wg_peer_config peers[PEERS];
    struct err err = {0};
    for (unsigned i = 0; i < PEERS; i++) {
        struct ip_addr addr = {4, {127, 1, (uint8_t)(i >> 8), (uint8_t)i}};
        peers[i] =
            (struct wg_peer_config){.has_endpoint = true, .has_keepalive = true, .keepalive_s = 25};
        memcpy(peers[i].public_key, crowd.public_keys[i], WG_KEY_LEN);
        endpoint_from_addr(&peers[i].endpoint, &addr, udp_port(crowd.udp));
    }
    struct wg_device_config config = {.peers = peers, .peer_count = PEERS};
    ck_assert_msg(path_configure(hub, &config, &err) == 0, "%s", err.text);
}

static void setup(void)
{
    ck_assert_int_eq(udp_open(&crowd.udp, 0, 0, NULL), 0);
    open_hub();
    for (unsigned i = 0; i < PEERS; i++)
        open_peer(i);
    configure_hub();
    ck_assert_int_eq(pthread_create(&crowd.thread, NULL, crowd_main, NULL), 0);
}

static void teardown(void)
{
    atomic_store(&crowd.stopping, true);
    pthread_join(crowd.thread, NULL);
    path_destroy(hub);
    tun_close(outer);
    for (unsigned i = 0; i < PEERS; i++) {
        wg_garbage_free(wg_device_take_garbage(crowd.devices[i]));
        wg_device_destroy(crowd.devices[i]);
    }
    udp_close(crowd.udp);
}

static unsigned sessions(void)
{
    struct path_info info;
    unsigned count = 0;
    ck_assert_int_eq(path_info(hub, &info), 0);
    for (size_t i = 0; i < info.device.peer_count; i++)
        count += info.device.peers[i].last_handshake_ns != 0;
    path_info_fini(&info);
    return count;
}

/* A hub that comes up takes the answers to its own initiations as they come, in turn with beginning
 * further ones: they never pile up so high that they look like a flood. */
START_TEST(a_hub_that_comes_up_has_all_sessions)
{
    uint64_t begin = clock_boottime_ns();
    ck_assert_int_eq(tun_memory_set_link(inner, true, 1420), 0);
    while (sessions() < PEERS) {
        ck_assert_uint_lt(clock_boottime_ns() - begin, 40 * NS_PER_SEC);
        poll(NULL, 0, 20);
    }
    printf("%d sessions after %u ms\n", PEERS,
           (unsigned)((clock_boottime_ns() - begin) / NS_PER_MS));
    ck_assert_uint_eq(atomic_load(&crowd.cookies), 0);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("path_hub");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_hub_that_comes_up_has_all_sessions);
    return unit_run(tc);
}
