#include "wg/path/outbound.h"

#include "base/list.h"
#include "base/log.h"
#include "base/log_once.h"
#include "wg/path/icmp.h"
#include "wg/path/rcu.h"
#include "wg/path/refusal.h"
#include "wg/path/shared.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

/* While the link is up, each turn: read the interface until it is empty or the batch is full, seal
 * the batch in place, send it, and answer packets that no peer takes. When the interface is empty,
 * sleep until it has packets. */

enum {
    BATCH = UDP_BATCH,
    /* Room for the data header in front, for tag and padding behind. Not a multiple of the page
     * size, so that slots do not compete for the same cache lines. */
    SLOT = WG_HEADER_LEN + TUN_PACKET_MAX + 1 + WG_DATA_OVERHEAD + 80,
    SEND_WAIT_MS = 1, /* how long a full socket may block the interface, a batch */
};

struct outbound {
    struct path *path;
    uint8_t *slots;
    bool drained; /* the interface had no more packets */
    struct icmp_limit icmp_limit;
    struct log_once looped;
    size_t count;
    struct wg_outbound packets[BATCH];
    struct udp_message messages[BATCH];
};

/* Whether the packet is a datagram of ours, which the host has routed back to where it came from. */
static bool is_looped(struct outbound *out, const struct tun_packet *packet)
{
    struct path *path = out->path;
    struct udp *udp = atomic_load_explicit(&path->udp, memory_order_acquire);
    if (udp == NULL || !own_is(&path->own, udp_port(udp), packet->bytes, packet->len))
        return false;
    atomic_fetch_add_explicit(&path->looped, 1, memory_order_relaxed);
    if (log_once(&out->looped))
        log_warn("the tunnel's own datagrams are routed into it and dropped: a route or rule of "
                 "this host covers a peer's endpoint",
                 F_STR("interface", tun_name(path->tun)));
    return true;
}

static void read_packets(struct outbound *out)
{
    out->count = 0;
    out->drained = false;
    for (int attempts = 0; out->count < BATCH && attempts < 2 * BATCH; attempts++) {
        uint8_t *slot = out->slots + out->count * SLOT;
        struct tun_packet packet = {.bytes = slot + WG_HEADER_LEN, .capacity = TUN_PACKET_MAX};
        int rc = tun_read(out->path->tun, &packet);
        if (rc == 0 && is_looped(out, &packet)) {
            continue;
        } else if (rc == 0) {
            out->packets[out->count++] =
                (struct wg_outbound){.plain = packet.bytes, .len = packet.len, .sealed = slot};
        } else if (rc != -EMSGSIZE && rc != -EINTR) {
            out->drained = true;
            if (rc != -EAGAIN)
                path_report_closed(out->path, strerror(-rc));
            return;
        }
    }
}

static void answer_unreachable(struct outbound *out, const struct wg_outbound *packet,
                               uint64_t boot_ns)
{
    uint8_t answer[ICMP_MAX];
    size_t len = icmp_build(answer, ICMP_UNREACHABLE, packet->plain, packet->len);
    if (len == 0 || !icmp_limit_allow(&out->icmp_limit, boot_ns))
        return;
    struct tun_packet reply = {.bytes = answer, .capacity = sizeof answer, .len = len};
    (void)tun_write(out->path->tun, &reply);
}

/* Seals the batch and collects the messages to send. Returns how many. */
static size_t seal_packets(struct outbound *out)
{
    struct wg_time now = path_now();
    wg_device_seal(out->path->device, out->packets, out->count, now);
    size_t ready = 0;
    for (size_t i = 0; i < out->count; i++) {
        struct wg_outbound *packet = &out->packets[i];
        switch (packet->verdict) {
        case WG_OUT_SEND:
            out->messages[ready++] = (struct udp_message){
                .bytes = packet->sealed,
                .len = packet->sealed_len,
                .endpoint = &packet->endpoint,
                .ds = packet->ds,
            };
            break;
        case WG_OUT_NO_PEER:
            if (!tap_takes_packet(&out->path->tap, packet->plain, packet->len))
                answer_unreachable(out, packet, now.boot_ns);
            break;
        case WG_OUT_NO_ENDPOINT:
            answer_unreachable(out, packet, now.boot_ns);
            break;
        case WG_OUT_PROHIBITED:
            refusal_answer(out->path, &out->icmp_limit, packet->plain, packet->len, now);
            break;
        case WG_OUT_STAGED:
        case WG_OUT_DROP:
            break;
        }
    }
    return ready;
}

/* Waits a moment for room in the full socket of the message's family. The thread stays within its
 * read-side section: peers may not go before their packets are counted. */
static bool wait_writable(struct outbound *out, const struct udp_message *message)
{
    struct path *path = out->path;
    struct udp *udp = atomic_load_explicit(&path->udp, memory_order_acquire);
    bool ipv6 = message->endpoint->remote.sa.sa_family == AF_INET6;
    if (udp == NULL)
        return false;
    struct pollfd fd = {.fd = udp_fd(udp, ipv6 ? UDP_IPV6 : UDP_IPV4), .events = POLLOUT};
    return poll(&fd, 1, SEND_WAIT_MS) > 0;
}

static void count_sent(const struct udp_message *messages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!messages[i].refused)
            wg_outbound_sent(container_of(messages[i].endpoint, struct wg_outbound, endpoint));
    }
}

/* A socket's buffer is as large as the system permits, so that a slow uplink fills its own queue and
 * not the buffer, which all peers of a family share. What does not fit even so is lost, as on a full
 * link: waiting for it would hold up the packets of all others. */
static void send_messages(struct outbound *out, size_t count)
{
    size_t done = path_send(out->path, out->messages, count);
    if (done < count && wait_writable(out, &out->messages[done]))
        done += path_send(out->path, out->messages + done, count - done);
    count_sent(out->messages, done);
    if (done < count)
        atomic_fetch_add_explicit(&out->path->dropped, count - done, memory_order_relaxed);
}

/* Packets of a link that has just come up wait until the engine knows of it. The removal of an
 * interface is an error on its descriptor, and poll reports it only to those that wait for input:
 * POLLPRI counts as input, and no packet raises it. */
static void wait_for_packets(struct outbound *out, bool up)
{
    struct path *path = out->path;
    bool closed = atomic_load_explicit(&path->closed, memory_order_relaxed);
    struct pollfd fds[] = {
        {.fd = path->wake_outbound.fd, .events = POLLIN},
        {.fd = closed ? -1 : tun_fd(path->tun), .events = up ? POLLIN : POLLPRI},
    };
    path_sleep(fds, 2, -1);
    if (fds[0].revents != 0)
        wake_clear(&path->wake_outbound);
    if (!up && fds[1].revents != 0)
        read_packets(out); /* sees that the interface is gone */
}

static void outbound_run(struct outbound *out)
{
    while (!atomic_load_explicit(&out->path->stopping, memory_order_acquire)) {
        bool up = atomic_load(&out->path->link_up);
        if (up)
            read_packets(out);
        if (up && out->count > 0)
            send_messages(out, seal_packets(out));
        rcu_reader_quiesce();
        if (!up || out->drained)
            wait_for_packets(out, up);
    }
}

void *outbound_main(void *path)
{
    struct outbound out = {.path = path};
    out.slots = path_slots_create(BATCH, SLOT);
    if (out.slots == NULL) {
        path_report_closed(path, "out of memory");
        return NULL;
    }
    rcu_reader_register();
    outbound_run(&out);
    rcu_reader_unregister();
    path_slots_destroy(out.slots, BATCH, SLOT);
    return NULL;
}
