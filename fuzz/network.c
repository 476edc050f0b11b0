#include "base/bytes.h"
#include "base/clock.h"
#include "fuzz/fuzz.h"
#include "wg/crypto/crypto.h"
#include "wg/crypto/x25519.h"
#include "wg/wg.h"

#include <stdlib.h>
#include <string.h>

/* Three devices on a network that does what the input says: loses, repeats, reorders, delays and
 * changes datagrams, moves hosts, lets time pass, and changes configurations under way. Whatever
 * happens: a packet arrives at most once, whole, and only where it was sent to; nothing is in the
 * clear; no counter is used twice; a device that is down is silent; nobody asks for ever to be run.
 * At the end the network becomes good and the configurations right, and then two of them must be
 * able to talk, or one to the other. */

enum {
    HOSTS = 3,
    FLYING = 48,   /* datagrams on their way; more push out the oldest */
    PACKETS = 512, /* that one input sends */
    STEPS = 96,
    ROOM = 1600,
    SLOTS = 4096, /* of the set of counters seen */
    HEAL_S = 40,
};

struct datagram {
    union endpoint from;
    union endpoint to;
    uint8_t ds;
    size_t len;
    uint8_t bytes[ROOM];
};

struct host {
    struct world *world;
    struct wg_device *dev;
    union endpoint address;
    bool is_up;
    bool is_woken;
    bool under_load;
    uint8_t private_key[32];
    uint8_t public_key[32];
};

struct packet {
    size_t from;
    size_t to;
    size_t len;
    bool has_arrived;
};

struct world {
    struct input input;
    uint64_t random;
    uint64_t now;
    struct host hosts[HOSTS];
    struct datagram *flying[FLYING];
    size_t flying_count;
    struct packet packets[PACKETS];
    size_t packet_count;
    uint8_t seen[SLOTS][13]; /* host, receiver, counter; a host of 0 is a free slot */
    size_t seen_count;
};

static uint8_t keys[HOSTS][2][32];
static const uint8_t marker[] = {0xc1, 0xea, 0x27, 0x3e, 0x87}; /* in every packet of ours */

static struct wg_time time_of(const struct world *world)
{
    return (struct wg_time){.boot_ns = world->now, .real_ns = NS_PER_SEC * 1700000000 + world->now};
}

static void random_bytes(void *ctx, void *out, size_t len)
{
    struct host *host = ctx;
    fuzz_random_bytes(&host->world->random, out, len);
}

static void wake(void *ctx)
{
    struct host *host = ctx;
    host->is_woken = true;
}

/* ---- the network ---- */

/* A counter under one key twice would be the end of all secrecy. */
static void check_counter(struct world *world, size_t host, const uint8_t *bytes)
{
    uint8_t key[13];
    key[0] = (uint8_t)(host + 1);
    memcpy(key + 1, bytes + 4, 12);
    if (world->seen_count == SLOTS / 2)
        return;
    for (size_t i = load_le32(key + 1) + load_le32(key + 5);; i++) {
        uint8_t *slot = world->seen[i % SLOTS];
        require(memcmp(slot, key, sizeof key) != 0);
        if (slot[0] == 0) {
            memcpy(slot, key, sizeof key);
            world->seen_count++;
            return;
        }
    }
}

static void check_sealed(const uint8_t *bytes, size_t len)
{
    require(memmem(bytes, len, marker, sizeof marker) == NULL);
}

static void take_out(struct world *world, size_t place)
{
    free(world->flying[place]);
    world->flying_count--;
    memmove(&world->flying[place], &world->flying[place + 1],
            (world->flying_count - place) * sizeof world->flying[0]);
}

static bool transmit(void *ctx, const struct wg_endpoint *to, uint8_t ds, const uint8_t *bytes,
                     size_t len)
{
    struct host *host = ctx;
    struct world *world = host->world;
    struct datagram *datagram = malloc(sizeof *datagram);
    require(datagram != NULL && host->is_up && len <= ROOM && len >= 32);
    require(endpoint_is_set(&to->remote) && bytes[0] >= 1 && bytes[0] <= 4);
    check_sealed(bytes, len);
    if (bytes[0] == 4)
        check_counter(world, (size_t)(host - world->hosts), bytes);
    datagram->from = host->address;
    datagram->to = to->remote;
    datagram->ds = ds;
    datagram->len = len;
    memcpy(datagram->bytes, bytes, len);
    if (world->flying_count == FLYING)
        take_out(world, 0);
    world->flying[world->flying_count++] = datagram;
    return true;
}

static struct wg_sink sink_of(struct host *host)
{
    return (struct wg_sink){.ctx = host, .send = transmit};
}

static void serve(struct host *host)
{
    struct wg_sink sink = sink_of(host);
    for (int i = 0; host->is_woken || wg_device_deadline(host->dev) <= host->world->now; i++) {
        require(i < 10);
        host->is_woken = false;
        wg_device_run(host->dev, time_of(host->world), &sink);
    }
    wg_garbage_free(wg_device_take_garbage(host->dev));
}

static void receive(struct world *world, size_t host, const uint8_t *plain, size_t len)
{
    require(len >= 32);
    uint32_t number = load_be32(plain + 20);
    require(number < world->packet_count);
    struct packet *packet = &world->packets[number];
    require(packet->to == host && packet->len == len && !packet->has_arrived);
    require(plain[15] == packet->from + 1 && plain[19] == packet->to + 1);
    for (size_t i = 32; i < len; i++)
        require(plain[i] == (uint8_t)(number + i));
    packet->has_arrived = true;
}

static void arrive(struct world *world, size_t number, const struct datagram *datagram)
{
    struct host *host = &world->hosts[number];
    struct wg_sink sink = sink_of(host);
    uint8_t *bytes = malloc(datagram->len);
    require(bytes != NULL);
    memcpy(bytes, datagram->bytes, datagram->len);
    struct wg_inbound in = {.bytes = bytes, .len = datagram->len, .ds = datagram->ds};
    in.from.remote = datagram->from;
    wg_device_open(host->dev, &in, 1, time_of(world));
    require(host->is_up || in.verdict == WG_IN_DROP);
    switch (in.verdict) {
    case WG_IN_DELIVER:
        receive(world, number, in.plain, in.plain_len);
        break;
    case WG_IN_HANDSHAKE:
        wg_device_handshake(host->dev, bytes, in.len, &in.from, host->under_load, time_of(world),
                            &sink);
        break;
    case WG_IN_CONSUMED:
    case WG_IN_PROHIBITED:
    case WG_IN_DROP:
        break;
    }
    free(bytes);
    serve(host);
}

/* To whoever has the address now. */
static void deliver(struct world *world, const struct datagram *datagram)
{
    for (size_t i = 0; i < HOSTS; i++) {
        if (endpoint_equal(&world->hosts[i].address, &datagram->to))
            arrive(world, i, datagram);
    }
}

static void deliver_all(struct world *world)
{
    for (int i = 0; world->flying_count > 0; i++) {
        require(i < 2000); /* devices do not answer each other for ever */
        struct datagram datagram = *world->flying[0];
        take_out(world, 0);
        deliver(world, &datagram);
    }
}

static void send_packet(struct world *world, size_t from, size_t to, size_t len)
{
    uint8_t packet[ROOM] = {0x45, [8] = 64, [9] = 17, [12] = 10, [16] = 10};
    uint8_t sealed[ROOM];
    struct host *host = &world->hosts[from];
    if (world->packet_count == PACKETS || from == to)
        return;
    uint32_t number = (uint32_t)world->packet_count++;
    world->packets[number] = (struct packet){.from = from, .to = to, .len = len};
    store_be16(packet + 2, (uint16_t)len);
    packet[15] = (uint8_t)(from + 1);
    packet[19] = (uint8_t)(to + 1);
    store_be32(packet + 20, number);
    memcpy(packet + 24, marker, sizeof marker);
    for (size_t i = 32; i < len; i++)
        packet[i] = (uint8_t)(number + i);
    struct wg_outbound out = {.plain = packet, .len = len, .sealed = sealed};
    wg_device_seal(host->dev, &out, 1, time_of(world));
    require(host->is_up || out.verdict == WG_OUT_DROP);
    if (out.verdict == WG_OUT_SEND)
        transmit(host, &out.endpoint, out.ds, sealed, out.sealed_len);
    serve(host);
}

static void pass_time(struct world *world, uint64_t ns)
{
    world->now += ns;
    for (size_t i = 0; i < HOSTS; i++)
        serve(&world->hosts[i]);
}

/* ---- configuration ---- */

static void configure(struct world *world, size_t at, const struct wg_device_config *config)
{
    struct host *host = &world->hosts[at];
    struct wg_sink sink = sink_of(host);
    require(wg_device_configure(host->dev, config, time_of(world), &sink) == 0);
    serve(host);
}

static void configure_peer(struct world *world, size_t at, size_t of, struct wg_peer_config peer)
{
    struct wg_device_config config = {.peers = &peer, .peer_count = 1};
    memcpy(peer.public_key, world->hosts[of].public_key, WG_KEY_LEN);
    configure(world, at, &config);
}

static void add_peer(struct world *world, size_t at, size_t of, bool endpoint)
{
    struct wg_allowed_ip_config ip = {.prefix = {{4, {10, 0, 0, (uint8_t)(of + 1)}}, 32}};
    struct wg_peer_config peer = {.has_endpoint = endpoint,
                                  .endpoint = world->hosts[of].address,
                                  .allowed_ips = &ip,
                                  .allowed_ip_count = 1};
    configure_peer(world, at, of, peer);
}

static void set_psk(struct world *world, size_t at, size_t of, uint8_t byte)
{
    struct wg_peer_config peer = {.has_preshared_key = true};
    memset(peer.preshared_key, byte, WG_KEY_LEN);
    configure_peer(world, at, of, peer);
}

/* With another key of its own, which the others learn or not. */
static void set_key(struct world *world, size_t at, size_t key, bool tell)
{
    struct host *host = &world->hosts[at];
    struct wg_device_config config = {.has_private_key = true};
    for (size_t i = 0; i < HOSTS && tell; i++) {
        if (i != at)
            configure_peer(world, i, at, (struct wg_peer_config){.remove = true});
    }
    memcpy(host->private_key, keys[at][key], 32);
    x25519_public(host->public_key, host->private_key);
    memcpy(config.private_key, host->private_key, 32);
    configure(world, at, &config);
    for (size_t i = 0; i < HOSTS && tell; i++) {
        if (i != at)
            add_peer(world, i, at, true);
    }
}

static void set_up(struct world *world, size_t at, bool up)
{
    struct host *host = &world->hosts[at];
    struct wg_sink sink = sink_of(host);
    if (up)
        host->is_up = true;
    wg_device_set_up(host->dev, up, time_of(world), &sink);
    host->is_up = up;
    serve(host);
}

static void move(struct world *world, size_t at, uint16_t port)
{
    struct ip_addr addr = {4, {192, 0, 2, (uint8_t)(at + 1)}};
    endpoint_from_addr(&world->hosts[at].address, &addr, port);
}

static void administer(struct world *world, uint8_t what)
{
    size_t at = (what >> 3) % HOSTS;
    size_t of = (at + 1 + (what >> 7)) % HOSTS;
    uint8_t value = input_byte(&world->input);
    struct wg_peer_config peer = {.has_keepalive = true, .keepalive_s = value % 32};
    switch (what % 8) {
    case 0:
        configure_peer(world, at, of, (struct wg_peer_config){.remove = true});
        break;
    case 1:
        add_peer(world, at, of, value & 1);
        break;
    case 2:
        set_psk(world, at, of, value % 2);
        break;
    case 3:
        configure_peer(world, at, of, peer);
        break;
    case 4:
        if (value < 64)
            set_key(world, at, value & 1, value & 2);
        break;
    case 5:
        set_up(world, at, !world->hosts[at].is_up);
        break;
    case 6:
        move(world, at, (uint16_t)(51820 + value % 4));
        break;
    case 7:
        world->hosts[at].under_load = value & 1;
        break;
    }
}

static void change_and_deliver(struct world *world, size_t place)
{
    struct datagram datagram = *world->flying[place];
    uint64_t where = input_number(&world->input, 2);
    datagram.bytes[where % datagram.len] ^= (uint8_t)(1 << (where >> 12) % 8);
    if (where & 0x800)
        datagram.len = 1 + where % datagram.len;
    deliver(world, &datagram);
}

static void step(struct world *world)
{
    uint8_t what = input_byte(&world->input);
    size_t place = world->flying_count > 0 ? (size_t)(what >> 4) % world->flying_count : 0;
    switch (what % 16) {
    case 0:
    case 1:
    case 2:
        send_packet(world, (what >> 4) % HOSTS, (what >> 6) % HOSTS,
                    32 + (size_t)input_byte(&world->input) * 5);
        break;
    case 3:
    case 4:
        administer(world, input_byte(&world->input));
        break;
    case 5:
        pass_time(world, (uint64_t)(what >> 4) * NS_PER_SEC);
        break;
    case 6:
        pass_time(world, (uint64_t)(what >> 4) * 40 * NS_PER_SEC);
        break;
    case 7:
        pass_time(world, input_number(&world->input, 2) * NS_PER_MS);
        break;
    case 8:
        deliver_all(world);
        break;
    default:
        break;
    }
    if (what % 16 <= 8 || world->flying_count == 0)
        return;
    struct datagram datagram = *world->flying[place];
    switch (what % 16) {
    case 9: /* late, and it stays to come again */
        deliver(world, &datagram);
        break;
    case 10:
        take_out(world, place);
        break;
    case 11:
        change_and_deliver(world, place);
        break;
    case 12: /* to somebody else */
        arrive(world, what >> 4 < 8 ? 0 : 1, &datagram);
        break;
    default:
        take_out(world, place);
        deliver(world, &datagram);
        break;
    }
}

/* ---- the end ---- */

/* Lets time pass from one deadline to the next. Were it to pass in steps, both sides would retry in
 * the same one and their initiations cross for ever, which the jitter is there to prevent. */
static void live(struct world *world, uint64_t ns)
{
    uint64_t end = world->now + ns;
    deliver_all(world);
    while (world->now < end) {
        uint64_t next = end;
        for (size_t i = 0; i < HOSTS; i++) {
            uint64_t due = wg_device_deadline(world->hosts[i].dev);
            next = due < next ? due : next;
        }
        pass_time(world, next > world->now ? next - world->now : 0);
        deliver_all(world);
    }
}

/* All is well from now on between two hosts: a packet a second, and those at the end must arrive.
 */
static void heal(struct world *world, size_t a, size_t b, bool one_way)
{
    size_t pair[2] = {a, b};
    deliver_all(world); /* first: what is still on its way may tell of an address before the last */
    for (size_t i = 0; i < 2; i++) {
        struct wg_peer_config peer = {.has_keepalive = true};
        if (!world->hosts[pair[i]].is_up)
            set_up(world, pair[i], true);
        world->hosts[pair[i]].under_load = false;
        add_peer(world, pair[i], pair[1 - i], true);
        set_psk(world, pair[i], pair[1 - i], 0);
        configure_peer(world, pair[i], pair[1 - i], peer);
    }
    deliver_all(world);
    size_t last = 0;
    world->packet_count =
        world->packet_count > PACKETS - 2 * HEAL_S ? PACKETS - 2 * HEAL_S : world->packet_count;
    for (int i = 0; i < HEAL_S; i++) {
        last = world->packet_count;
        send_packet(world, a, b, 64);
        if (!one_way)
            send_packet(world, b, a, 64);
        live(world, NS_PER_SEC);
    }
    require(world->packets[last].has_arrived);
    require(one_way || world->packets[last + 1].has_arrived);
}

static void init(struct world *world)
{
    world->now = 1000 * NS_PER_SEC;
    for (size_t i = 0; i < HOSTS; i++) {
        struct host *host = &world->hosts[i];
        struct wg_env env = {.ctx = host, .random = random_bytes, .wake = wake};
        host->world = world;
        for (size_t key = 0; key < 2; key++)
            memset(keys[i][key], (int)(1 + 2 * i + key), 32);
        move(world, i, 51820);
        require(wg_device_create(&host->dev, &env) == 0);
        set_key(world, i, 0, false);
        set_up(world, i, true);
    }
    for (size_t i = 0; i < HOSTS; i++) {
        for (size_t j = 0; j < HOSTS; j++) {
            if (i != j)
                add_peer(world, i, j, true);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    require(crypto_init() == 0);
    memset(&world, 0, sizeof world);
    world.input = (struct input){data, size};
    uint8_t which = input_byte(&world.input);
    init(&world);
    for (int i = 0; i < STEPS && input_has(&world.input); i++)
        step(&world);
    heal(&world, which % HOSTS, (which + 1u) % HOSTS, which >= 128);
    while (world.flying_count > 0)
        take_out(&world, 0);
    for (size_t i = 0; i < HOSTS; i++)
        wg_device_destroy(world.hosts[i].dev);
    return 0;
}
