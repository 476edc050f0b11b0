#ifndef CONTROL_STATE_PLAN_NODE_H
#define CONTROL_STATE_PLAN_NODE_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>

struct plan;
struct plan_touched;
struct state;
struct state_node;

/* The plan of node `self`: with all peers, or, when `touched` is given, with the touched ones only
 * (plan_part.h). Every pair has a preshared key if both programs derive one: from the peer's id, or
 * between nodes from the cluster key (NULL: none). 0, -ENOENT when the state does not have the node, or -ENOMEM. plan_fini in any
 * case. */
int plan_of_node(const struct state *state, const char *self, const char *cluster_key,
                 const struct plan_touched *touched, struct plan *out);

/* The node that relays between peers: the oldest. NULL when there is none. */
const struct state_node *plan_relay(const struct state *state);

/* The prefixes that a node has in the tunnels of all others, nodes and peers alike, since both ends
 * of a tunnel check sources: its networks, the peer networks if it relays, and the routes that it
 * publishes, default routes included. */
struct plan_node_prefixes {
    const struct state *state;
    const struct state_node *node;
    size_t next;
};

/* False at the end. */
bool plan_node_prefixes_next(struct plan_node_prefixes *prefixes, struct ip_prefix *out);

#endif
