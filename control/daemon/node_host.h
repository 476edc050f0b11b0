#ifndef CONTROL_DAEMON_NODE_HOST_H
#define CONTROL_DAEMON_NODE_HOST_H

struct err;
struct node;

enum { NODE_EOPTION = -2101 }; /* an option does not fit this host; nothing was created */

/* Fills "read from the host" of node_parts.h from options and the kernel. 0, NODE_EOPTION, or a
 * negative errno. */
int node_read_host(struct node *node, struct err *err);

#endif
