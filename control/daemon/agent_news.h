#ifndef CONTROL_DAEMON_AGENT_NEWS_H
#define CONTROL_DAEMON_AGENT_NEWS_H

#include "control/state/plan.h"

struct agent;

/* Log lines about what a peer waits for. A state that lasts is logged once, however often it is
 * found again. */

void agent_report_waiting(struct agent *agent, const char *why);
void agent_report_unauthorized(struct agent *agent);
void agent_report_refused(struct agent *agent, const char *why);
void agent_report_connected(struct agent *agent, const char *address);
void agent_report_exit(struct agent *agent, enum plan_exit exit);

/* That the name which nobody chose was refused, once. */
void agent_report_nameless(struct agent *agent);

#endif
