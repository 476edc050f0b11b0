#ifndef WG_REPLAY_H
#define WG_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

/* The sliding window over received counters (RFC 6479): a ring of words, of which one is always
 * cleared for the counters to come. */

enum {
    REPLAY_BITS = 8192,
    REPLAY_WINDOW = REPLAY_BITS - 64, /* maximum distance behind the newest */
};

struct replay {
    uint64_t next; /* newest counter accepted plus 1; 0 before the first */
    uint64_t ring[REPLAY_BITS / 64];
};

void replay_init(struct replay *replay);

/* Checks the counter of a packet whose tag was verified: true once for each counter that is within
 * the window and below WIRE_REJECT_AFTER_MESSAGES. One caller at a time. */
bool replay_accept(struct replay *replay, uint64_t counter);

#endif
