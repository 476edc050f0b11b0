#include "wg/path/inbound.h"

#include "wg/path/rcu.h"
#include "wg/path/refusal.h"
#include "wg/path/shared.h"

#include <poll.h>

/* Each turn: a batch from each socket, opened in place. Inner packets go to the interface,
 * handshake messages are copied into the queue. When neither socket had a full batch, sleep
 * until one has something. The sockets may be replaced during the sleep, so each turn loads them
 * again. */

enum {
    BATCH = UDP_BATCH,
    SLOT = UDP_DATAGRAM_MAX + 1 + 128, /* not a multiple of the page size, see outbound.c */
};

struct inbound {
    struct path *path;
    uint8_t *slots;
    struct drop_log drops;
    struct icmp_limit icmp_limit;
    struct wg_inbound datagrams[BATCH];
};

static void inbound_deliver(struct path *path, const struct wg_inbound *datagram)
{
    struct tun_packet packet = {
        .bytes = datagram->plain,
        .capacity = datagram->plain_len,
        .len = datagram->plain_len,
    };
    (void)tun_write(path->tun, &packet); /* a link that is down loses the packet, as a wire would */
}

static void process(struct inbound *in, size_t count)
{
    struct path *path = in->path;
    bool handshakes = false;
    struct wg_time now = path_now();
    wg_device_open(path->device, in->datagrams, count, now);
    for (size_t i = 0; i < count; i++) {
        struct wg_inbound *datagram = &in->datagrams[i];
        switch (datagram->verdict) {
        case WG_IN_DELIVER:
            inbound_deliver(path, datagram);
            break;
        case WG_IN_HANDSHAKE:
            handshakes |=
                queue_push(path->handshakes, datagram->bytes, datagram->len, &datagram->from);
            break;
        case WG_IN_CONSUMED:
            break;
        case WG_IN_PROHIBITED:
            refusal_answer(path, &in->icmp_limit, datagram->plain, datagram->plain_len, now);
            break;
        case WG_IN_DROP:
            if (!tap_takes_datagram(&path->tap, datagram->bytes, datagram->len))
                drop_log_add(&in->drops, path, "data", &datagram->from, now.boot_ns);
            break;
        }
    }
    if (handshakes)
        wake_signal(&path->wake_slow);
}

/* Returns whether a socket may have more. */
static bool inbound_receive(struct inbound *in, struct udp *udp)
{
    bool more = false;
    for (int family = 0; family < UDP_FAMILIES; family++) {
        size_t count = udp_receive(udp, (enum udp_family)family, in->datagrams, BATCH);
        if (count > 0)
            process(in, count);
        more |= count == BATCH;
    }
    return more;
}

static void wait_for_datagrams(struct path *path, struct udp *udp)
{
    struct pollfd fds[] = {
        {.fd = path->wake_inbound.fd, .events = POLLIN},
        {.fd = udp == NULL ? -1 : udp_fd(udp, UDP_IPV4), .events = POLLIN},
        {.fd = udp == NULL ? -1 : udp_fd(udp, UDP_IPV6), .events = POLLIN},
    };
    if (udp != NULL)
        udp_poll_begin(udp);
    path_sleep(fds, 3, -1);
    if (udp != NULL)
        udp_poll_end(udp);
    if (fds[0].revents != 0)
        wake_clear(&path->wake_inbound);
}

static void inbound_run(struct inbound *in)
{
    struct path *path = in->path;
    while (!atomic_load_explicit(&path->stopping, memory_order_acquire)) {
        struct udp *udp = atomic_load_explicit(&path->udp, memory_order_acquire);
        bool more = udp != NULL && inbound_receive(in, udp);
        if (more)
            rcu_reader_quiesce();
        else
            wait_for_datagrams(path, udp);
    }
}

void *inbound_main(void *path)
{
    struct inbound in = {.path = path};
    in.slots = path_slots_create(BATCH, SLOT);
    if (in.slots == NULL) {
        path_report_closed(path, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < BATCH; i++)
        in.datagrams[i].bytes = in.slots + i * SLOT;
    rcu_reader_register();
    inbound_run(&in);
    rcu_reader_unregister();
    path_slots_destroy(in.slots, BATCH, SLOT);
    return NULL;
}
