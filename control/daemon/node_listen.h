#ifndef CONTROL_DAEMON_NODE_LISTEN_H
#define CONTROL_DAEMON_NODE_LISTEN_H

/* The sockets of a node's control API. */

struct err;
struct node;

/* Listens at node->listen, for other hosts. 0 or a negative errno with a text. */
int node_listen(struct node *node, struct err *err);

/* Listens at control.sock in the data dir, for this host, and recreates the socket when another
 * program removes it. 0 or a negative errno with a text. */
int node_listen_unix(struct node *node, struct err *err);

#endif
