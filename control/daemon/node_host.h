#ifndef CONTROL_DAEMON_NODE_HOST_H
#define CONTROL_DAEMON_NODE_HOST_H

struct err;
struct node;

enum { NODE_EOPTION = -2101 }; /* an option does not fit this host; nothing was created */

/* Fills "read from the host" of node_parts.h from options and the kernel. 0, NODE_EOPTION, or a
 * negative errno. */
int node_read_host(struct node *node, struct err *err);

/* HOSTIP is followed: a host that gets, changes or loses its address. Nothing that the user named
 * with an option is ever replaced. */
void node_host_init(struct node *node);
void node_host_close(struct node *node);

/* Warns, when the host has no address to serve, that this node waits for one. */
void node_host_report(const struct node *node);

/* Serves the control API at HOSTIP, now or once the host has it, and follows it from then on. 0 or
 * a negative errno with a text. */
int node_host_serve(struct node *node, struct err *err);

/* Addresses, routes or links of the host may have changed. */
void node_host_changed(struct node *node);

/* Why other hosts cannot reach this node, or NULL. */
const char *node_host_problem(const struct node *node);

#endif
