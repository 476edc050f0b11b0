#ifndef CMD_HCTL_CONDITION_H
#define CMD_HCTL_CONDITION_H

#include "proto/cluster.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The condition of peers and nodes, judged from a node's status. `now` is in seconds since the UNIX
 * epoch. */

/* Whether the last handshake is recent. False without a tunnel (NULL). */
bool tunnel_works(const Pb__TunnelStatus *tunnel, int64_t now);

enum peer_condition {
    PEER_NEVER,        /* authorized, but never connected */
    PEER_CONNECTED,    /* with a working tunnel */
    PEER_NO_HANDSHAKE, /* reaches the control API, but has no tunnel */
    PEER_OFFLINE,
};

/* `nodes` is their number: in a network of several, the peer's stream may be open to another one.
 */
enum peer_condition peer_condition(const Pb__PeerStatus *peer, size_t nodes, int64_t now);

/* "connected", "offline", ... */
const char *peer_condition_text(enum peer_condition condition);

#endif
