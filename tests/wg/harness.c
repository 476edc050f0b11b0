#include "tests/wg/harness.h"

#include "base/bytes.h"
#include "tests/unit.h"
#include "wg/crypto/crypto.h"
#include "wg/crypto/x25519.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER = 20, SIM_PORT = 51820 };

/* Check's assertions write to a file each time they pass, which is too slow here. */
static void require(bool holds, const char *text)
{
    if (!holds)
        ck_abort_msg("%s", text);
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
uint64_t sim_random(struct sim *sim)
{
    uint64_t z = sim->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void random_bytes(void *ctx, void *out, size_t len)
{
    struct sim_host *host = ctx;
    for (uint8_t *at = out; len > 0; at++, len--)
        *at = (uint8_t)sim_random(host->sim);
}

static void wake(void *ctx)
{
    struct sim_host *host = ctx;
    host->wakes++;
    host->is_woken = true;
}

struct wg_time sim_time(const struct sim *sim)
{
    return (struct wg_time){.boot_ns = sim->now, .real_ns = SIM_EPOCH + sim->now};
}

struct wg_time sim_host_time(const struct sim_host *host)
{
    struct wg_time time = sim_time(host->sim);
    time.boot_ns += host->boot_offset_ns;
    return time;
}

static void count_sent(struct sim_host *host, const uint8_t *bytes, size_t len)
{
    struct sim_sent *sent = &host->sent;
    sent->last_ns = host->sim->now;
    sent->initiations += bytes[0] == 1;
    sent->responses += bytes[0] == 2;
    sent->cookies += bytes[0] == 3;
    sent->data += bytes[0] == 4 && len > WG_DATA_OVERHEAD;
    sent->empty += bytes[0] == 4 && len == WG_DATA_OVERHEAD;
}

static void enqueue(struct sim *sim, const struct sim_datagram *datagram)
{
    require(sim->queued < SIM_QUEUE, "queue is full");
    struct sim_datagram *copy = malloc(sizeof *copy);
    *copy = *datagram;
    copy->arrives_ns =
        sim->now + SIM_DELAY + (sim->jitter_ns > 0 ? sim_random(sim) % sim->jitter_ns : 0);
    copy->order = sim->order++;
    sim->queue[sim->queued++] = copy;
}

static bool transmit(void *ctx, const struct wg_endpoint *to, uint8_t ds, const uint8_t *bytes,
                     size_t len)
{
    struct sim_host *host = ctx;
    struct sim *sim = host->sim;
    struct sim_datagram datagram = {.from = host->address, .to = to->remote, .ds = ds, .len = len};
    require(len <= sizeof datagram.bytes && endpoint_is_set(&to->remote), "bad datagram");
    require(!host->is_asleep, "a host that sleeps sends");
    memcpy(datagram.bytes, bytes, len);
    count_sent(host, bytes, len);
    if (sim->filter != NULL && !sim->filter(sim, &datagram))
        return true;
    if (sim_random(sim) % 100 >= sim->loss_percent)
        enqueue(sim, &datagram);
    if (sim_random(sim) % 100 < sim->duplicate_percent)
        enqueue(sim, &datagram);
    return true;
}

struct wg_sink sim_sink(struct sim_host *host)
{
    return (struct wg_sink){.ctx = host, .send = transmit};
}

static void start_host(struct sim_host *host)
{
    struct wg_env env = {.ctx = host, .random = random_bytes, .wake = wake};
    struct wg_device_config config = {.has_private_key = true};
    int number = (int)(host - host->sim->hosts);
    ck_assert_int_eq(wg_device_create(&host->dev, &env), 0);
    memcpy(config.private_key, host->private_key, WG_KEY_LEN);
    sim_configure(host->sim, number, &config);
    bytes_wipe(&config, sizeof config);
    sim_set_up(host->sim, number, true);
}

static void init_host(struct sim *sim, int number)
{
    struct sim_host *host = &sim->hosts[number];
    struct ip_addr addr = {.family = 4, .bytes = {192, 0, 2, (uint8_t)(number + 1)}};
    host->sim = sim;
    endpoint_from_addr(&host->address, &addr, SIM_PORT);
    random_bytes(host, host->private_key, WG_KEY_LEN);
    x25519_clamp(host->private_key);
    x25519_public(host->public_key, host->private_key);
    start_host(host);
}

void sim_init(struct sim *sim, uint64_t seed)
{
    sim_init_hosts(sim, seed, SIM_HOSTS);
}

void sim_init_hosts(struct sim *sim, uint64_t seed, int count)
{
    ck_assert_int_eq(crypto_init(), 0);
    memset(sim, 0, sizeof *sim);
    sim->now = SIM_START;
    sim->random = seed;
    sim->host_count = count;
    for (int i = 0; i < count; i++)
        init_host(sim, i);
}

void sim_restart(struct sim *sim, int at)
{
    wg_device_destroy(sim->hosts[at].dev);
    start_host(&sim->hosts[at]);
}

void sim_set_up(struct sim *sim, int at, bool up)
{
    struct sim_host *host = &sim->hosts[at];
    struct wg_sink sink = sim_sink(host);
    wg_device_set_up(host->dev, up, sim_host_time(host), &sink);
}

void sim_fini(struct sim *sim)
{
    for (int i = 0; i < sim->host_count; i++)
        wg_device_destroy(sim->hosts[i].dev);
    while (sim->queued > 0)
        free(sim->queue[--sim->queued]);
}

void sim_configure(struct sim *sim, int at, const struct wg_device_config *config)
{
    struct sim_host *host = &sim->hosts[at];
    struct wg_sink sink = sim_sink(host);
    ck_assert_int_eq(wg_device_configure(host->dev, config, sim_host_time(host), &sink), 0);
    wg_garbage_free(wg_device_take_garbage(host->dev));
}

void sim_configure_peer(struct sim *sim, int at, int of, struct wg_peer_config config)
{
    memcpy(config.public_key, sim->hosts[of].public_key, WG_KEY_LEN);
    struct wg_device_config change = {.peers = &config, .peer_count = 1};
    sim_configure(sim, at, &change);
}

void sim_add_peer(struct sim *sim, int at, int of, bool with_endpoint)
{
    struct wg_allowed_ip_config ips[2] = {
        {.prefix = {{4, {10, 0, 0, (uint8_t)(of + 1)}}, 32}},
        {.prefix = {{6, {0xfd, [15] = (uint8_t)(of + 1)}}, 128}},
    };
    struct wg_peer_config config = {
        .has_endpoint = with_endpoint,
        .endpoint = sim->hosts[of].address,
        .allowed_ips = ips,
        .allowed_ip_count = 2,
    };
    sim_configure_peer(sim, at, of, config);
}

void sim_connect(struct sim *sim, int a, int b)
{
    sim_add_peer(sim, a, b, true);
    sim_add_peer(sim, b, a, true);
}

void sim_remove_peer(struct sim *sim, int at, int of)
{
    sim_configure_peer(sim, at, of, (struct wg_peer_config){.remove = true});
}

void sim_set_preshared_key(struct sim *sim, int at, int of, uint8_t byte)
{
    struct wg_peer_config config = {.has_preshared_key = true};
    memset(config.preshared_key, byte, WG_KEY_LEN);
    sim_configure_peer(sim, at, of, config);
}

void sim_set_keepalive(struct sim *sim, int at, int of, uint16_t seconds)
{
    struct wg_peer_config config = {.has_keepalive = true, .keepalive_s = seconds};
    sim_configure_peer(sim, at, of, config);
}

static uint8_t content(uint32_t number, size_t place)
{
    return (uint8_t)((size_t)number * 31 + place * 7);
}

size_t sim_make_packet(uint8_t out[SIM_DATAGRAM], int from, int to, uint32_t number, size_t len)
{
    const uint8_t header[HEADER] = {0x45, 0,  0, 0,
                                    0,    0,  0, 0,
                                    64,   17, 0, 0,
                                    10,   0,  0, (uint8_t)(from + 1),
                                    10,   0,  0, (uint8_t)(to + 1)};
    require(len >= HEADER + 4 && len <= 1500, "bad packet length");
    memcpy(out, header, sizeof header);
    store_be16(out + 2, (uint16_t)len);
    store_be32(out + HEADER, number);
    for (size_t i = HEADER + 4; i < len; i++)
        out[i] = content(number, i);
    return len;
}

static void receive_packet(struct sim_host *host, const uint8_t *packet, size_t len)
{
    if (host->sim->on_packet != NULL)
        host->sim->on_packet(host->sim, (int)(host - host->sim->hosts), packet, len);
    memcpy(host->last_packet, packet, len);
    host->last_len = len;
    host->delivered++;
    if (packet[0] != 0x45 || len < HEADER + 4)
        return;
    uint32_t number = load_be32(packet + HEADER);
    for (size_t i = HEADER + 4; i < len; i++)
        require(packet[i] == content(number, i), "content changed");
    host->log[(host->delivered - 1) % SIM_LOG] = number;
}

enum wg_outbound_verdict sim_send_bytes(struct sim *sim, int from, const uint8_t *packet,
                                        size_t len)
{
    struct sim_host *host = &sim->hosts[from];
    uint8_t sealed[SIM_DATAGRAM];
    memset(sealed, 0xa5, sizeof sealed); /* which must not leak into the padding */
    struct wg_outbound out = {.plain = packet, .len = len, .sealed = sealed};
    if (sim_random(sim) % 2 == 0) { /* in place or apart: either must do */
        memcpy(sealed + WG_HEADER_LEN, packet, len);
        out.plain = sealed + WG_HEADER_LEN;
    }
    wg_device_seal(host->dev, &out, 1, sim_host_time(host));
    if (out.verdict == WG_OUT_SEND && transmit(host, &out.endpoint, out.ds, sealed, out.sealed_len))
        wg_outbound_sent(&out);
    else if (out.verdict != WG_OUT_SEND)
        bytes_wipe(sealed, sizeof sealed);
    return out.verdict;
}

enum wg_outbound_verdict sim_send(struct sim *sim, int from, int to, uint32_t number, size_t len)
{
    uint8_t packet[SIM_DATAGRAM];
    return sim_send_bytes(sim, from, packet, sim_make_packet(packet, from, to, number, len));
}

static void open_at(struct sim_host *host, struct sim_datagram *datagram)
{
    struct wg_sink sink = sim_sink(host);
    struct wg_inbound in = {
        .bytes = datagram->bytes,
        .len = datagram->len,
        .from = {.remote = datagram->from, .source = {4, {192, 0, 2, 1}}},
        .ds = datagram->ds,
    };
    wg_device_open(host->dev, &in, 1, sim_host_time(host));
    switch (in.verdict) {
    case WG_IN_DELIVER:
        require(bytes_is_zero_ct(in.plain + in.plain_len, in.len - WG_DATA_OVERHEAD - in.plain_len),
                "padding is not zero");
        receive_packet(host, in.plain, in.plain_len);
        break;
    case WG_IN_CONSUMED:
    case WG_IN_PROHIBITED:
        break;
    case WG_IN_HANDSHAKE:
        wg_device_handshake(host->dev, datagram->bytes, datagram->len, &in.from, host->under_load,
                            sim_host_time(host), &sink);
        break;
    case WG_IN_DROP:
        host->dropped++;
        break;
    }
}

/* Seals a packet. It must be possible now. */
static struct wg_outbound seal_now(struct sim *sim, int from, int to, uint8_t sealed[SIM_DATAGRAM])
{
    uint8_t packet[SIM_DATAGRAM];
    struct wg_outbound out = {.plain = packet, .sealed = sealed};
    out.len = sim_make_packet(packet, from, to, 7, 100);
    wg_device_seal(sim->hosts[from].dev, &out, 1, sim_host_time(&sim->hosts[from]));
    require(out.verdict == WG_OUT_SEND, "no session");
    return out;
}

struct wg_endpoint sim_way(struct sim *sim, int from, int to)
{
    static uint8_t sealed[SIM_DATAGRAM];
    return seal_now(sim, from, to, sealed).endpoint;
}

void sim_speak_to(struct sim *sim, int from, int to, uint8_t n)
{
    static uint8_t sealed[SIM_DATAGRAM];
    struct wg_inbound in = {.bytes = sealed, .len = seal_now(sim, from, to, sealed).sealed_len};
    in.from.remote = sim->hosts[from].address;
    in.from.source = (struct ip_addr){.family = 4, .bytes = {198, 51, 100, n}};
    in.from.ifindex = 5;
    wg_device_open(sim->hosts[to].dev, &in, 1, sim_host_time(&sim->hosts[to]));
    require(in.verdict == WG_IN_DELIVER, "not delivered");
}

void sim_deliver(struct sim *sim, struct sim_datagram *datagram)
{
    for (int i = 0; i < sim->host_count; i++) {
        if (endpoint_equal(&sim->hosts[i].address, &datagram->to) && !sim->hosts[i].is_asleep)
            open_at(&sim->hosts[i], datagram);
    }
}

/* On the simulation's clock. */
static uint64_t next_deadline(const struct sim_host *host)
{
    uint64_t due = host->is_asleep ? WG_NEVER : wg_device_deadline(host->dev);
    if (due == WG_NEVER)
        return WG_NEVER;
    return due > host->boot_offset_ns ? due - host->boot_offset_ns : 0;
}

static void serve(struct sim_host *host)
{
    struct sim *sim = host->sim;
    struct wg_sink sink = sim_sink(host);
    if (host->is_asleep)
        return;
    for (int i = 0; host->is_woken || next_deadline(host) <= sim->now; i++) {
        require(i < 10, "the device asks for ever to be run now");
        host->is_woken = false;
        host->runs++;
        wg_device_run(host->dev, sim_host_time(host), &sink);
    }
    wg_garbage_free(wg_device_take_garbage(host->dev));
}

static size_t next_datagram(const struct sim *sim)
{
    size_t first = 0;
    for (size_t i = 1; i < sim->queued; i++) {
        const struct sim_datagram *a = sim->queue[i];
        const struct sim_datagram *b = sim->queue[first];
        if (a->arrives_ns < b->arrives_ns ||
            (a->arrives_ns == b->arrives_ns && a->order < b->order))
            first = i;
    }
    return first;
}

static uint64_t next_event(const struct sim *sim, uint64_t limit)
{
    uint64_t next = limit;
    for (int i = 0; i < sim->host_count; i++) {
        uint64_t due = next_deadline(&sim->hosts[i]);
        next = due < next ? due : next;
    }
    if (sim->queued > 0) {
        uint64_t arrives = sim->queue[next_datagram(sim)]->arrives_ns;
        next = arrives < next ? arrives : next;
    }
    return next > sim->now ? next : sim->now;
}

void sim_run(struct sim *sim, uint64_t for_ns)
{
    uint64_t end = sim->now + for_ns;
    for (;;) {
        for (int i = 0; i < sim->host_count; i++)
            serve(&sim->hosts[i]);
        uint64_t next = next_event(sim, end);
        if (next > end || (next == end && sim->now == end))
            break;
        sim->now = next;
        while (sim->queued > 0 && sim->queue[next_datagram(sim)]->arrives_ns <= sim->now) {
            size_t first = next_datagram(sim);
            struct sim_datagram *datagram = sim->queue[first];
            sim->queue[first] = sim->queue[--sim->queued];
            sim_deliver(sim, datagram);
            free(datagram);
        }
    }
}

struct wg_peer_info sim_info(struct sim *sim, int at, int of)
{
    struct wg_device_info info;
    struct wg_peer_info found = {0};
    ck_assert_int_eq(wg_device_info(sim->hosts[at].dev, &info), 0);
    for (size_t i = 0; i < info.peer_count; i++) {
        if (memcmp(info.peers[i].public_key, sim->hosts[of].public_key, WG_KEY_LEN) == 0)
            found = info.peers[i];
    }
    found.allowed_ips = NULL;
    wg_device_info_fini(&info);
    return found;
}
