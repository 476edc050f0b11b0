#ifndef CONTROL_STATE_PLAN_PEER_H
#define CONTROL_STATE_PLAN_PEER_H

#include "proto/heimdall.pb-c.h"

struct err;
struct plan;

enum { PLAN_KEEPALIVE_S = 25 };

/* The plan of a peer, from what Connect or WatchPeer answered. `exit_node` is the id or the name of
 * the node whose default routes are taken, or NULL. 0, -EINVAL with a text when the answer makes no
 * sense, or -ENOMEM. plan_fini in any case. */
int plan_of_peer(const Pb__ConnectResponse *response, const char *exit_node, struct plan *out,
                 struct err *err);

#endif
