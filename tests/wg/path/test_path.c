#include "wg/path/path.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/unit.h"
#include "tun/tun.h"
#include "wg/cookie.h"
#include "wg/path/tap.h"
#include "wg/wire.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Two devices with real threads and sockets on the loopback interface. Their interfaces are pairs
 * in memory; the test holds the outer ends. */

enum { INNER_MAX = 1420 };

struct side {
    struct path *path;
    struct tun *inner; /* the path's */
    struct tun *outer; /* the test's end */
    uint8_t address;   /* 10.0.0.N */
    uint16_t port;
    uint8_t public_key[WG_KEY_LEN];
    atomic_int closed;
};

static struct side a, b;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
int __real_posix_memalign(void **out, size_t alignment, size_t size);
int __wrap_posix_memalign(void **out, size_t alignment, size_t size);
/* Of this thread: those of other paths allocate at any time. -1: any number. */
static _Thread_local long allowed_allocations = -1;

static bool is_refused(void)
{
    return allowed_allocations >= 0 && allowed_allocations-- == 0;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return is_refused() ? NULL : __real_calloc(count, size);
}

int __wrap_posix_memalign(void **out, size_t alignment, size_t size)
{
    return is_refused() ? ENOMEM : __real_posix_memalign(out, alignment, size);
}

static void on_closed(void *ctx, const char *reason)
{
    struct side *side = ctx;
    ck_assert_ptr_nonnull(reason);
    atomic_fetch_add(&side->closed, 1);
}

static void configure(struct side *side, const struct wg_device_config *config)
{
    struct err err = {0};
    ck_assert_msg(path_configure(side->path, config, &err) == 0, "%s", err.text);
    struct path_info info;
    ck_assert_int_eq(path_info(side->path, &info), 0);
    side->port = info.listen_port;
    memcpy(side->public_key, info.device.public_key, WG_KEY_LEN);
    path_info_fini(&info);
}

static void open_side(struct side *side, uint8_t address, bool portable)
{
    struct err err = {0};
    *side = (struct side){.address = address};
    ck_assert_int_eq(tun_memory(&side->inner, &side->outer), 0);
    struct path_options options = {
        .tun = side->inner, .on_closed = on_closed, .ctx = side, .portable_udp = portable};
    ck_assert_msg(path_create(&side->path, &options, &err) == 0, "%s", err.text);
    ck_assert_msg(path_start(side->path, &err) == 0, "%s", err.text);
    struct wg_device_config config = {.has_private_key = true};
    memset(config.private_key, address, WG_KEY_LEN);
    configure(side, &config);
    ck_assert_uint_ne(side->port, 0); /* the link is up, so that a port was taken */
}

static struct wg_allowed_ip_config host_ip(uint8_t address)
{
    struct wg_allowed_ip_config ip = {.prefix = {.addr = {.family = 4}, .len = 32}};
    memcpy(ip.prefix.addr.bytes, (uint8_t[]){10, 0, 0, address}, 4);
    return ip;
}

static void add_peer(struct side *side, const struct side *peer, const char *host)
{
    struct ip_addr addr;
    struct wg_allowed_ip_config ip = host_ip(peer->address);
    struct wg_peer_config config = {.allowed_ips = &ip, .allowed_ip_count = 1};
    memcpy(config.public_key, peer->public_key, WG_KEY_LEN);
    if (host != NULL) {
        config.has_endpoint = true;
        ck_assert(ip_addr_parse(&addr, host));
        endpoint_from_addr(&config.endpoint, &addr, peer->port);
    }
    struct wg_device_config change = {.peers = &config, .peer_count = 1};
    configure(side, &change);
}

static void setup(void)
{
    open_side(&a, 1, false);
    open_side(&b, 2, true);
}

static void teardown(void)
{
    path_destroy(a.path);
    path_destroy(b.path);
    tun_close(a.outer);
    tun_close(b.outer);
}

/* An IPv4 packet of `len` bytes that carries `number`. */
static void make_packet(uint8_t *out, size_t len, uint8_t from, uint8_t to, uint32_t number)
{
    memset(out, (int)number, len);
    memset(out, 0, 28);
    out[0] = 0x45;
    store_be16(out + 2, (uint16_t)len);
    out[8] = 64;
    out[9] = 17;
    memcpy(out + 12, (uint8_t[]){10, 0, 0, from}, 4);
    memcpy(out + 16, (uint8_t[]){10, 0, 0, to}, 4);
    store_be32(out + 20, number);
}

static void put(struct side *side, const uint8_t *bytes, size_t len)
{
    struct tun_packet packet = {.bytes = (uint8_t *)(uintptr_t)bytes, .capacity = len, .len = len};
    for (int i = 0; i < 5000; i++) {
        int rc = tun_write(side->outer, &packet);
        if (rc == 0)
            return;
        ck_assert_int_eq(rc, -EAGAIN);
        usleep(200);
    }
    ck_abort_msg("the device takes no packets");
}

/* The next packet that leaves a device, or 0 after the time-out. */
static size_t take(struct side *side, uint8_t *out, int timeout_ms)
{
    struct pollfd fd = {.fd = tun_fd(side->outer), .events = POLLIN};
    struct tun_packet packet = {.bytes = out, .capacity = TUN_PACKET_MAX};
    if (poll(&fd, 1, timeout_ms) != 1)
        return 0;
    ck_assert_int_eq(tun_read(side->outer, &packet), 0);
    return packet.len;
}

static void check_crossing(struct side *from, struct side *to, uint32_t number, size_t len)
{
    static uint8_t sent[TUN_PACKET_MAX], got[TUN_PACKET_MAX];
    make_packet(sent, len, from->address, to->address, number);
    put(from, sent, len);
    ck_assert_uint_eq(take(to, got, 5000), len);
    ck_assert_mem_eq(got, sent, len);
}

static const char *const hosts[] = {"127.0.0.1", "::1"};

START_TEST(packets_cross_both_ways)
{
    add_peer(&b, &a, NULL); /* learns the endpoint from the handshake */
    add_peer(&a, &b, hosts[_i]);
    for (uint32_t i = 0; i < 1000; i++) {
        size_t len = 28 + i * 7 % (INNER_MAX - 28);
        check_crossing(&a, &b, i, len);
        check_crossing(&b, &a, i, len);
    }
    struct path_info info;
    ck_assert_int_eq(path_info(b.path, &info), 0);
    ck_assert_uint_eq(info.device.peer_count, 1);
    ck_assert_uint_ne(info.device.peers[0].last_handshake_ns, 0);
    ck_assert_uint_gt(info.device.peers[0].rx_bytes, 60000);
    ck_assert_uint_eq(endpoint_port(&info.device.peers[0].endpoint), a.port);
    ck_assert(info.up);
    ck_assert_uint_eq(info.mtu, 1500);
    path_info_fini(&info);
}
END_TEST

/* Packets staged before the handshake go out in order after it. */
START_TEST(burst_stays_in_order)
{
    enum { BURST = 100 };
    uint8_t packet[TUN_PACKET_MAX];
    add_peer(&b, &a, NULL);
    add_peer(&a, &b, "127.0.0.1");
    for (uint32_t i = 0; i < BURST; i++) {
        make_packet(packet, 200, 1, 2, i);
        put(&a, packet, 200);
    }
    for (uint32_t i = 0; i < BURST; i++) {
        ck_assert_uint_eq(take(&b, packet, 5000), 200);
        ck_assert_uint_eq(load_be32(packet + 20), i);
    }
}
END_TEST

START_TEST(port_moves_under_traffic)
{
    add_peer(&b, &a, NULL);
    add_peer(&a, &b, "127.0.0.1");
    for (uint32_t i = 0; i < 20; i++) {
        uint16_t before = a.port;
        struct wg_device_config config = {.has_listen_port = true};
        configure(&a, &config);
        ck_assert_uint_ne(a.port, before);
        check_crossing(&a, &b, i, 100);
        check_crossing(&b, &a, i, 100); /* b has followed */
    }
}
END_TEST

START_TEST(own_port_is_not_busy)
{
    uint16_t port = a.port;
    struct wg_device_config config = {.has_listen_port = true, .listen_port = port};
    add_peer(&b, &a, NULL);
    add_peer(&a, &b, "127.0.0.1");
    check_crossing(&a, &b, 1, 100);
    configure(&a, &config);
    ck_assert_uint_eq(a.port, port);
    check_crossing(&a, &b, 2, 100);
}
END_TEST

START_TEST(busy_port_changes_nothing)
{
    struct err err = {0};
    struct wg_allowed_ip_config ip = host_ip(9);
    struct wg_peer_config peer = {.public_key = {9}, .allowed_ips = &ip, .allowed_ip_count = 1};
    struct wg_device_config config = {
        .has_listen_port = true,
        .listen_port = b.port,
        .has_private_key = true,
        .peers = &peer,
        .peer_count = 1,
    };
    ck_assert_int_eq(path_configure(a.path, &config, &err), -EADDRINUSE);
    char port[16];
    snprintf(port, sizeof port, "port %u", b.port);
    ck_assert_ptr_nonnull(strstr(err.text, port));
    ck_assert_ptr_nonnull(strstr(err.text, "--endpoint-port"));
    struct path_info info;
    ck_assert_int_eq(path_info(a.path, &info), 0);
    ck_assert_uint_eq(info.listen_port, a.port);
    ck_assert(info.device.has_private_key);
    ck_assert_uint_eq(info.device.peer_count, 0);
    path_info_fini(&info);
}
END_TEST

static void assert_sockets(uint16_t port, uint32_t fwmark)
{
    struct path_info info;
    ck_assert_int_eq(path_info(a.path, &info), 0);
    ck_assert_uint_eq(info.listen_port, port);
    ck_assert_uint_eq(info.fwmark, fwmark);
    path_info_fini(&info);
}

/* The sockets are changed first: when the engine refuses the rest, they are as they were. */
START_TEST(refused_change_leaves_port_and_mark)
{
    static const struct wg_device_config changes[] = {
        {.has_listen_port = true}, /* any other port */
        {.has_fwmark = true, .fwmark = 9},
        {.has_listen_port = true, .has_fwmark = true, .fwmark = 9},
    };
    struct wg_device_config before = {.has_fwmark = true, .fwmark = 7};
    struct wg_allowed_ip_config bad = {.prefix = {.addr = {.family = 4}, .len = 33}};
    struct wg_peer_config peer = {.public_key = {9}, .allowed_ips = &bad, .allowed_ip_count = 1};
    configure(&a, &before);
    uint16_t port = a.port;
    add_peer(&b, &a, "127.0.0.1");
    add_peer(&a, &b, "127.0.0.1");
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        struct err err = {0};
        struct wg_device_config change = changes[i];
        change.peers = &peer;
        change.peer_count = 1;
        ck_assert_int_eq(path_configure(a.path, &change, &err), -EINVAL);
        assert_sockets(port, 7);
        check_crossing(&a, &b, (uint32_t)i, 100);
        check_crossing(&b, &a, (uint32_t)i, 100);
    }
}
END_TEST

static void await_dropped(struct side *side, uint64_t count, struct path_info *info)
{
    for (int i = 0; i < 5000; i++) {
        ck_assert_int_eq(path_info(side->path, info), 0);
        if (info->dropped >= count)
            return;
        path_info_fini(info);
        usleep(1000);
    }
    ck_abort_msg("nothing is refused");
}

/* The kernel refuses a broadcast address: neither handshakes nor data count as sent. */
START_TEST(refused_datagrams_do_not_count_as_sent)
{
    uint8_t packet[100];
    struct path_info info;
    add_peer(&b, &a, NULL);
    add_peer(&a, &b, "127.0.0.1");
    check_crossing(&a, &b, 1, 100);
    add_peer(&a, &b, "255.255.255.255");
    ck_assert_int_eq(path_info(a.path, &info), 0);
    uint64_t before = info.device.peers[0].tx_bytes;
    ck_assert_uint_ne(before, 0);
    path_info_fini(&info);
    make_packet(packet, sizeof packet, 1, 2, 2);
    put(&a, packet, sizeof packet);
    await_dropped(&a, 1, &info);
    ck_assert_uint_eq(info.device.peers[0].tx_bytes, before);
    path_info_fini(&info);

    struct wg_peer_config gone = {.remove = true};
    memcpy(gone.public_key, b.public_key, WG_KEY_LEN);
    configure(&a, &(struct wg_device_config){.peers = &gone, .peer_count = 1});
    add_peer(&a, &b, "255.255.255.255");
    put(&a, packet, sizeof packet);
    await_dropped(&a, 2, &info);
    ck_assert_uint_eq(info.device.peers[0].tx_bytes, 0);
    path_info_fini(&info);
}
END_TEST

/* Peer b of hub a sends to 10.0.0.9, which is another peer's: refused, and b is answered. What the
 * host would send between the two is refused, too, as if it came by another way. */
START_TEST(peers_that_are_kept_apart)
{
    enum { HEADERS = 28 };
    uint8_t packet[100], got[TUN_PACKET_MAX];
    struct path_info info;
    struct ip_prefix network = {{4, {10, 0, 0, 0}}, 24};
    struct wg_allowed_ip_config all = {.prefix = network};
    add_peer(&a, &b, NULL);
    add_peer(&b, &a, "127.0.0.1");
    struct wg_peer_config hub = {.allowed_ips = &all, .allowed_ip_count = 1};
    memcpy(hub.public_key, a.public_key, WG_KEY_LEN);
    configure(&b, &(struct wg_device_config){.peers = &hub, .peer_count = 1});
    check_crossing(&b, &a, 1, 100);

    struct ip_prefix apart[2] = {{{4, {10, 0, 0, 2}}, 31}, {{4, {10, 0, 0, 8}}, 29}};
    ck_assert_int_eq(path_keep_apart(a.path, apart, 2), 0);
    check_crossing(&b, &a, 2, 100);
    make_packet(packet, sizeof packet, 2, 9, 3);
    put(&b, packet, sizeof packet);
    ck_assert_uint_eq(take(&b, got, 5000), HEADERS + sizeof packet);
    ck_assert_mem_eq(got + 12, packet + 16, 4);
    ck_assert_uint_eq(got[20], 3);
    ck_assert_uint_eq(got[21], 13);
    ck_assert_mem_eq(got + HEADERS, packet, sizeof packet);
    ck_assert_uint_eq(take(&a, got, 0), 0);
    make_packet(packet, sizeof packet, 9, 2, 4);
    put(&a, packet, sizeof packet);
    check_crossing(&a, &b, 5, 100);
    ck_assert_int_eq(path_info(a.path, &info), 0);
    ck_assert_uint_eq(info.prohibited, 2);
    path_info_fini(&info);

    ck_assert_int_eq(path_keep_apart(a.path, NULL, 0), 0);
    put(&a, packet, sizeof packet);
    ck_assert_uint_eq(take(&b, got, 5000), sizeof packet);
}
END_TEST

/* A datagram of a's to b, as it comes when the host routes it into a's interface. */
START_TEST(own_datagrams_are_not_sent_again)
{
    uint8_t packet[120], got[TUN_PACKET_MAX];
    struct path_info info;
    struct wg_allowed_ip_config all = {.prefix = {.addr = {.family = 4}}};
    add_peer(&b, &a, NULL);
    add_peer(&a, &b, "127.0.0.1");
    struct wg_peer_config exit_node = {.allowed_ips = &all, .allowed_ip_count = 1};
    memcpy(exit_node.public_key, b.public_key, WG_KEY_LEN);
    configure(&a, &(struct wg_device_config){.peers = &exit_node, .peer_count = 1});
    check_crossing(&a, &b, 1, 100);
    make_packet(packet, sizeof packet, 1, 2, 0);
    memcpy(packet + 16, (uint8_t[]){127, 0, 0, 1}, 4);
    store_be16(packet + 20, a.port);
    store_be16(packet + 22, b.port);
    packet[28] = WIRE_DATA;
    for (int i = 0; i < 10; i++)
        put(&a, packet, sizeof packet);
    store_be16(packet + 20, (uint16_t)(a.port ^ 1)); /* another program's is none of ours */
    put(&a, packet, sizeof packet);
    ck_assert_uint_eq(take(&b, got, 5000), sizeof packet);
    ck_assert_uint_eq(take(&b, got, 0), 0);
    ck_assert_int_eq(path_info(a.path, &info), 0);
    ck_assert_uint_eq(info.looped, 10);
    path_info_fini(&info);
}
END_TEST

START_TEST(unroutable_packet_is_answered)
{
    uint8_t packet[TUN_PACKET_MAX];
    make_packet(packet, 100, 1, 77, 0);
    put(&a, packet, 100);
    ck_assert_uint_eq(take(&a, packet, 5000), 128); /* 20 + 8 + the packet */
    ck_assert_uint_eq(packet[9], 1);
    ck_assert_uint_eq(packet[20], 3);
    /* A peer without an endpoint is unreachable, too. */
    add_peer(&a, &b, NULL);
    make_packet(packet, 100, 1, 2, 0);
    put(&a, packet, 100);
    ck_assert_uint_eq(take(&a, packet, 5000), 128);
}
END_TEST

static void set_link(struct side *side, bool up, uint32_t mtu)
{
    bool followed = false;
    ck_assert_int_eq(tun_memory_set_link(side->inner, up, mtu), 0);
    for (int i = 0; i < 500 && !followed; i++) {
        struct path_info info;
        usleep(1000);
        ck_assert_int_eq(path_info(side->path, &info), 0);
        followed = info.up == up && info.mtu == mtu;
        path_info_fini(&info);
    }
    ck_assert(followed);
}

/* A device that is down neither sends nor receives; up again, it makes a new session. */
START_TEST(link_is_followed)
{
    uint8_t packet[TUN_PACKET_MAX];
    add_peer(&b, &a, NULL);
    add_peer(&a, &b, "127.0.0.1");
    check_crossing(&a, &b, 1, 100);
    set_link(&a, false, 1400);
    make_packet(packet, 100, 2, 1, 2);
    put(&b, packet, 100);
    ck_assert_uint_eq(take(&a, packet, 300), 0);
    set_link(&a, true, 1300);
    check_crossing(&a, &b, 3, 100);
}
END_TEST

/* As if the link had come up and the engine did not know it yet. */
START_TEST(packets_wait_for_the_link)
{
    uint8_t packet[TUN_PACKET_MAX];
    uint8_t got[TUN_PACKET_MAX];
    add_peer(&b, &a, NULL);
    add_peer(&a, &b, "127.0.0.1");
    check_crossing(&a, &b, 1, 100);
    set_link(&a, false, 1400);
    make_packet(packet, 100, 1, 2, 2);
    put(&a, packet, 100);
    ck_assert_uint_eq(take(&b, got, 100), 0);
    set_link(&a, true, 1400);
    ck_assert_uint_eq(take(&b, got, 5000), 100);
    ck_assert_mem_eq(got, packet, 100);
}
END_TEST

/* A socket that holds a UDP port. */
static int take_port(uint16_t *port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(*port)};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    *port = ntohs(addr.sin_port);
    return fd;
}

/* The port is another program's when the link comes up: it is not shown, and taken when it is
 * free. */
START_TEST(a_port_that_is_taken_is_retried)
{
    struct path_info info;
    uint16_t port = 0;
    add_peer(&b, &a, NULL);
    add_peer(&a, &b, "127.0.0.1");
    set_link(&b, false, 1400);
    port = b.port;
    int fd = take_port(&port);
    set_link(&b, true, 1400);
    ck_assert_int_eq(path_info(b.path, &info), 0);
    bool any = info.listen_port != port; /* the port was not asked for by number */
    path_info_fini(&info);
    ck_assert(any);
    close(fd);

    struct wg_device_config config = {.has_listen_port = true, .listen_port = port};
    configure(&b, &config);
    set_link(&b, false, 1400);
    fd = take_port(&port);
    set_link(&b, true, 1400);
    ck_assert_int_eq(path_info(b.path, &info), 0);
    ck_assert(info.has_no_socket);
    ck_assert_uint_eq(info.missing_port, port);
    ck_assert_uint_eq(info.listen_port, 0);
    path_info_fini(&info);
    close(fd);
    bool is_open = false;
    for (int i = 0; i < 2000 && !is_open; i++) {
        usleep(10000);
        ck_assert_int_eq(path_info(b.path, &info), 0);
        is_open = !info.has_no_socket && info.listen_port == port;
        path_info_fini(&info);
    }
    ck_assert(is_open);
    check_crossing(&a, &b, 1, 100);
}
END_TEST

START_TEST(closed_interface_is_reported_once)
{
    tun_close(a.outer);
    for (int i = 0; i < 500 && atomic_load(&a.closed) == 0; i++)
        usleep(10000);
    usleep(50000);
    ck_assert_int_eq(atomic_load(&a.closed), 1);
    path_destroy(a.path);
    open_side(&a, 1, false);
}
END_TEST

START_TEST(device_stops_and_starts_again)
{
    struct err err;
    add_peer(&b, &a, NULL);
    add_peer(&a, &b, "127.0.0.1");
    check_crossing(&a, &b, 1, 100);
    for (int i = 0; i < 5; i++) {
        path_stop(a.path);
        ck_assert_int_eq(path_start(a.path, &err), 0);
        check_crossing(&a, &b, 2, 100);
    }
}
END_TEST

/* The first, the second, and every later piece of memory refused. */
START_TEST(refused_memory_makes_no_path)
{
    struct tun *inner, *outer;
    struct path *path = NULL;
    struct err err = {0};
    ck_assert_int_eq(tun_memory(&inner, &outer), 0);
    int rc = -ENOMEM;
    int n = 0;
    for (; rc != 0; n++) {
        struct path_options options = {.tun = inner};
        allowed_allocations = n;
        rc = path_create(&path, &options, &err);
        allowed_allocations = -1;
        ck_assert(rc == 0 || rc == -ENOMEM);
        ck_assert_msg((path == NULL) == (rc != 0), "%s", err.text);
    }
    ck_assert_int_eq(n, 4); /* the path, the queue, the device; then it has all */
    path_destroy(path);
    tun_close(outer);
}
END_TEST

enum { STRANGERS = 20000 };

/* Delays the slow thread, which waits for the device's lock. */
static void configure_strangers(struct side *side, bool remove)
{
    static struct wg_peer_config peers[STRANGERS];
    for (uint32_t i = 0; i < STRANGERS; i++) {
        peers[i].remove = remove;
        store_be32(peers[i].public_key, i + 1);
    }
    struct wg_device_config change = {.peers = peers, .peer_count = STRANGERS};
    configure(side, &change);
}

static atomic_bool flooding;

/* Forged initiations to b whose mac1 is right. */
static void *flood(void *fd)
{
    struct cookie_maker maker;
    uint8_t message[WIRE_INITIATION_LEN] = {WIRE_INITIATION};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(b.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cookie_maker_init(&maker, b.public_key);
    for (uint32_t i = 0; atomic_load(&flooding); i++) {
        store_be32(message + 4, i);
        cookie_maker_add_macs(&maker, message, sizeof message, 1);
        sendto(*(int *)fd, message, sizeof message, 0, (struct sockaddr *)&to, sizeof to);
    }
    return NULL;
}

/* A flooding source is asked for a cookie, and only then. */
START_TEST(load_is_answered_with_cookies)
{
    uint8_t answer[WIRE_INITIATION_LEN];
    pthread_t thread;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    bool answered = false;
    atomic_store(&flooding, true);
    ck_assert_int_eq(pthread_create(&thread, NULL, flood, &fd), 0);
    for (int i = 0; i < 50 && !answered; i++) {
        configure_strangers(&b, i % 2 != 0);
        answered = poll(&ready, 1, 100) == 1;
    }
    atomic_store(&flooding, false);
    pthread_join(thread, NULL);
    ck_assert(answered);
    ck_assert_int_eq(recv(fd, answer, sizeof answer, 0), WIRE_COOKIE_REPLY_LEN);
    ck_assert_uint_eq(answer[0], WIRE_COOKIE_REPLY);
    close(fd);
}
END_TEST

/* A slow thread that always has handshakes to look at still follows the link. */
START_TEST(the_link_is_followed_during_a_flood)
{
    pthread_t threads[2];
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    set_link(&b, true, 1400);
    atomic_store(&flooding, true);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, flood, &fd), 0);
    for (uint32_t i = 0; i < 20; i++)
        set_link(&b, true, 1300 + i);
    atomic_store(&flooding, false);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    close(fd);
}
END_TEST

/* Junk and a flood of forged handshakes leave the session alone. */
START_TEST(flood_does_not_stop_data)
{
    enum { FLOOD = 20000 };
    add_peer(&b, &a, NULL);
    add_peer(&a, &b, "127.0.0.1");
    check_crossing(&a, &b, 1, 100);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(b.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint8_t junk[148] = {1};
    for (uint32_t i = 0; i < FLOOD; i++) {
        store_be32(junk + 100, i);
        sendto(fd, junk, i % 7 == 0 ? i % 148 : 148, 0, (struct sockaddr *)&to, sizeof to);
        if (i % 1000 == 0)
            check_crossing(&b, &a, i, 100);
    }
    close(fd);
    check_crossing(&b, &a, FLOOD, 100);
}
END_TEST

/* ---- the tap ---- */

struct tapped {
    atomic_uint count;
    atomic_size_t len;
};

static void on_tapped(void *ctx, const uint8_t *bytes, size_t len)
{
    struct tapped *tapped = ctx;
    ck_assert_uint_eq(bytes[19], 99);
    atomic_store(&tapped->len, len);
    atomic_fetch_add(&tapped->count, 1);
}

static bool await_count(struct tapped *tapped, unsigned count)
{
    for (int i = 0; i < 5000 && atomic_load(&tapped->count) < count; i++)
        usleep(1000);
    return atomic_load(&tapped->count) == count;
}

/* Packets for its address end in the tap while it is open, and are answered as unreachable else. */
START_TEST(packets_for_the_tap)
{
    struct tapped tapped = {0};
    uint8_t packet[TUN_PACKET_MAX];
    struct ip_prefix networks[2] = {host_ip(99).prefix};
    tap_open(path_tap(a.path), networks, on_tapped, &tapped);
    make_packet(packet, 100, 1, 99, 7);
    put(&a, packet, 100);
    ck_assert(await_count(&tapped, 1));
    ck_assert_uint_eq(atomic_load(&tapped.len), 100);
    make_packet(packet, 100, 1, 98, 7); /* another's */
    put(&a, packet, 100);
    ck_assert_uint_ne(take(&a, packet, 5000), 0);
    tap_close(path_tap(a.path));
    make_packet(packet, 100, 2, 99, 7);
    put(&a, packet, 100);
    ck_assert_uint_ne(take(&a, packet, 5000), 0);
    ck_assert_uint_eq(atomic_load(&tapped.count), 1);
    make_packet(packet, 50, 99, 1, 7);
    ck_assert_int_eq(path_inject(a.path, packet, 50), 0);
    ck_assert_uint_eq(take(&a, packet, 5000), 50);
}
END_TEST

/* Only the datagram that is waited for counts. */
START_TEST(datagram_for_the_tap)
{
    uint8_t nonce[TAP_NONCE_LEN] = {1, 2, 3};
    uint8_t datagram[TAP_DATAGRAM_LEN];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(a.port)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    tap_make_datagram(datagram, nonce);
    tap_expect(path_tap(a.path), nonce);
    datagram[TAP_DATAGRAM_LEN - 1] ^= 1;
    ck_assert_int_eq(send(fd, datagram, sizeof datagram, 0), (ssize_t)sizeof datagram);
    datagram[TAP_DATAGRAM_LEN - 1] ^= 1;
    usleep(20000);
    ck_assert(!tap_reached(path_tap(a.path)));
    for (int i = 0; i < 5000 && !tap_reached(path_tap(a.path)); i++) {
        (void)send(fd, datagram, sizeof datagram, 0);
        usleep(1000);
    }
    ck_assert_uint_eq(tap_reached(path_tap(a.path)), sizeof datagram);
    tap_expect(path_tap(a.path), nonce);
    ck_assert(!tap_reached(path_tap(a.path)));
    close(fd);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("path");
    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, packets_cross_both_ways, 0, ARRAY_LEN(hosts));
    tcase_add_test(tc, burst_stays_in_order);
    tcase_add_test(tc, port_moves_under_traffic);
    tcase_add_test(tc, own_port_is_not_busy);
    tcase_add_test(tc, busy_port_changes_nothing);
    if (unit_is_root())
        tcase_add_test(tc, refused_change_leaves_port_and_mark);
    tcase_add_test(tc, unroutable_packet_is_answered);
    tcase_add_test(tc, peers_that_are_kept_apart);
    tcase_add_test(tc, refused_datagrams_do_not_count_as_sent);
    tcase_add_test(tc, own_datagrams_are_not_sent_again);
    tcase_add_test(tc, link_is_followed);
    tcase_add_test(tc, packets_wait_for_the_link);
    tcase_add_test(tc, a_port_that_is_taken_is_retried);
    tcase_add_test(tc, closed_interface_is_reported_once);
    tcase_add_test(tc, device_stops_and_starts_again);
    tcase_add_test(tc, refused_memory_makes_no_path);
    tcase_add_test(tc, load_is_answered_with_cookies);
    tcase_add_test(tc, flood_does_not_stop_data);
    tcase_add_test(tc, packets_for_the_tap);
    tcase_add_test(tc, datagram_for_the_tap);
    tcase_add_test(tc, the_link_is_followed_during_a_flood);
    return unit_run(tc);
}
