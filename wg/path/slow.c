#include "wg/path/slow.h"

#include "base/clock.h"
#include "base/log.h"
#include "wg/path/alarm.h"
#include "wg/path/load.h"
#include "wg/path/rcu.h"
#include "wg/path/shared.h"
#include "wg/path/sources.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

/* Each turn: a few handshake messages, a slice of what the timers have due, then garbage. Messages and
 * timers take turns in small portions: neither a flood of messages nor thousands of due peers delay
 * the other, and a device that begins many handshakes takes their answers as they come. Sleeps until
 * woken, until the engine's deadline, or until link or routes change; forever when idle. */

enum { HANDSHAKES_A_TURN = 8 };

#define LOOK_EVERY (20 * NS_PER_MS)

struct slow {
    struct path *path;
    struct alarm alarm;
    struct sources sources;
    struct drop_log drops;
    struct load load;
    uint64_t look_ns; /* when a busy thread looks at its descriptors again */
};

/* Returns whether there may be more. */
static bool handle_handshakes(struct slow *slow, const struct wg_sink *sink)
{
    struct path *path = slow->path;
    for (int i = 0; i < HANDSHAKES_A_TURN; i++) {
        const struct queue_message *message = queue_front(path->handshakes);
        if (message == NULL)
            return false;
        struct wg_time now = path_now();
        bool loaded = load_is_high(&slow->load, queue_initiations(path->handshakes), now.boot_ns);
        if (!wg_device_handshake(path->device, message->bytes, message->len, &message->from, loaded,
                                 now, sink))
            drop_log_add(&slow->drops, path, "handshake", &message->from, now.boot_ns);
        queue_pop(path->handshakes);
    }
    return true;
}

static void follow_events(struct path *path)
{
    /* The owner may wait for readers while it holds the lock. */
    rcu_reader_offline();
    pthread_mutex_lock(&path->setup);
    rcu_reader_online();
    int events = tun_events_read(path->tun);
    if (events < 0) {
        log_warn("cannot follow the link", F_STR("interface", tun_name(path->tun)),
                 F_STR("error", strerror(-events)));
    } else {
        if ((events & TUN_EVENT_MTU) != 0)
            path_follow_mtu(path);
        if ((events & (TUN_EVENT_UP | TUN_EVENT_DOWN)) != 0)
            path_follow_link(path, (events & TUN_EVENT_UP) != 0);
    }
    pthread_mutex_unlock(&path->setup);
}

/* Returns whether there is more to examine. */
static bool examine_sources(struct slow *slow)
{
    struct path *path = slow->path;
    if (slow->sources.list == NULL)
        return false;
    rcu_reader_offline();
    pthread_mutex_lock(&path->setup);
    uint32_t fwmark = path->fwmark;
    pthread_mutex_unlock(&path->setup);
    rcu_reader_online();
    return sources_step(&slow->sources, fwmark);
}

static void drop_refused_source(struct path *path)
{
    struct wg_endpoint refused;
    if (refusals_take(&path->refusals, &refused))
        sources_drop(path->device, &refused);
}

static void free_garbage(struct path *path)
{
    struct wg_garbage *garbage = wg_device_take_garbage(path->device);
    if (garbage != NULL) {
        rcu_wait();
        wg_garbage_free(garbage);
    }
}

static void retry_sockets(struct path *path, uint64_t now)
{
    if (now < atomic_load(&path->retry_ns))
        return;
    rcu_reader_offline();
    pthread_mutex_lock(&path->setup);
    rcu_reader_online();
    path_retry_sockets(path);
    pthread_mutex_unlock(&path->setup);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void look(struct slow *slow, int timeout_ms, uint64_t now)
{
    struct path *path = slow->path;
    struct pollfd fds[] = {
        {.fd = path->wake_slow.fd, .events = POLLIN},
        {.fd = slow->alarm.fd, .events = POLLIN},
        {.fd = tun_events_fd(path->tun), .events = POLLIN},
        {.fd = sources_fd(&slow->sources, now), .events = POLLIN},
    };
    path_sleep(fds, 4, timeout_ms);
    if (fds[0].revents != 0)
        wake_clear(&path->wake_slow);
    if (fds[1].revents != 0)
        alarm_set(&slow->alarm, WG_NEVER);
    if (fds[2].revents != 0)
        follow_events(path);
    if (fds[3].revents != 0)
        sources_begin(&slow->sources, path->device);
}

static void sleep_until(struct slow *slow, uint64_t deadline, uint64_t now)
{
    deadline = earlier(deadline, sources_deadline(&slow->sources, now));
    alarm_set(&slow->alarm, earlier(deadline, atomic_load(&slow->path->retry_ns)));
    look(slow, -1, now);
}

/* A thread that always has work looks at its descriptors now and then. */
static void go_on(struct slow *slow, uint64_t now)
{
    if (now < slow->look_ns) {
        rcu_reader_quiesce();
        return;
    }
    slow->look_ns = now + LOOK_EVERY;
    look(slow, 0, now);
}

static void slow_run(struct slow *slow)
{
    struct path *path = slow->path;
    struct wg_sink sink = path_sink(path);
    while (!atomic_load_explicit(&path->stopping, memory_order_acquire)) {
        bool more = handle_handshakes(slow, &sink);
        more |= examine_sources(slow);
        wg_device_run(path->device, path_now(), &sink);
        drop_refused_source(path);
        free_garbage(path);
        uint64_t now = clock_boottime_ns();
        retry_sockets(path, now);
        uint64_t deadline = wg_device_deadline(path->device);
        if (more || deadline <= now)
            go_on(slow, now);
        else
            sleep_until(slow, deadline, now);
    }
}

void *slow_main(void *path)
{
    struct slow slow = {.path = path};
    if (alarm_init(&slow.alarm) != 0) {
        path_report_closed(path, "no timer");
        return NULL;
    }
    sources_init(&slow.sources);
    rcu_reader_register();
    slow_run(&slow);
    rcu_reader_unregister();
    sources_fini(&slow.sources);
    alarm_fini(&slow.alarm);
    return NULL;
}
