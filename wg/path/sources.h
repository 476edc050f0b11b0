#ifndef WG_PATH_SOURCES_H
#define WG_PATH_SOURCES_H

#include "wg/wg.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Answers leave from the address that the peer spoke to, for as long as that is one of ours and the
 * way back is still through the interface that it came in by. Two things tell that it is not: the
 * kernel refuses the address, and the routes change. */

/* The newest refusal, from whoever sends to the slow thread. One at a time is enough: a source that
 * is not dropped now is refused again. */
struct refusals {
    pthread_mutex_t lock; /* protects `endpoint`; innermost */
    atomic_bool pending;
    struct wg_endpoint endpoint;
};

void refusals_init(struct refusals *refusals);
void refusals_fini(struct refusals *refusals);
void refusals_note(struct refusals *refusals, const struct wg_endpoint *endpoint);

/* False: none since the last call. */
bool refusals_take(struct refusals *refusals, struct wg_endpoint *out);

/* The slow thread's eye on the routes; looking at all peers takes a tenth of its time at most.
 * Without netlink it sees nothing, and refusals and unanswered handshakes do the rest. */
struct sources {
    struct route_watch *watch;
    struct ifconf_socket *conf;
    uint64_t rest_until; /* boot time */
};

void sources_init(struct sources *sources);
void sources_fini(struct sources *sources);

/* The descriptor to poll, or -1; and when to poll again if it is -1 for now, or WG_NEVER. */
int sources_fd(const struct sources *sources, uint64_t boot_ns);
uint64_t sources_deadline(const struct sources *sources, uint64_t boot_ns);

/* The routes have changed: drops the sources that do not fit them any more. */
void sources_review(struct sources *sources, struct wg_device *dev, uint32_t fwmark);

/* Drops the source that was refused, for this remote address alone. */
void sources_drop(struct wg_device *dev, const struct wg_endpoint *refused);

#endif
