#include "base/fair_lock.h"

#include "tests/unit.h"

#include <stdbool.h>
#include <time.h>

enum { THREADS = 4, TURNS = 2000 };

static struct fair_lock lock;
static uint64_t counter; /* under the lock */
static unsigned order[THREADS];
static unsigned arrived; /* entries of `order` */

static void *count(void *unused)
{
    for (int i = 0; i < TURNS; i++) {
        fair_lock_take(&lock);
        counter++;
        fair_lock_give(&lock);
    }
    return unused;
}

START_TEST(one_thread_at_a_time)
{
    pthread_t threads[THREADS];
    ck_assert_int_eq(fair_lock_init(&lock), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(counter, THREADS * TURNS);
    fair_lock_fini(&lock);
}
END_TEST

static void *note_turn(void *number)
{
    fair_lock_take(&lock);
    order[arrived++] = *(unsigned *)number;
    fair_lock_give(&lock);
    return NULL;
}

/* How many have asked for the lock so far. */
static uint64_t asked(void)
{
    pthread_mutex_lock(&lock.mutex);
    uint64_t next = lock.next;
    pthread_mutex_unlock(&lock.mutex);
    return next;
}

/* Also the holder, which asks again at once, comes last. */
START_TEST(turns_are_in_the_order_of_asking)
{
    pthread_t threads[THREADS];
    unsigned numbers[THREADS];
    ck_assert_int_eq(fair_lock_init(&lock), 0);
    fair_lock_take(&lock);
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, note_turn, &numbers[i]), 0);
        while (asked() != i + 2)
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    fair_lock_give(&lock);
    fair_lock_take(&lock);
    ck_assert_uint_eq(arrived, THREADS);
    fair_lock_give(&lock);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_uint_eq(order[i], i);
    }
    fair_lock_fini(&lock);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("fair_lock");
    tcase_add_test(tc, one_thread_at_a_time);
    tcase_add_test(tc, turns_are_in_the_order_of_asking);
    return unit_run(tc);
}
