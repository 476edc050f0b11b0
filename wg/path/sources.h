#ifndef WG_PATH_SOURCES_H
#define WG_PATH_SOURCES_H

#include "wg/wg.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Answers leave from the address that the peer sent to, as long as it is ours and the route back
 * uses the interface that the packets came in by. Two signs end that: the kernel refuses the
 * address, or the routes change. */

/* The newest refusal, from any sending thread to the slow one. One at a time is enough: a source
 * that is not dropped now is refused again. */
struct refusals {
    pthread_mutex_t lock; /* protects `endpoint`; innermost */
    atomic_bool pending;
    struct wg_endpoint endpoint;
};

void refusals_init(struct refusals *refusals);
void refusals_fini(struct refusals *refusals);
void refusals_note(struct refusals *refusals, const struct wg_endpoint *endpoint);

/* False when there was none since the last call. */
bool refusals_take(struct refusals *refusals, struct wg_endpoint *out);

/* The slow thread's watch on the routes. After a change all peers' sources are examined in small
 * steps, between which the thread does its other work; the device's lock is not held while the
 * kernel is asked. All of it takes a tenth of the thread's time at most. Without netlink it sees
 * nothing, and refusals and unanswered handshakes do the rest. */
struct sources {
    struct ifconf_socket *conf;
    struct route_watch *watch;
    uint64_t rest_until;    /* boot time */
    struct wg_source *list; /* being examined; NULL: none */
    size_t count;
    size_t next;
    uint64_t spent_ns;
    unsigned dropped;
};

void sources_init(struct sources *sources);
void sources_fini(struct sources *sources);

/* The descriptor to poll, or -1. If -1 for now, sources_deadline is when to poll again, else
 * WG_NEVER. */
int sources_fd(const struct sources *sources, uint64_t boot_ns);
uint64_t sources_deadline(const struct sources *sources, uint64_t boot_ns);

/* The descriptor is readable: begins to examine all sources if routes have changed. */
void sources_begin(struct sources *sources, struct wg_device *dev);

/* Examines a few sources and drops those that do not fit the routes any more. Returns whether there
 * are more. */
bool sources_step(struct sources *sources, uint32_t fwmark);

/* Drops the refused source, for this remote address alone. */
void sources_drop(struct wg_device *dev, const struct wg_endpoint *refused);

#endif
