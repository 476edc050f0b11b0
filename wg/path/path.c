#include "wg/path/path.h"

#include "base/log.h"
#include "wg/path/inbound.h"
#include "wg/path/outbound.h"
#include "wg/path/rcu.h"
#include "wg/path/shared.h"
#include "wg/path/slow.h"
#include "wg/path/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* The owner's side: starts and ends threads and sockets. shared.h describes the threads. */

enum { RANDOM_CHUNK = 256 }; /* limit of getentropy */

static void fill_random(void *ctx, void *out, size_t len)
{
    (void)ctx;
    for (uint8_t *at = out; len > 0;) {
        size_t part = len < RANDOM_CHUNK ? len : RANDOM_CHUNK;
        if (getentropy(at, part) != 0)
            abort(); /* without randomness no key is safe */
        at += part;
        len -= part;
    }
}

static void wake_slow_thread(void *ctx)
{
    struct path *path = ctx;
    wake_signal(&path->wake_slow);
}

static int init_wakes(struct path *path)
{
    path->wake_outbound.fd = path->wake_inbound.fd = path->wake_slow.fd = -1;
    int rc = wake_init(&path->wake_outbound);
    if (rc == 0)
        rc = wake_init(&path->wake_inbound);
    if (rc == 0)
        rc = wake_init(&path->wake_slow);
    return rc;
}

static int create_queue(struct path *path)
{
    uint64_t seed;
    fill_random(NULL, &seed, sizeof seed);
    return queue_create(&path->handshakes, seed);
}

int path_create(struct path **out, const struct path_options *options, struct err *err)
{
    struct path *path = calloc(1, sizeof *path);
    if (path == NULL)
        return err_set_errno(err, -ENOMEM, "cannot create the device");
    path->options = *options;
    path->mtu = 1420;
    pthread_mutex_init(&path->setup, NULL);
    tap_init(&path->tap);
    refusals_init(&path->refusals);
    atomic_init(&path->retry_ns, WG_NEVER);
    int rc = init_wakes(path);
    if (rc == 0)
        rc = create_queue(path);
    if (rc == 0) {
        struct wg_env env = {.ctx = path, .random = fill_random, .wake = wake_slow_thread};
        rc = wg_device_create(&path->device, &env);
    }
    if (rc != 0) {
        path_destroy(path);
        return err_set_errno(err, rc, "cannot create the device");
    }
    path->tun = options->tun;
    *out = path;
    return 0;
}

/* ---- threads ---- */

static int start_thread(pthread_t *thread, void *(*run)(void *), const char *name,
                        struct path *path)
{
    int rc = pthread_create(thread, NULL, run, path);
    if (rc == 0) {
        char text[16];
        snprintf(text, sizeof text, "%s-%.10s", name, tun_name(path->tun));
        thread_set_name(*thread, text);
    }
    return -rc;
}

static int start_threads(struct path *path)
{
    int rc = start_thread(&path->slow, slow_main, "slow", path);
    if (rc != 0)
        return rc;
    rc = start_thread(&path->inbound, inbound_main, "in", path);
    if (rc != 0)
        goto join_slow;
    rc = start_thread(&path->outbound, outbound_main, "out", path);
    if (rc != 0)
        goto join_inbound;
    return 0;

join_inbound:
    atomic_store_explicit(&path->stopping, true, memory_order_release);
    wake_signal(&path->wake_inbound);
    pthread_join(path->inbound, NULL);
join_slow:
    atomic_store_explicit(&path->stopping, true, memory_order_release);
    wake_signal(&path->wake_slow);
    pthread_join(path->slow, NULL);
    return rc;
}

int path_start(struct path *path, struct err *err)
{
    pthread_mutex_lock(&path->setup);
    path_follow_mtu(path);
    path_follow_link(path, tun_is_up(path->tun) != 0);
    pthread_mutex_unlock(&path->setup);
    atomic_store(&path->stopping, false);
    /* The program's own thread handles signals. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = start_threads(path);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return err_set_errno(err, rc, "cannot start the threads of %s", tun_name(path->tun));
    path->started = true;
    return 0;
}

void path_stop(struct path *path)
{
    if (path->started) {
        atomic_store_explicit(&path->stopping, true, memory_order_release);
        wake_signal(&path->wake_outbound);
        wake_signal(&path->wake_inbound);
        wake_signal(&path->wake_slow);
        pthread_join(path->outbound, NULL);
        pthread_join(path->inbound, NULL);
        pthread_join(path->slow, NULL);
        path->started = false;
    }
    pthread_mutex_lock(&path->setup);
    struct udp *udp = path_publish_udp(path, NULL);
    pthread_mutex_unlock(&path->setup);
    path_retire_udp(path, udp);
}

int path_reopen(struct path *path, struct err *err)
{
    path_stop(path);
    pthread_mutex_lock(&path->setup);
    path_follow_link(path, false);
    pthread_mutex_unlock(&path->setup);
    int rc = tun_reopen(path->tun, err);
    if (rc != 0)
        return rc;
    struct wg_sink sink = path_sink(path);
    wg_device_reinitiate(path->device, path_now(), &sink);
    atomic_store(&path->closed, false);
    return path_start(path, err);
}

void path_destroy(struct path *path)
{
    if (path == NULL)
        return;
    path_stop(path);
    if (path->device != NULL)
        wg_garbage_free(wg_device_take_garbage(path->device));
    wg_device_destroy(path->device);
    tun_close(path->tun);
    queue_destroy(path->handshakes);
    wake_fini(&path->wake_slow);
    wake_fini(&path->wake_inbound);
    wake_fini(&path->wake_outbound);
    refusals_fini(&path->refusals);
    tap_fini(&path->tap);
    pthread_mutex_destroy(&path->setup);
    free(path);
}

/* ---- configuration ---- */

static int open_port(struct path *path, struct udp **out, uint16_t port, uint32_t mark,
                     struct err *err)
{
    int rc = path_open_udp(path, out, port, mark);
    if (rc == -EADDRINUSE && port != 0) {
        return err_set(err, rc,
                       "UDP port %u is taken by another program: choose another with "
                       "--endpoint-port",
                       port);
    }
    if (rc == -EACCES) {
        return err_set(err, rc,
                       "not permitted to use UDP port %u: choose one above 1023 with "
                       "--endpoint-port, or add CAP_NET_BIND_SERVICE",
                       port);
    }
    if (rc == -EPERM && mark != 0)
        return err_set(err, rc, "not permitted to mark packets: add CAP_NET_ADMIN");
    if (rc != 0)
        return err_set_errno(err, rc, "cannot open UDP port %u", port);
    return 0;
}

/* A change of the sockets that can be undone when the engine refuses the configuration. */
struct rebind {
    bool swapped;
    struct udp *former;
    uint16_t former_port;
    uint16_t former_last;
    uint32_t former_mark;
};

/* Checks, while the link is down, that port and mark are available. */
static int try_port(struct path *path, uint16_t port, uint32_t mark, struct err *err)
{
    struct udp *udp = NULL;
    int rc = open_port(path, &udp, port, mark, err);
    udp_close(udp);
    return rc;
}

static int begin_rebind(struct path *path, struct rebind *rebind,
                        const struct wg_device_config *config, struct err *err)
{
    struct udp *udp = atomic_load(&path->udp);
    *rebind = (struct rebind){.former_port = path->wanted_port,
                              .former_last = path->last_port,
                              .former_mark = path->fwmark};
    uint16_t port = config->has_listen_port ? config->listen_port : path->wanted_port;
    uint32_t mark = config->has_fwmark ? config->fwmark : path->fwmark;
    bool moves = config->has_listen_port && (udp == NULL || port == 0 || port != udp_port(udp));
    int rc = 0;
    if (!path->up && (moves || config->has_fwmark)) {
        rc = try_port(path, port, mark, err);
    } else if (moves) {
        struct udp *opened = NULL;
        rc = open_port(path, &opened, port, mark, err);
        if (rc == 0) {
            path->last_port = udp_port(opened);
            rebind->former = path_publish_udp(path, opened);
            rebind->swapped = true;
        }
    } else if (udp != NULL && mark != path->fwmark) {
        rc = udp_set_fwmark(udp, path->fwmark, mark);
        if (rc != 0)
            err_set_errno(err, rc, "cannot mark packets with %u", mark);
    }
    if (rc == 0) {
        if (!path->up && config->has_listen_port)
            path->last_port = port;
        path->wanted_port = port;
        path->fwmark = mark;
    }
    return rc;
}

static void undo_rebind(struct path *path, struct rebind *rebind)
{
    if (rebind->swapped)
        path_retire_udp(path, path_publish_udp(path, rebind->former));
    else if (atomic_load(&path->udp) != NULL && path->fwmark != rebind->former_mark)
        (void)udp_set_fwmark(atomic_load(&path->udp), path->fwmark, rebind->former_mark);
    path->wanted_port = rebind->former_port;
    path->last_port = rebind->former_last;
    path->fwmark = rebind->former_mark;
    path_retry_sockets(path);
}

int path_configure(struct path *path, const struct wg_device_config *config, struct err *err)
{
    struct rebind rebind;
    struct wg_sink sink = path_sink(path);
    pthread_mutex_lock(&path->setup);
    int rc = begin_rebind(path, &rebind, config, err);
    if (rc != 0)
        goto out;
    rc = wg_device_configure(path->device, config, path_now(), &sink);
    if (rc != 0) {
        undo_rebind(path, &rebind);
        err_set_errno(err, rc, "cannot configure %s", tun_name(path->tun));
        goto out;
    }
    if (rebind.swapped)
        path_retire_udp(path, rebind.former);
    if (rebind.swapped || config->has_fwmark)
        wg_device_forget_sources(path->device);
out:
    pthread_mutex_unlock(&path->setup);
    wake_signal(&path->wake_slow); /* for new deadlines, and garbage */
    return rc;
}

int path_keep_apart(struct path *path, const struct ip_prefix *prefixes, size_t count)
{
    int rc = wg_device_keep_apart(path->device, prefixes, count);
    wake_signal(&path->wake_slow); /* for the garbage */
    return rc;
}

uint32_t path_ifindex(const struct path *path)
{
    return tun_ifindex(path->tun);
}

int path_info(struct path *path, struct path_info *out)
{
    *out = (struct path_info){0};
    int rc = wg_device_info(path->device, &out->device);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&path->setup);
    struct udp *udp = atomic_load(&path->udp);
    out->listen_port = path->wanted_port != 0 ? path->wanted_port : path->last_port;
    if (path->up && udp == NULL) {
        out->has_no_socket = true;
        out->missing_port = path->wanted_port;
        out->listen_port = 0;
    }
    out->looped = atomic_load_explicit(&path->looped, memory_order_relaxed);
    out->prohibited = atomic_load_explicit(&path->prohibited, memory_order_relaxed);
    out->dropped = atomic_load_explicit(&path->dropped, memory_order_relaxed);
    if (udp != NULL)
        out->dropped += udp_refused(udp);
    out->fwmark = path->fwmark;
    out->mtu = path->mtu;
    out->up = path->up;
    pthread_mutex_unlock(&path->setup);
    snprintf(out->tun_name, sizeof out->tun_name, "%.15s", tun_name(path->tun));
    return 0;
}

void path_info_fini(struct path_info *info)
{
    wg_device_info_fini(&info->device);
    *info = (struct path_info){0};
}

/* ---- tests of the host ---- */

struct tap *path_tap(struct path *path)
{
    return &path->tap;
}

int path_inject(struct path *path, uint8_t *bytes, size_t len)
{
    struct tun_packet packet = {.bytes = bytes, .capacity = len, .len = len};
    return tun_write(path->tun, &packet);
}
