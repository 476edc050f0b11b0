#ifndef WG_PATH_SHARED_H
#define WG_PATH_SHARED_H

#include "tun/tun.h"
#include "wg/path/own.h"
#include "wg/path/path_options.h"
#include "wg/path/queue.h"
#include "wg/path/sources.h"
#include "wg/path/tap.h"
#include "wg/path/udp.h"
#include "wg/path/wake.h"
#include "wg/wg.h"

#include <pthread.h>
#include <stdatomic.h>

/* What the threads of one path share; two threads touch nothing else.
 *
 *   outbound  TUN -> seal -> UDP                              (outbound.c)
 *   inbound   UDP -> open -> TUN, handshake messages -> queue (inbound.c)
 *   slow      queue, timers, link events, garbage             (slow.c)
 *   owner     the caller of path_*                            (path.c) */
struct path {
    struct path_options options;
    struct tun *tun; /* read by outbound, written by both directions, events to slow */
    struct wg_device *device;
    struct queue *handshakes;    /* inbound to slow */
    struct refusals refusals;    /* from any sending thread to slow */
    struct own own;              /* destinations of datagrams sent */
    _Atomic uint64_t looped;     /* datagrams of ours that were routed into the interface */
    _Atomic uint64_t prohibited; /* packets between peers that are kept apart */
    _Atomic uint64_t dropped;    /* datagrams never passed to a socket, or refused by closed ones */

    /* Readers of `udp` are inside an RCU section, or hold `setup`. */
    _Atomic(struct udp *) udp;

    /* Protects the replacement of `udp` and the fields up to the blank line. Taken before the
     * device's own lock, never while that is held. */
    pthread_mutex_t setup;
    uint16_t wanted_port; /* 0: any */
    uint16_t last_port;   /* what "any" was; taken again when the link comes up again */
    uint32_t fwmark;
    uint32_t mtu;
    bool up;

    struct wake wake_outbound;
    struct wake wake_inbound;
    struct wake wake_slow;
    _Atomic uint64_t retry_ns; /* boot time of the next attempt to open sockets; WG_NEVER */
    atomic_bool link_up;       /* the engine takes packets; written with `setup` held */
    atomic_bool stopping;
    atomic_bool closed; /* on_closed has been called */

    struct tap tap; /* has a lock of its own */

    bool started; /* written by the owner only */
    pthread_t outbound;
    pthread_t inbound;
    pthread_t slow;
};

/* Both clocks, now. */
struct wg_time path_now(void);

/* A sink that sends at once through the current sockets; the caller may read path->udp. */
struct wg_sink path_sink(struct path *path);

/* Sends through the current sockets, and leaves refused sources to the slow thread. Returns how
 * many messages are done with. The caller may read path->udp. */
size_t path_send(struct path *path, struct udp_message *messages, size_t count);

/* Opens the sockets for `port` and the current mark with the back end of this path. */
int path_open_udp(struct path *path, struct udp **out, uint16_t port, uint32_t fwmark);

/* Publishes sockets, or with NULL none, and returns the former ones, which may still be in use. With
 * `setup` held. */
struct udp *path_publish_udp(struct path *path, struct udp *udp);

/* Closes unpublished sockets once no thread uses them. Their port is free then. */
void path_retire_udp(struct path *path, struct udp *udp);

/* Reports to the owner, once, that the interface is gone. */
void path_report_closed(struct path *path, const char *reason);

/* Sleeps until one of the descriptors is readable (or, with POLLOUT, writable), outside the RCU
 * section. The first is always the thread's wake. Negative ones are skipped. */
struct pollfd;
int path_sleep(struct pollfd *fds, unsigned count, int timeout_ms);

/* Allocates `count` packet slots of `size` bytes, touched only as far as packets reach. NULL when
 * out of memory. */
uint8_t *path_slots_create(size_t count, size_t size);
void path_slots_destroy(uint8_t *slots, size_t count, size_t size);

/* Counts datagrams dropped unread and logs them at debug level, once a second at most. For one
 * thread. */
struct drop_log {
    uint64_t count; /* since the last line */
    uint64_t rest_until;
};

void drop_log_add(struct drop_log *log, const struct path *path, const char *kind,
                  const struct wg_endpoint *from, uint64_t boot_ns);

/* Makes the engine and the sockets follow the link: sockets are open while it is up. With `setup`
 * held. */
void path_follow_link(struct path *path, bool up);

/* Opens the sockets of a link that is up, if there are none. With `setup` held. */
void path_retry_sockets(struct path *path);
void path_follow_mtu(struct path *path);

#endif
