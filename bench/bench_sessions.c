#include "base/bytes.h"
#include "base/clock.h"
#include "wg/cookie.h"
#include "wg/crypto/aead.h"
#include "wg/crypto/crypto.h"
#include "wg/crypto/x25519.h"
#include "wg/noise.h"
#include "wg/wg.h"
#include "wg/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

/* Memory of one device with many peers: as configured, with a session each, and after all sessions
 * have expired and been wiped. The device gets real handshakes, made here by a noise peer without a
 * device of its own, under a virtual clock. Exits 1 when a peer without a session takes more than
 * 2 KiB.
 *
 *     bench_sessions [PEERS]     (100,000; about 0.5 ms each) */

enum { TARGET_BYTES = 2048, DATAGRAM = 256 };

struct remote {
    uint8_t private_key[WG_KEY_LEN];
    uint8_t public_key[WG_KEY_LEN];
};

struct bench {
    struct wg_device *dev;
    struct noise_identity identity; /* the device's */
    struct wg_time now;
    size_t count;
    struct remote *remotes;
    uint8_t reply[DATAGRAM]; /* the last datagram that the device sent */
    size_t reply_len;
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench_sessions: %s\n", what);
    exit(2);
}

static void random_bytes(void *ctx, void *out, size_t len)
{
    (void)ctx;
    if (getrandom(out, len, 0) != (ssize_t)len)
        die("no random bytes");
}

static void wake(void *ctx)
{
    (void)ctx;
}

static bool keep_reply(void *ctx, const struct wg_endpoint *to, uint8_t ds, const uint8_t *bytes,
                       size_t len)
{
    struct bench *bench = ctx;
    (void)to;
    (void)ds;
    if (len > sizeof bench->reply)
        die("a datagram that was not expected");
    memcpy(bench->reply, bytes, len);
    bench->reply_len = len;
    return true;
}

static struct wg_sink sink_of(struct bench *bench)
{
    return (struct wg_sink){.ctx = bench, .send = keep_reply};
}

static size_t resident_bytes(void)
{
    char line[128];
    FILE *file = fopen("/proc/self/statm", "r"); /* "TOTAL RESIDENT ...", in pages */
    if (file == NULL || fgets(line, sizeof line, file) == NULL)
        die("no /proc/self/statm");
    (void)fclose(file);
    char *rest;
    (void)strtoull(line, &rest, 10);
    return (size_t)strtoull(rest, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

static void make_remotes(struct bench *bench)
{
    bench->remotes = calloc(bench->count, sizeof *bench->remotes);
    if (bench->remotes == NULL)
        die("no memory");
    for (size_t i = 0; i < bench->count; i++) {
        struct remote *remote = &bench->remotes[i];
        random_bytes(NULL, remote->private_key, sizeof remote->private_key);
        x25519_clamp(remote->private_key);
        x25519_public(remote->public_key, remote->private_key);
    }
}

static void make_device(struct bench *bench)
{
    struct wg_env env = {.ctx = bench, .random = random_bytes, .wake = wake};
    struct wg_device_config config = {.has_private_key = true};
    struct wg_sink sink = sink_of(bench);
    random_bytes(NULL, config.private_key, sizeof config.private_key);
    noise_identity_set(&bench->identity, config.private_key);
    if (wg_device_create(&bench->dev, &env) != 0 ||
        wg_device_configure(bench->dev, &config, bench->now, &sink) != 0)
        die("no device");
    wg_device_set_up(bench->dev, true, bench->now, &sink);
}

/* One by one, so that no memory of a large change is measured too. */
static void add_peers(struct bench *bench)
{
    struct wg_sink sink = sink_of(bench);
    for (size_t i = 0; i < bench->count; i++) {
        struct wg_allowed_ip_config ip = {.prefix = {.addr = {.family = 4}, .len = 32}};
        struct wg_peer_config peer = {.allowed_ips = &ip, .allowed_ip_count = 1};
        struct wg_device_config config = {.peers = &peer, .peer_count = 1};
        store_be32(ip.prefix.addr.bytes, UINT32_C(0x0a000000) + (uint32_t)i);
        memcpy(peer.public_key, bench->remotes[i].public_key, WG_KEY_LEN);
        if (wg_device_configure(bench->dev, &config, bench->now, &sink) != 0)
            die("cannot add a peer");
        wg_garbage_free(wg_device_take_garbage(bench->dev));
    }
}

static void confirm(struct bench *bench, const struct noise_session *session,
                    const struct wg_endpoint *from)
{
    uint8_t packet[WG_DATA_OVERHEAD] = {0};
    struct wg_inbound in = {.bytes = packet, .len = sizeof packet, .from = *from};
    struct aead_op op = {
        .key = session->send_key, .src = packet + WG_HEADER_LEN, .dst = packet + WG_HEADER_LEN};
    store_le32(packet, WIRE_DATA);
    store_le32(packet + 4, session->remote_index);
    aead_seal(&op, 1);
    wg_device_open(bench->dev, &in, 1, bench->now);
    if (in.verdict != WG_IN_CONSUMED)
        die("the device does not take our data");
}

static void shake_hands(struct bench *bench, size_t number)
{
    struct noise_identity identity = {0};
    struct noise_peer peer;
    struct cookie_maker cookie;
    struct wire_initiation initiation;
    struct noise_session session;
    uint8_t random[32];
    struct wg_sink sink = sink_of(bench);
    struct wg_endpoint from = {.source = {.family = 0}};
    struct ip_addr addr = {.family = 4};
    store_be32(addr.bytes, UINT32_C(0xc6120000) + (uint32_t)(number & 0xffff));
    endpoint_from_addr(&from.remote, &addr, 51820);
    noise_identity_set(&identity, bench->remotes[number].private_key);
    noise_peer_init(&peer, bench->identity.public_key);
    cookie_maker_init(&cookie, bench->identity.public_key);
    random_bytes(NULL, random, sizeof random);
    if (!noise_create_initiation(&peer, &identity, (uint32_t)number, random, bench->now.real_ns,
                                 &initiation))
        die("no initiation");
    cookie_maker_add_macs(&cookie, (uint8_t *)&initiation, sizeof initiation, bench->now.boot_ns);
    bench->reply_len = 0;
    wg_device_handshake(bench->dev, (const uint8_t *)&initiation, sizeof initiation, &from, false,
                        bench->now, &sink);
    if (bench->reply_len != WIRE_RESPONSE_LEN ||
        noise_consume_response(&peer, &identity,
                               (const struct wire_response *)(const void *)bench->reply) !=
            NOISE_OK ||
        !noise_begin_session(&peer, &session))
        die("no response");
    confirm(bench, &session, &from);
    wg_device_run(bench->dev, bench->now, &sink);
    wg_garbage_free(wg_device_take_garbage(bench->dev));
}

static void expire(struct bench *bench)
{
    struct wg_sink sink = sink_of(bench);
    bench->now.boot_ns += 541 * NS_PER_SEC;
    bench->now.real_ns += 541 * NS_PER_SEC;
    /* each slice serves one peer at least */
    for (size_t slices = 0;
         slices <= bench->count && wg_device_deadline(bench->dev) <= bench->now.boot_ns; slices++) {
        wg_device_run(bench->dev, bench->now, &sink);
        wg_garbage_free(wg_device_take_garbage(bench->dev));
    }
    if (wg_device_deadline(bench->dev) != WG_NEVER)
        die("a peer without a session has something to do");
}

static size_t report(const struct bench *bench, const char *what, size_t before, bool is_judged)
{
    size_t now = resident_bytes();
    size_t each = now > before && bench->count > 0 ? (now - before) / bench->count : 0;
    printf("%-42s %10zu %10s\n", what, each, is_judged ? "2048" : "");
    return each;
}

int main(int argc, char **argv)
{
    struct bench bench = {.now = {.boot_ns = NS_PER_SEC, .real_ns = 1700000000 * NS_PER_SEC}};
    bench.count = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
    if (crypto_init() != 0 || bench.count == 0)
        die("usage: bench_sessions [PEERS]");
    make_remotes(&bench);
    make_device(&bench);
    size_t before = resident_bytes();
    printf("resident bytes a peer, %-19zu %10s %10s\n", bench.count, "measured", "target");
    add_peers(&bench);
    size_t idle = report(&bench, "configured, with one allowed IP", before, true);
    uint64_t started = clock_boottime_ns();
    for (size_t i = 0; i < bench.count; i++)
        shake_hands(&bench, i);
    uint64_t taken = clock_boottime_ns() - started;
    (void)report(&bench, "with a live session", before, false);
    expire(&bench);
    size_t wiped = report(&bench, "after its session has expired", before, true);
    printf("a handshake, both sides: %.0f us\n", (double)taken / (double)bench.count / 1000);
    wg_device_destroy(bench.dev);
    free(bench.remotes);
    return idle > TARGET_BYTES || wiped > TARGET_BYTES;
}
