#ifndef CONTROL_DAEMON_NODE_BOOTSTRAP_H
#define CONTROL_DAEMON_NODE_BOOTSTRAP_H

#include "control/daemon/node_submit.h"

struct err;

/* Submits the first changes of a run: the cluster's settings, this node's record, and every
 * --authorized-peer. `done` is called once, when all are committed (`err` is NULL) or one was
 * refused for good. If the store cannot take them, Redis is restarted; the caller comes back here
 * with the next promotion. Does nothing while changes of an earlier call are under way or when all
 * were committed. */
void node_bootstrap(struct node *node, void (*done)(struct node *node, const struct err *err));

/* Submits this node's record as it is to be now; contract as of node_submit. */
int node_put_self(struct node *node, node_mutation_done *done);

#endif
