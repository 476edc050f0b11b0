#ifndef CONTROL_DAEMON_NODE_H
#define CONTROL_DAEMON_NODE_H

#include "base/err.h"
#include "control/config/config.h"
#include "control/daemon/node_host.h"

/* Runs a node until SIGTERM or SIGINT (0) or until it cannot go on (NODE_EOPTION or a negative
 * errno, with a text). Either way only the data dir is left. Call on the main thread. */
int node_run(struct node_config *config, struct err *err);

#endif
