#ifndef WG_REPLAY_H
#define WG_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

/* The sliding window over received counters (RFC 6479): a ring of words, of which one is always
 * being cleared for what comes next. */

enum {
    REPLAY_BITS = 8192,
    REPLAY_WINDOW = REPLAY_BITS - 64, /* how far behind the newest a counter may be */
};

struct replay {
    uint64_t next; /* one more than the newest counter accepted; 0 before the first */
    uint64_t ring[REPLAY_BITS / 64];
};

void replay_init(struct replay *replay);

/* Takes the counter of a packet whose tag has been verified: true once for each counter that is
 * within the window and below WIRE_REJECT_AFTER_MESSAGES. One caller at a time. */
bool replay_accept(struct replay *replay, uint64_t counter);

#endif
