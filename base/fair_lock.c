#include "base/fair_lock.h"

int fair_lock_init(struct fair_lock *lock)
{
    *lock = (struct fair_lock){0};
    int rc = pthread_mutex_init(&lock->mutex, NULL);
    if (rc != 0)
        return -rc;
    rc = pthread_cond_init(&lock->turn, NULL);
    if (rc != 0)
        pthread_mutex_destroy(&lock->mutex);
    return -rc;
}

void fair_lock_fini(struct fair_lock *lock)
{
    pthread_cond_destroy(&lock->turn);
    pthread_mutex_destroy(&lock->mutex);
}

void fair_lock_take(struct fair_lock *lock)
{
    pthread_mutex_lock(&lock->mutex);
    uint64_t ticket = lock->next++;
    while (lock->serving != ticket)
        pthread_cond_wait(&lock->turn, &lock->mutex);
    pthread_mutex_unlock(&lock->mutex);
}

void fair_lock_give(struct fair_lock *lock)
{
    pthread_mutex_lock(&lock->mutex);
    lock->serving++;
    if (lock->serving != lock->next)
        pthread_cond_broadcast(&lock->turn);
    pthread_mutex_unlock(&lock->mutex);
}
