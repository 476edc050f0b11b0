#ifndef CONTROL_STATE_PLAN_DIFF_H
#define CONTROL_STATE_PLAN_DIFF_H

#include "base/addr.h"
#include "wg/wg.h"

#include <stddef.h>

/* From one plan to the next: what the engine and the kernel's tables must change. The firewall and
 * DNS are set as a whole by those who own them. */

struct plan;

/* Owns its arrays. */
struct plan_delta {
    /* Peers only. A prefix moves between peers before peers are removed. */
    struct wg_device_config wg;
    struct ip_prefix *addresses_removed;
    size_t addresses_removed_count;
    struct ip_prefix *addresses_added;
    size_t addresses_added_count;
    struct ip_prefix *routes_removed;
    size_t routes_removed_count;
    struct ip_prefix *routes_added;
    size_t routes_added_count;
};

/* `from` may be an empty plan (plan_init). A prefix that moves between two peers is never without
 * an owner. 0, or -ENOMEM with an empty delta; plan_delta_fini in any case. */
int plan_diff(const struct plan *from, const struct plan *to, struct plan_delta *out);

/* Wipes preshared keys. */
void plan_delta_fini(struct plan_delta *delta);

#endif
