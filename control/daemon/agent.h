#ifndef CONTROL_DAEMON_AGENT_H
#define CONTROL_DAEMON_AGENT_H

#include "base/err.h"
#include "control/config/config.h"

/* Runs a peer until SIGTERM or SIGINT (0) or until it cannot go on (a negative errno with a text).
 * Either way only the data dir is left. Call on the main thread. */
int agent_run(struct peer_config *config, struct err *err);

#endif
