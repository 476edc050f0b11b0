#ifndef CONTROL_DAEMON_AGENT_LINK_H
#define CONTROL_DAEMON_AGENT_LINK_H

struct agent;

/* The connection to a node: dial -> Connect -> watch, and after each end a pause and the next
 * dial. */

/* Restores a resolver that a killed run left pointing to nowhere, then begins. */
void agent_link_start(struct agent *agent);

/* Finds out soon whether the connection still works. */
void agent_link_probe(struct agent *agent);

/* Ends the connection, if there is one, without another dial. */
void agent_link_hang_up(struct agent *agent);

#endif
