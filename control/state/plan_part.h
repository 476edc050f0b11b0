#ifndef CONTROL_STATE_PLAN_PART_H
#define CONTROL_STATE_PLAN_PART_H

#include "control/state/access.h"
#include "wg/wg.h"

#include <stdbool.h>
#include <stddef.h>

/* Updates a node's plan in part, so that the cost of a change of a few peers, or of routes, does
 * not grow with the number of peers. The part is a plan of its own (plan_of_node with the touched
 * peers). plan_take moves what the part replaces out of the whole, so that plan_diff of the two is
 * the change. plan_merge puts the rest behind it again.
 *
 * A change of a node, or of the cluster's settings, needs a whole plan. */

struct plan;
struct state;

enum { PLAN_TOUCHED_MAX = 64 };

/* Peers whose records have changed, and what they were before. */
struct plan_touched {
    struct {
        char id[ACCESS_ID_MAX + 1];
        char name[ACCESS_NAME_MAX + 1]; /* before; "": none */
        uint8_t key[WG_KEY_LEN];        /* before */
        bool existed;
    } peers[PLAN_TOUCHED_MAX];
    size_t count;
    bool too_many; /* a whole plan is due */
};

/* Called before the state takes the change of this peer's record. */
void plan_touch_peer(struct plan_touched *touched, const struct state *state, const char *id);

/* Moves what `part` replaces from `whole` to `out`: the touched peers and their names, the nodes,
 * and all lists. 0, or -ENOMEM with everything unchanged. */
int plan_take(struct plan *whole, const struct plan *part, const struct plan_touched *touched,
              struct plan *out);

/* Moves the peers and names of `rest` to where they belong in `plan`. 0, or -ENOMEM without them.
 * `rest` is empty in any case. */
int plan_merge(struct plan *plan, struct plan *rest);

#endif
