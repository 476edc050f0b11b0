#ifndef CONTROL_DAEMON_AGENT_RESOLVER_H
#define CONTROL_DAEMON_AGENT_RESOLVER_H

#include "proto/heimdall.pb-c.h"

struct agent;
struct err;
struct plan;

/* The host's resolver while the peer is connected: set to what a node said, set again after others
 * changed it, restored when the peer is told nothing or ends. */

/* Call once rights are given up. 0 or a negative errno. */
int agent_resolver_open(struct agent *agent, struct err *err);

/* From now on the resolver is set again when another program changes it. */
void agent_resolver_watch(struct agent *agent);

/* Restores the resolver and ends. Takes an agent without one. */
void agent_resolver_close(struct agent *agent);

/* Follows a node's answer and the plan made of it. */
void agent_resolver_set(struct agent *agent, const struct plan *plan,
                        const Pb__ConnectResponse *response);

/* Calls `then` when all changes so far are made, perhaps at once, or a second later, so that a tool
 * that hangs does not keep it. */
void agent_resolver_when_set(struct agent *agent, void (*then)(struct agent *agent));

/* For a resolver that another program reset, or that lost its interface. `ctx` is the agent. */
void agent_resolver_set_again(void *ctx);

/* `restored` (may be NULL) is called later with the agent, also after a failure. */
void agent_resolver_restore(struct agent *agent, void (*restored)(void *ctx));

#endif
