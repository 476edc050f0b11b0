#ifndef CONTROL_HOST_REPAIR_H
#define CONTROL_HOST_REPAIR_H

#include <stdbool.h>
#include <stdint.h>

/* How often something of this host that another program changes is put back: at once the first
 * time, then after pauses that double from 1 s to 64 s, so that two programs do not fight. A quiet
 * time as long as that ends the count. Pure: `now_ns` is boot time. */

struct repair {
    unsigned count;    /* of repairs in a row */
    uint64_t last_ns;  /* when the last one was made */
    bool is_contested; /* it goes on: worth a line in log and status */
    bool is_logged;    /* by repair_news */
};

enum { REPAIR_CONTESTED = 4 }; /* repairs in a row that are a fight */

/* Whether the repair is due; if so it counts as made now. If not, lowers `*wait_ms` (0: none yet)
 * to the time until it is. */
bool repair_due(struct repair *repair, uint64_t now_ns, uint64_t *wait_ms);

/* There was nothing to repair. Ends a count that is old enough. */
void repair_rest(struct repair *repair, uint64_t now_ns);

/* True once in each fight. */
bool repair_news(struct repair *repair);

#endif
