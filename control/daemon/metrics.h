#ifndef CONTROL_DAEMON_METRICS_H
#define CONTROL_DAEMON_METRICS_H

#include "base/metrics_text.h"

/* The families that heimdall and hpeer have in common. No ids and no keys: a peer is a number in a
 * sum. */

struct path_info;

/* Version, memory, processor time, files. */
void metrics_of_process(struct metrics_text *text, const char *program);

/* Totals of a tunnel, kept between two calls. */
struct metrics_tunnel {
    struct metrics_total rx;
    struct metrics_total tx;
};

void metrics_of_tunnel(struct metrics_text *text, struct metrics_tunnel *totals,
                       const struct path_info *info);

#endif
