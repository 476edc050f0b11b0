#ifndef CONTROL_STATE_PLAN_PEER_H
#define CONTROL_STATE_PLAN_PEER_H

#include "proto/heimdall.pb-c.h"

struct err;
struct plan;

enum { PLAN_KEEPALIVE_S = 25 };

/* The peer itself. */
struct plan_self {
    const char *exit_node;     /* id or name of the node whose default routes are taken, or NULL */
    const char *id;            /* the secret of its preshared keys; NULL: it has none */
    const uint8_t *public_key; /* 32 bytes */
};

/* The plan of a peer, from what Connect or WatchPeer answered. 0, -EINVAL with a text when the answer is
 * refused, or -ENOMEM. plan_fini in any case.
 *
 * A node may be broken or hostile. An answer is refused when it makes no sense, when it leads to
 * reserved networks, when a node gets part of the peer's own network, when the networks of nodes
 * other than the exit node cover what a default route would (prefix_rules.h), or when it is too
 * large. The work grows with the answer, n log n. */
int plan_of_peer(const Pb__ConnectResponse *response, const struct plan_self *self,
                 struct plan *out, struct err *err);

#endif
