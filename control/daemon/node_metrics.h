#ifndef CONTROL_DAEMON_NODE_METRICS_H
#define CONTROL_DAEMON_NODE_METRICS_H

struct err;
struct node;

/* Serves metrics if an option asks for them. 0 or a negative errno. */
int node_metrics_open(struct node *node, struct err *err);

#endif
