#ifndef BASE_FAIR_LOCK_H
#define BASE_FAIR_LOCK_H

#include <pthread.h>
#include <stdint.h>

/* A lock that threads get in the order in which they asked for it. With a mutex, a thread that takes
 * and gives it in a loop can keep out all others for as long as it likes. Costs two mutex operations
 * more; for locks held for microseconds and longer. */
struct fair_lock {
    pthread_mutex_t mutex; /* protects the rest, held for an instant */
    pthread_cond_t turn;
    uint64_t next;    /* ticket that the next asker draws */
    uint64_t serving; /* ticket that holds the lock */
};

/* Returns 0 or a negative errno. */
int fair_lock_init(struct fair_lock *lock);
void fair_lock_fini(struct fair_lock *lock);

void fair_lock_take(struct fair_lock *lock);
void fair_lock_give(struct fair_lock *lock);

#endif
