#ifndef CONTROL_DAEMON_AGENT_NODES_H
#define CONTROL_DAEMON_AGENT_NODES_H

#include "control/rpc/address.h"
#include "proto/heimdall.pb-c.h"

#include <stddef.h>

/* Where a peer looks for a node: the configured address, those of its last configuration, which
 * survive a restart in the data dir, and those at which WireGuard has met nodes since. */

struct agent;

enum { AGENT_CANDIDATES_MAX = 32 }; /* at least AGENT_ADDRESSES_MAX */

/* Reads the addresses of the last configuration from the data dir. */
void agent_nodes_load(struct agent *agent);

/* Takes the addresses of nodes from a configuration, and saves them if they are new. */
void agent_nodes_learn(struct agent *agent, const Pb__ConnectResponse *response);

/* Lists the addresses to dial, in this order. The configured one is always the first. */
size_t agent_nodes_candidates(struct agent *agent, struct address out[AGENT_CANDIDATES_MAX]);

#endif
