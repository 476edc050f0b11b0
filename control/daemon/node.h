#ifndef CONTROL_DAEMON_NODE_H
#define CONTROL_DAEMON_NODE_H

#include "base/err.h"
#include "control/config/config.h"

enum { NODE_EOPTION = -2101 }; /* an option does not fit this host; nothing was made */

/* Runs a node until SIGTERM or SIGINT (0) or until it cannot go on (NODE_EOPTION or a negative
 * errno with a text). Either way nothing is left but the data dir. On the main thread. */
int node_run(const struct node_config *config, struct err *err);

#endif
