#include "wg/path/shared.h"

#include "base/clock.h"
#include "base/log.h"
#include "wg/path/rcu.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { POLL_CHECK_NS = 100000 };

#define RETRY_NS NS_PER_SEC

struct wg_time path_now(void)
{
    return (struct wg_time){.boot_ns = clock_boottime_ns(), .real_ns = clock_realtime_ns()};
}

size_t path_send(struct path *path, struct udp_message *messages, size_t count)
{
    struct udp *udp = atomic_load_explicit(&path->udp, memory_order_acquire);
    if (udp == NULL)
        return 0;
    for (size_t i = 0; i < count; i++)
        own_note(&path->own, &messages[i].endpoint->remote);
    size_t done = udp_send(udp, messages, count);
    for (size_t i = 0; i < done; i++) {
        if (messages[i].source_refused) {
            refusals_note(&path->refusals, messages[i].endpoint);
            wake_signal(&path->wake_slow);
        }
    }
    return done;
}

/* A message that does not fit into the socket now is lost, as on a full link. The timers send it
 * again. */
static bool send_now(void *ctx, const struct wg_endpoint *to, uint8_t ds, const uint8_t *bytes,
                     size_t len)
{
    struct path *path = ctx;
    struct udp_message message = {.bytes = bytes, .len = len, .endpoint = to, .ds = ds};
    if (path_send(path, &message, 1) == 0) {
        atomic_fetch_add_explicit(&path->dropped, 1, memory_order_relaxed);
        return false;
    }
    return !message.refused;
}

struct wg_sink path_sink(struct path *path)
{
    return (struct wg_sink){.ctx = path, .send = send_now};
}

void path_report_closed(struct path *path, const char *reason)
{
    if (atomic_exchange(&path->closed, true))
        return;
    log_info("interface closed", F_STR("interface", tun_name(path->tun)), F_STR("reason", reason));
    if (path->options.on_closed != NULL)
        path->options.on_closed(path->options.ctx, reason);
}

int path_sleep(struct pollfd *fds, unsigned count, int timeout_ms)
{
    rcu_reader_offline();
    int ready = poll(fds, count, timeout_ms);
    rcu_reader_online();
    return ready < 0 ? -errno : ready;
}

void drop_log_add(struct drop_log *log, const struct path *path, const char *kind,
                  const struct wg_endpoint *from, uint64_t boot_ns)
{
    log->count++;
    if (!log_enabled(LOG_DEBUG) || boot_ns < log->rest_until)
        return;
    char text[ENDPOINT_TEXT];
    log_debug("datagrams dropped", F_STR("interface", tun_name(path->tun)), F_STR("kind", kind),
              F_STR("last_from", endpoint_format(&from->remote, text)), F_INT("count", log->count));
    log->count = 0;
    log->rest_until = boot_ns + NS_PER_SEC;
}

uint8_t *path_slots_create(size_t count, size_t size)
{
    void *slots =
        mmap(NULL, count * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return slots == MAP_FAILED ? NULL : slots;
}

void path_slots_destroy(uint8_t *slots, size_t count, size_t size)
{
    if (slots != NULL)
        munmap(slots, count * size);
}

int path_open_udp(struct path *path, struct udp **out, uint16_t port, uint32_t fwmark)
{
    const struct udp_io *io = path->options.portable_udp ? udp_io_portable() : udp_io_native();
    return udp_open(out, port, fwmark, io);
}

void path_retire_udp(struct path *path, struct udp *udp)
{
    if (udp == NULL)
        return;
    wake_signal(&path->wake_inbound);
    wake_signal(&path->wake_outbound);
    rcu_wait();
    /* A reader that loaded the old pointer is blocked in poll(), and the wakes end that. */
    while (udp_is_polled(udp))
        nanosleep(&(struct timespec){.tv_nsec = POLL_CHECK_NS}, NULL);
    atomic_fetch_add_explicit(&path->dropped, udp_refused(udp), memory_order_relaxed);
    udp_close(udp);
}

/* A program on the host may have the port when the link comes up. Nobody who could choose another
 * one is waiting for an answer then, so that all that is left is to try until it is free. */
static void sockets_failed(struct path *path, int rc)
{
    bool is_news = atomic_exchange(&path->retry_ns, clock_boottime_ns() + RETRY_NS) == WG_NEVER;
    if (is_news)
        log_error("cannot open the UDP port, retrying every second: packets are neither sent nor "
                  "received",
                  F_STR("interface", tun_name(path->tun)), F_INT("port", path->wanted_port),
                  F_STR("error", strerror(-rc)));
    wake_signal(&path->wake_slow);
}

static void open_sockets(struct path *path)
{
    struct udp *udp = NULL;
    int rc = -EADDRINUSE;
    if (path->wanted_port == 0 && path->last_port != 0)
        rc = path_open_udp(path, &udp, path->last_port, path->fwmark);
    if (rc == -EADDRINUSE)
        rc = path_open_udp(path, &udp, path->wanted_port, path->fwmark);
    if (rc != 0) {
        sockets_failed(path, rc);
        return;
    }
    path->last_port = udp_port(udp);
    path_publish_udp(path, udp);
}

struct udp *path_publish_udp(struct path *path, struct udp *udp)
{
    struct udp *former = atomic_exchange(&path->udp, udp);
    if (atomic_exchange(&path->retry_ns, WG_NEVER) != WG_NEVER && udp != NULL)
        log_info("the UDP port is open now", F_STR("interface", tun_name(path->tun)),
                 F_INT("port", udp_port(udp)));
    wake_signal(&path->wake_inbound);
    return former;
}

void path_retry_sockets(struct path *path)
{
    if (path->up && atomic_load_explicit(&path->udp, memory_order_relaxed) == NULL)
        open_sockets(path);
}

/* Closed sockets let the kernel answer senders with "port unreachable". */
static void close_sockets(struct path *path)
{
    path_retire_udp(path, path_publish_udp(path, NULL));
}

void path_follow_link(struct path *path, bool up)
{
    if (up && atomic_load_explicit(&path->udp, memory_order_relaxed) == NULL)
        open_sockets(path);
    path->up = up;
    struct wg_sink sink = path_sink(path);
    if (!up)
        atomic_store(&path->link_up, false);
    wg_device_set_up(path->device, up, path_now(), &sink);
    log_debug("link changed", F_STR("interface", tun_name(path->tun)),
              F_STR("state", up ? "up" : "down"));
    if (up) {
        atomic_store(&path->link_up, true);
        wake_signal(&path->wake_outbound);
    } else {
        close_sockets(path);
    }
}

void path_follow_mtu(struct path *path)
{
    uint32_t mtu = 0;
    if (tun_mtu(path->tun, &mtu) == 0 && mtu > 0) {
        path->mtu = mtu;
        wg_device_set_mtu(path->device, mtu);
    }
}
