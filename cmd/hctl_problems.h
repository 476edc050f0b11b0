#ifndef CMD_HCTL_PROBLEMS_H
#define CMD_HCTL_PROBLEMS_H

#include "proto/cluster.pb-c.h"

#include <stddef.h>
#include <stdint.h>

/* What is wrong with a network, judged from a node's status. */

/* How a peer is doing. */
enum peer_condition {
    PEER_NEVER,        /* authorized, and never connected */
    PEER_CONNECTED,    /* its tunnel works */
    PEER_NO_HANDSHAKE, /* it reaches the control API, but not the tunnel */
    PEER_OFFLINE,
};

/* `now` in seconds since the UNIX epoch. */
enum peer_condition peer_condition(const Heimdall__V1__PeerStatus *peer, int64_t now);

/* "connected" and so on. */
const char *peer_condition_text(enum peer_condition condition);

/* What the node itself knows to be wrong (borrowed), and behind it what shows only in the whole
 * picture: peers that reach the control API and not the tunnel, hosts with another version. */
struct problems {
    Heimdall__V1__Problem **all;
    size_t count;
    size_t borrowed;
};

/* 0 or -ENOMEM. */
int problems_find(struct problems *out, const Heimdall__V1__StatusResponse *status, int64_t now);
void problems_fini(struct problems *problems);

#endif
