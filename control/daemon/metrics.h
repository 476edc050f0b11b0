#ifndef CONTROL_DAEMON_METRICS_H
#define CONTROL_DAEMON_METRICS_H

#include "base/metrics_text.h"

/* Metrics that heimdall and hpeer share. They contain no ids and no keys: peers appear as counts.
 */

struct path_info;

/* Writes version, memory, processor time and files. */
void metrics_of_process(struct metrics_text *text, const char *program);

/* Totals of a tunnel, kept from one scrape to the next. */
struct metrics_tunnel {
    struct metrics_total rx;
    struct metrics_total tx;
};

void metrics_of_tunnel(struct metrics_text *text, struct metrics_tunnel *totals,
                       const struct path_info *info);

#endif
