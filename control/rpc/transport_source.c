#include "control/rpc/transport_source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    RESTING_MAX = 1024,
    LINES_MAX = 10 * LOG_LIMIT_LINES, /* of all addresses in one window */
};

struct source_stage {
    struct heap_node busiest;
    struct list places; /* the oldest first */
    unsigned count;
};

struct transport_source {
    struct list node; /* among the resting */
    unsigned holds;   /* connections that are open */
    struct source_stage stages[TRANSPORT_STAGES];
    struct log_limit log;
    char address[TRANSPORT_SOURCE_MAX];
};

void transport_pending_init(struct transport_pending *pending, const uint8_t seed[16],
                            const unsigned limits[TRANSPORT_STAGES])
{
    *pending = (struct transport_pending){0};
    map_init(&pending->by_address, seed);
    list_init(&pending->resting);
    for (int stage = 0; stage < TRANSPORT_STAGES; stage++) {
        heap_init(&pending->stages[stage].busiest);
        pending->stages[stage].limit = limits[stage];
    }
}

static void forget(struct transport_pending *pending, struct transport_source *source)
{
    (void)map_remove(&pending->by_address, source->address, strlen(source->address));
    pending->sources--;
    free(source);
}

static void forget_first_resting(struct transport_pending *pending)
{
    struct transport_source *source = list_first(&pending->resting, struct transport_source, node);
    list_remove(&source->node);
    pending->resting_count--;
    forget(pending, source);
}

void transport_pending_fini(struct transport_pending *pending)
{
    while (!list_empty(&pending->resting))
        forget_first_resting(pending);
    map_fini(&pending->by_address);
    for (int stage = 0; stage < TRANSPORT_STAGES; stage++)
        heap_fini(&pending->stages[stage].busiest);
}

static bool has_rested(const struct transport_source *source, uint64_t now_ns)
{
    return source->log.window_ns == 0 || now_ns - source->log.window_ns >= LOG_LIMIT_WINDOW_NS;
}

static struct transport_source *source_create(struct transport_pending *pending,
                                              const char *address)
{
    struct transport_source *source = calloc(1, sizeof *source);
    if (source == NULL)
        return NULL;
    memcpy(source->address, address, strnlen(address, sizeof source->address - 1));
    list_init(&source->node);
    int code = 0;
    for (int stage = 0; stage < TRANSPORT_STAGES; stage++) {
        list_init(&source->stages[stage].places);
        if (code == 0)
            code = heap_reserve(&pending->stages[stage].busiest, pending->sources + 1);
    }
    if (code == 0)
        code = map_put(&pending->by_address, source->address, strlen(source->address), source);
    if (code < 0) {
        free(source);
        return NULL;
    }
    pending->sources++;
    return source;
}

int transport_pending_open(struct transport_pending *pending, struct transport_place *place,
                           const char *address, uint64_t now_ns)
{
    while (!list_empty(&pending->resting) &&
           has_rested(list_first(&pending->resting, struct transport_source, node), now_ns))
        forget_first_resting(pending);
    struct transport_source *source = map_get(&pending->by_address, address, strlen(address));
    if (source == NULL)
        source = source_create(pending, address);
    if (source == NULL)
        return -ENOMEM;
    if (!list_empty(&source->node)) {
        list_remove(&source->node);
        pending->resting_count--;
    }
    source->holds++;
    place->source = source;
    list_init(&place->node);
    return 0;
}

/* The address with the most places comes first; of equals, the one with the oldest place. */
static void sort_in(struct transport_pending *pending, struct transport_source *source,
                    enum transport_stage stage)
{
    struct heap *busiest = &pending->stages[stage].busiest;
    if (source->stages[stage].count == 0) {
        heap_remove(busiest, &source->stages[stage].busiest);
        return;
    }
    struct transport_place *oldest =
        list_first(&source->stages[stage].places, struct transport_place, node);
    uint64_t rank = UINT32_MAX - source->stages[stage].count;
    heap_set(busiest, &source->stages[stage].busiest, rank << 32 | (uint32_t)oldest->sequence);
}

void transport_pending_leave(struct transport_pending *pending, struct transport_place *place)
{
    if (!place->waiting)
        return;
    place->waiting = false;
    list_remove(&place->node);
    place->source->stages[place->stage].count--;
    pending->stages[place->stage].count--;
    sort_in(pending, place->source, place->stage);
}

static struct transport_place *victim_of(struct transport_pending *pending,
                                         enum transport_stage stage)
{
    struct heap_node *busiest = heap_min(&pending->stages[stage].busiest);
    if (busiest == NULL)
        return NULL;
    struct source_stage *use = container_of(busiest, struct source_stage, busiest);
    return list_first(&use->places, struct transport_place, node);
}

struct transport_place *transport_pending_join(struct transport_pending *pending,
                                               struct transport_place *place,
                                               enum transport_stage stage)
{
    transport_pending_leave(pending, place);
    place->waiting = true;
    place->stage = stage;
    place->sequence = pending->sequence++;
    list_append(&place->source->stages[stage].places, &place->node);
    place->source->stages[stage].count++;
    pending->stages[stage].count++;
    sort_in(pending, place->source, stage);
    return pending->stages[stage].count > pending->stages[stage].limit ? victim_of(pending, stage)
                                                                       : NULL;
}

struct transport_place *transport_pending_victim(struct transport_pending *pending)
{
    struct transport_place *place = victim_of(pending, TRANSPORT_NOT_BEGUN);
    return place != NULL ? place : victim_of(pending, TRANSPORT_HANDSHAKING);
}

void transport_pending_close(struct transport_pending *pending, struct transport_place *place,
                             uint64_t now_ns)
{
    struct transport_source *source = place->source;
    if (source == NULL)
        return;
    transport_pending_leave(pending, place);
    place->source = NULL;
    if (--source->holds > 0)
        return;
    if (has_rested(source, now_ns)) {
        forget(pending, source);
        return;
    }
    list_append(&pending->resting, &source->node);
    if (++pending->resting_count > RESTING_MAX)
        forget_first_resting(pending);
}

bool transport_pending_may_log(struct transport_pending *pending, struct transport_place *place,
                               uint64_t now_ns, unsigned *left_out)
{
    if (now_ns - pending->lines_window_ns >= LOG_LIMIT_WINDOW_NS) {
        pending->lines_window_ns = now_ns;
        pending->lines = 0;
    }
    if (!log_limit_passes(&place->source->log, now_ns, left_out))
        return false;
    return pending->lines++ < LINES_MAX;
}
