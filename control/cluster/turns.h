#ifndef CONTROL_CLUSTER_TURNS_H
#define CONTROL_CLUSTER_TURNS_H

#include "base/list.h"
#include "base/map.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whose turn it is: a queue for each owner, served one after the other, so that no owner waits for
 * more than one turn of each other. Owners have a number of places, and metered owners a rate of
 * what they are charged for: TURNS_BURST at once, one more every TURNS_COST_NS. */

enum {
    TURNS_PLACES = 256,
    TURNS_PLACES_METERED = 16,
    TURNS_BURST = 32,
};
#define TURNS_COST_NS UINT64_C(500000000)

struct turns {
    struct map owners;
    struct list ring;    /* owners with a turn that waits, the next one first */
    struct list resting; /* owners without turns that still pay off what they were charged for */
};

/* Embedded in what waits. */
struct turn {
    struct list node;
    struct turns_owner *owner;
};

void turns_init(struct turns *turns, const uint8_t seed[16]);

/* Every turn must have ended. */
void turns_fini(struct turns *turns);

/* Queues a turn of this owner, who is metered or not for all of them. NULL is an owner with any
 * number of places. 0, -ENOMEM, -ENOBUFS when all
 * of the owner's places are taken, or -EAGAIN when its rate is used up: *wait_ns until it is not. */
int turns_add(struct turns *turns, struct turn *turn, const char *owner, bool metered,
              uint64_t now_ns, uint64_t *wait_ns);

/* Takes the next turn off its queue, or NULL. It keeps its place until it ends. */
struct turn *turns_take(struct turns *turns);

/* Charges the owner of a turn once. */
void turns_charge(struct turn *turn, uint64_t now_ns);

/* Gives the place of a turn back, taken or waiting. */
void turns_end(struct turns *turns, struct turn *turn, uint64_t now_ns);

#endif
