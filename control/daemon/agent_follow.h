#ifndef CONTROL_DAEMON_AGENT_FOLLOW_H
#define CONTROL_DAEMON_AGENT_FOLLOW_H

#include "proto/heimdall.pb-c.h"

struct agent;

/* Brings tunnel, resolver and known addresses up to a node's answer. */
void agent_follow(struct agent *agent, const Pb__ConnectResponse *response);

/* Empties the tunnel and restores the resolver: a node that proved itself has refused this peer. */
void agent_forget(struct agent *agent);

#endif
