#include "control/host/repair.h"

#define NS_PER_MS UINT64_C(1000000)

enum { FIRST_MS = 1000, DOUBLINGS = 6, QUIET_MS = 128000 };

/* The pause behind the last repair. */
static uint64_t pause_ms(const struct repair *repair)
{
    unsigned doublings = repair->count - 1 < DOUBLINGS ? repair->count - 1 : DOUBLINGS;
    return repair->count == 0 ? 0 : (uint64_t)FIRST_MS << doublings;
}

bool repair_due(struct repair *repair, uint64_t now_ns, uint64_t *wait_ms)
{
    repair_rest(repair, now_ns);
    uint64_t passed_ms = (now_ns - repair->last_ns) / NS_PER_MS;
    if (repair->count > 0 && passed_ms < pause_ms(repair)) {
        uint64_t left_ms = pause_ms(repair) - passed_ms;
        if (*wait_ms == 0 || left_ms < *wait_ms)
            *wait_ms = left_ms;
        return false;
    }
    repair->count++;
    repair->last_ns = now_ns;
    repair->is_contested = repair->count >= REPAIR_CONTESTED;
    return true;
}

void repair_rest(struct repair *repair, uint64_t now_ns)
{
    if (repair->count > 0 && (now_ns - repair->last_ns) / NS_PER_MS >= QUIET_MS)
        *repair = (struct repair){0};
}

bool repair_news(struct repair *repair)
{
    bool news = repair->is_contested && !repair->is_logged;
    repair->is_logged |= news;
    return news;
}
