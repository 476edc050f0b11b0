#include "wg/timers.h"

#include <stdatomic.h>

/* An event races with timers_arm. The event is stored first and the announced time read after it,
 * while timers_arm stores the announced time first and reads the events after it. With sequential
 * consistency at least one of the two sees the other, so no deadline is lost. */

static uint64_t get(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

/* Avoids dirtying a cache line that other threads read. */
static void put(_Atomic uint64_t *value, uint64_t new)
{
    if (get(value) != new)
        atomic_store_explicit(value, new, memory_order_relaxed);
}

static void put_flag(_Atomic bool *flag, bool new)
{
    if (atomic_load_explicit(flag, memory_order_relaxed) != new)
        atomic_store_explicit(flag, new, memory_order_relaxed);
}

static bool announce(struct timers *timers, _Atomic uint64_t *event, uint64_t now, uint64_t delay)
{
    atomic_store(event, now);
    return now + delay < atomic_load(&timers->armed_ns);
}

void timers_reset(struct timers *timers)
{
    put(&timers->unanswered_ns, 0);
    put(&timers->owed_ns, 0);
    put(&timers->traffic_ns, 0);
    put(&timers->retry_ns, 0);
    atomic_store(&timers->armed_ns, TIMERS_NEVER);
    atomic_store(&timers->attempts, 0);
    put_flag(&timers->owed_again, false);
    put_flag(&timers->wanted, false);
    put_flag(&timers->rekeyed_receiving, false);
    timers->is_silent = false;
    timers->handshake_sent_ns = 0;
    timers->session_ns = 0;
}

bool timers_sent(struct timers *timers, enum timers_traffic traffic, uint64_t now)
{
    put(&timers->traffic_ns, now);
    /* timers_next decides for empty packets: it knows whether another one is owed. */
    if (traffic != TIMERS_EMPTY && get(&timers->owed_ns) != 0) {
        put(&timers->owed_ns, 0);
        put_flag(&timers->owed_again, false);
    }
    if (traffic == TIMERS_DATA && get(&timers->unanswered_ns) == 0)
        return announce(timers, &timers->unanswered_ns, now, TIMERS_UNANSWERED);
    return false;
}

bool timers_received(struct timers *timers, enum timers_traffic traffic, uint64_t now)
{
    put(&timers->traffic_ns, now);
    put(&timers->unanswered_ns, 0);
    if (traffic != TIMERS_DATA)
        return false;
    if (get(&timers->owed_ns) == 0)
        return announce(timers, &timers->owed_ns, now, TIMERS_KEEPALIVE);
    put_flag(&timers->owed_again, true);
    return false;
}

bool timers_want_handshake(struct timers *timers)
{
    if (atomic_load_explicit(&timers->attempts, memory_order_relaxed) != 0)
        atomic_store_explicit(&timers->attempts, 0, memory_order_relaxed);
    if (get(&timers->retry_ns) != 0 || atomic_load_explicit(&timers->wanted, memory_order_relaxed))
        return false;
    return !atomic_exchange(&timers->wanted, true);
}

bool timers_want_rekey_receiving(struct timers *timers)
{
    if (atomic_load_explicit(&timers->rekeyed_receiving, memory_order_relaxed))
        return false;
    put_flag(&timers->rekeyed_receiving, true);
    return timers_want_handshake(timers);
}

void timers_handshake_complete(struct timers *timers)
{
    put(&timers->retry_ns, 0);
    atomic_store(&timers->attempts, 0);
    put_flag(&timers->wanted, false);
    put_flag(&timers->rekeyed_receiving, false);
}

void timers_session_begun(struct timers *timers, uint64_t now)
{
    timers->session_ns = now;
    timers->is_silent = false;
}

void timers_responded(struct timers *timers, uint64_t now)
{
    timers->handshake_sent_ns = now;
}

void timers_initiated(struct timers *timers, uint64_t now, uint32_t jitter_ms)
{
    timers->handshake_sent_ns = now;
    atomic_fetch_add(&timers->attempts, 1);
    put(&timers->retry_ns, now + TIMERS_REKEY_TIMEOUT + jitter_ms * NS_PER_MS);
}

void timers_keepalive_now(struct timers *timers)
{
    put(&timers->traffic_ns, 0);
}

static uint64_t after(uint64_t event, uint64_t delay)
{
    return event == 0 ? TIMERS_NEVER : event + delay;
}

static uint64_t keepalive_due(const struct timers *timers)
{
    if (timers->keepalive_s == 0)
        return TIMERS_NEVER;
    uint64_t last = get(&timers->traffic_ns);
    return last == 0 ? 0 : last + timers->keepalive_s * NS_PER_SEC;
}

/* An initiation follows the last handshake message sent after REKEY_TIMEOUT at the earliest. */
static uint64_t initiation_due(const struct timers *timers)
{
    if (!atomic_load(&timers->wanted))
        return TIMERS_NEVER;
    return timers->handshake_sent_ns == 0 ? 0 : timers->handshake_sent_ns + TIMERS_REKEY_TIMEOUT;
}

static enum timers_action retry(struct timers *timers, uint64_t now)
{
    if (atomic_load(&timers->attempts) < TIMERS_ATTEMPTS)
        return TIMERS_INITIATE_AGAIN;
    put(&timers->retry_ns, 0);
    put_flag(&timers->wanted, false);
    if (timers->session_ns == 0)
        timers->session_ns = now; /* to wipe the handshake's secrets like a session's */
    return TIMERS_GIVE_UP;
}

static enum timers_action initiate(struct timers *timers, uint64_t now)
{
    if (get(&timers->retry_ns) != 0) {
        put_flag(&timers->wanted, false); /* retries are under way */
        return TIMERS_NOTHING;
    }
    if (now < initiation_due(timers))
        return TIMERS_NOTHING;
    put_flag(&timers->wanted, false);
    atomic_store(&timers->attempts, 0);
    bool is_silent = timers->is_silent;
    timers->is_silent = false;
    return is_silent ? TIMERS_INITIATE_ELSEWHERE : TIMERS_INITIATE;
}

enum timers_action timers_next(struct timers *timers, bool able, uint64_t now)
{
    if (now >= after(timers->session_ns, TIMERS_WIPE_AFTER)) {
        timers->session_ns = 0;
        return TIMERS_WIPE;
    }
    if (now >= after(get(&timers->retry_ns), 0))
        return retry(timers, now);
    if (now >= after(atomic_load(&timers->unanswered_ns), TIMERS_UNANSWERED)) {
        put(&timers->unanswered_ns, 0);
        if (get(&timers->retry_ns) == 0) {
            put_flag(&timers->wanted, true);
            timers->is_silent = true;
        }
    }
    if (able && atomic_load(&timers->wanted)) {
        enum timers_action action = initiate(timers, now);
        if (action != TIMERS_NOTHING)
            return action;
    }
    if (now >= after(atomic_load(&timers->owed_ns), TIMERS_KEEPALIVE)) {
        put(&timers->owed_ns, atomic_load(&timers->owed_again) ? now : 0);
        put_flag(&timers->owed_again, false);
        return TIMERS_ACKNOWLEDGE;
    }
    if (able && now >= keepalive_due(timers)) {
        put(&timers->traffic_ns, now);
        put(&timers->owed_ns, 0);
        put_flag(&timers->owed_again, false);
        return TIMERS_KEEP_ALIVE;
    }
    return TIMERS_NOTHING;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t deadline(const struct timers *timers, bool able)
{
    uint64_t due = after(timers->session_ns, TIMERS_WIPE_AFTER);
    due = earlier(due, after(get(&timers->retry_ns), 0));
    due = earlier(due, after(atomic_load(&timers->unanswered_ns), TIMERS_UNANSWERED));
    due = earlier(due, after(atomic_load(&timers->owed_ns), TIMERS_KEEPALIVE));
    if (able) {
        due = earlier(due, initiation_due(timers));
        due = earlier(due, keepalive_due(timers));
    }
    return due;
}

uint64_t timers_arm(struct timers *timers, bool able)
{
    uint64_t due = deadline(timers, able);
    for (;;) {
        atomic_store(&timers->armed_ns, due);
        uint64_t again = deadline(timers, able);
        if (again >= due)
            return due;
        due = again;
    }
}
