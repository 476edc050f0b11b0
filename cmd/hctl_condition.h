#ifndef CMD_HCTL_CONDITION_H
#define CMD_HCTL_CONDITION_H

#include "proto/cluster.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How peers and nodes are doing, judged from a node's status. `now` is in seconds since the UNIX
 * epoch. */

/* Whether there was a handshake lately; NULL: there is no tunnel. */
bool tunnel_works(const Pb__TunnelStatus *tunnel, int64_t now);

enum peer_condition {
    PEER_NEVER,        /* authorized, and never connected */
    PEER_CONNECTED,    /* its tunnel works */
    PEER_NO_HANDSHAKE, /* it reaches the control API, but not the tunnel */
    PEER_OFFLINE,
};

/* `nodes`: how many there are: with several a peer's stream may be another one's. */
enum peer_condition peer_condition(const Pb__PeerStatus *peer, size_t nodes, int64_t now);

/* "connected" and so on. */
const char *peer_condition_text(enum peer_condition condition);

#endif
