#include "wg/path/rcu.h"

#include <urcu-qsbr.h>

#if defined(__SANITIZE_THREAD__)
#define RCU_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RCU_TSAN 1
#endif
#endif

#ifdef RCU_TSAN
#include <sanitizer/tsan_interface.h>
/* One object stands for all grace periods: what a reader did before it quiesced is ordered before
 * what a writer does after its wait, and vice versa. */
static char grace_period;
static void happened_before(void)
{
    __tsan_release(&grace_period);
}
static void happens_after(void)
{
    __tsan_acquire(&grace_period);
}
#else
static void happened_before(void)
{
}
static void happens_after(void)
{
}
#endif

void rcu_reader_register(void)
{
    rcu_register_thread();
    happens_after();
}

void rcu_reader_unregister(void)
{
    happened_before();
    rcu_unregister_thread();
}

void rcu_reader_offline(void)
{
    happened_before();
    rcu_thread_offline();
}

void rcu_reader_online(void)
{
    rcu_thread_online();
    happens_after();
}

void rcu_reader_quiesce(void)
{
    happened_before();
    rcu_quiescent_state();
    happens_after();
}

void rcu_wait(void)
{
    happened_before();
    synchronize_rcu();
    happens_after();
}
