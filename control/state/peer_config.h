#ifndef CONTROL_STATE_PEER_CONFIG_H
#define CONTROL_STATE_PEER_CONFIG_H

#include "proto/heimdall.pb-c.h"

struct state;

/* What a peer is told: its addresses, every node as a peer with its allowed IPs, resolvers, the
 * control API of every node. It holds nothing of other peers and no private key. `dns_domain` NULL
 * leaves the resolvers out. NULL when the state has no such peer or memory is short; freed by
 * pb__connect_response__free_unpacked. */
Pb__ConnectResponse *peer_config_build(const struct state *state, const char *peer_id,
                                       const char *dns_domain);

#endif
