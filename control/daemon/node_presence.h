#ifndef CONTROL_DAEMON_NODE_PRESENCE_H
#define CONTROL_DAEMON_NODE_PRESENCE_H

struct node;

/* Records when peers were seen, and removes those that were not for --peer-expiry. Call once the
 * node is bootstrapped; ends by itself when the node stops. 0 or a negative errno. */
int node_presence_start(struct node *node);

#endif
