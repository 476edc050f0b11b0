#ifndef CONTROL_DAEMON_NODE_SETTLE_H
#define CONTROL_DAEMON_NODE_SETTLE_H

struct node;
struct record_op;

/* What follows the state: the data plane, the names, the keyring, the watchers. */

/* Creates the timer and the handle that settles once for each turn of the loop. */
void node_settle_init(struct node *node);
void node_settle_close(struct node *node);

/* Notes what an operation concerns, before the state applies it. */
void node_touch(struct node *node, const struct record_op *op);

/* Notes that everything may have changed. */
void node_touch_all(struct node *node);

/* Brings everything up to the state. */
void node_settle(struct node *node);

/* Refuses connections of peers that are no longer authorized, and ends those that are open. 0 or
 * -ENOMEM. */
int node_settle_keyring(struct node *node);

#endif
