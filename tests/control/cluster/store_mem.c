#include "tests/control/cluster/store_mem.h"

#include "base/list.h"
#include "base/map.h"
#include "control/cluster/store.h"
#include "control/state/change.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is to be delivered: a load, a change, or the end of a request. One commit delivers the
 * change before the end. */
enum event_kind { EVENT_LOADED, EVENT_CHANGED, EVENT_DONE };

struct event {
    struct list node;
    enum event_kind kind;
    struct change change; /* EVENT_CHANGED: the operations, at their new place */
    uint64_t prev_epoch;
    struct store_done done;
    int status;
};

struct record {
    struct list node;
    struct record_op op;
    char *name; /* the key of the map: key, newline, field */
};

struct store_mem {
    struct store base;
    struct store_events events;
    struct map by_name;
    struct list records;
    struct list due;
    size_t record_count;
    uint64_t epoch;
    uint64_t rev;
    bool parked;
};

/* Tests only, so memory never runs out. */
static void *must(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

static struct event *push(struct store_mem *store, enum event_kind kind)
{
    struct event *event = must(calloc(1, sizeof *event));
    event->kind = kind;
    list_append(&store->due, &event->node);
    return event;
}

static void push_done(struct store_mem *store, const struct store_done *done, int status)
{
    struct event *event = push(store, EVENT_DONE);
    event->done = *done;
    event->status = status;
    event->change.epoch = store->epoch;
    event->change.rev = store->rev;
}

/* ---- records */

static char *name_of(const char *key, const char *field)
{
    char *name;
    if (asprintf(&name, "%s\n%s", key, field == NULL ? "" : field) < 0)
        abort();
    return name;
}

static void free_record(struct store_mem *store, struct record *record)
{
    map_remove(&store->by_name, record->name, strlen(record->name));
    list_remove(&record->node);
    free((void *)(uintptr_t)record->op.key);
    free((void *)(uintptr_t)record->op.field);
    free((void *)(uintptr_t)record->op.value);
    free(record->name);
    free(record);
    store->record_count--;
}

static void erase(struct store_mem *store, const char *key, const char *field, bool whole)
{
    list_for_each_safe (node, &store->records) {
        struct record *record = container_of(node, struct record, node);
        bool same_field =
            whole || (record->op.field != NULL && strcmp(record->op.field, field) == 0);
        if (strcmp(record->op.key, key) == 0 && same_field)
            free_record(store, record);
    }
}

static void put(struct store_mem *store, const struct record_op *op)
{
    char *name = name_of(op->key, op->field);
    struct record *record = map_get(&store->by_name, name, strlen(name));
    if (record != NULL)
        free_record(store, record);
    record = must(calloc(1, sizeof *record));
    uint8_t *value = must(malloc(op->len + 1));
    if (op->len > 0)
        memcpy(value, op->value, op->len);
    record->name = name;
    record->op = *op;
    record->op.key = must(strdup(op->key));
    record->op.field = op->field == NULL ? NULL : must(strdup(op->field));
    record->op.value = value;
    list_append(&store->records, &record->node);
    store->record_count++;
    if (map_put(&store->by_name, name, strlen(name), record) != 0)
        abort();
}

static void apply(struct store_mem *store, const struct record_op *op)
{
    switch (op->kind) {
    case RECORD_SET:
    case RECORD_HSET:
        put(store, op);
        break;
    case RECORD_DEL:
        erase(store, op->key, NULL, true);
        break;
    case RECORD_HDEL:
        erase(store, op->key, op->field, false);
        break;
    }
}

/* ---- requests */

/* Moves to a new place, with the operations of `change` (NULL: none). */
static void advance(struct store_mem *store, uint64_t epoch, const struct change *change)
{
    struct event *event = push(store, EVENT_CHANGED);
    event->prev_epoch = store->epoch;
    store->epoch = epoch;
    store->rev++;
    for (size_t i = 0; change != NULL && i < change->op_count; i++) {
        const struct record_op *op = &change->ops[i];
        apply(store, op);
        change_add(&event->change, op->kind, op->key, op->field, op->value, op->len);
    }
    event->change.epoch = store->epoch;
    event->change.rev = store->rev;
}

static void commit(struct store *base, const struct change *change, const struct store_done *done)
{
    struct store_mem *store = (struct store_mem *)base;
    int status = 0;
    if (change->epoch != store->epoch || change->rev != store->rev)
        status = -ESTALE;
    else if (store->parked)
        status = -EROFS;
    if (status == 0)
        advance(store, store->epoch, change);
    push_done(store, done, status);
}

static void promote(struct store *base, uint64_t epoch, uint64_t rev, uint64_t new_epoch,
                    const struct store_done *done)
{
    struct store_mem *store = (struct store_mem *)base;
    store->parked = epoch != store->epoch || rev != store->rev || new_epoch <= epoch;
    if (!store->parked)
        advance(store, new_epoch, NULL);
    push_done(store, done, store->parked ? -ESTALE : 0);
}

static void park(struct store *base, const struct store_done *done)
{
    struct store_mem *store = (struct store_mem *)base;
    store->parked = true;
    push_done(store, done, 0);
}

/* ---- delivery */

static void deliver_load(struct store_mem *store)
{
    struct record_op *records = must(calloc(store->record_count + 1, sizeof *records));
    struct store_image image = {.empty = store->record_count == 0 && store->rev == 0,
                                .epoch = store->epoch,
                                .rev = store->rev,
                                .records = records};
    list_for_each (node, &store->records) {
        struct record_op op = container_of(node, struct record, node)->op;
        op.kind = op.field == NULL ? RECORD_SET : RECORD_HSET;
        records[image.record_count++] = op;
    }
    if (store->events.loaded != NULL)
        store->events.loaded(store->events.ctx, &image);
    free(records);
}

static void deliver_change(struct store_mem *store, const struct event *event)
{
    struct record_change change = {.epoch = event->change.epoch,
                                   .rev = event->change.rev,
                                   .prev_epoch = event->prev_epoch,
                                   .prev_rev = event->change.rev - 1,
                                   .ops = event->change.ops,
                                   .op_count = event->change.op_count};
    if (store->events.changed != NULL)
        store->events.changed(store->events.ctx, &change);
}

static void deliver(struct store_mem *store, struct event *event)
{
    list_remove(&event->node);
    switch (event->kind) {
    case EVENT_LOADED:
        deliver_load(store);
        break;
    case EVENT_CHANGED:
        deliver_change(store, event);
        break;
    case EVENT_DONE:
        if (event->done.done != NULL)
            event->done.done(event->done.ctx, event->status, event->change.epoch,
                             event->change.rev);
        break;
    }
    change_fini(&event->change);
    free(event);
}

bool store_mem_step(struct store *base)
{
    struct store_mem *store = (struct store_mem *)base;
    if (list_empty(&store->due))
        return false;
    deliver(store, list_first(&store->due, struct event, node));
    return true;
}

void store_mem_run(struct store *store)
{
    while (store_mem_step(store))
        ;
}

void store_mem_restart(struct store *base)
{
    struct store_mem *store = (struct store_mem *)base;
    struct list old;
    list_init(&old);
    while (!list_empty(&store->due)) {
        struct list *node = store->due.next;
        list_remove(node);
        list_append(&old, node);
    }
    store->parked = true;
    if (store->events.lost != NULL)
        store->events.lost(store->events.ctx);
    while (!list_empty(&old)) {
        struct event *event = list_first(&old, struct event, node);
        list_remove(&event->node);
        if (event->kind == EVENT_DONE)
            push_done(store, &event->done, -EIO);
        change_fini(&event->change);
        free(event);
    }
    push(store, EVENT_LOADED);
}

/* ---- life */

static void close_store(struct store *base, void (*closed)(void *ctx), void *ctx)
{
    struct store_mem *store = (struct store_mem *)base;
    while (!list_empty(&store->due)) {
        struct event *event = list_first(&store->due, struct event, node);
        if (event->kind == EVENT_DONE) {
            deliver(store, event);
            continue;
        }
        list_remove(&event->node);
        change_fini(&event->change);
        free(event);
    }
    while (!list_empty(&store->records))
        free_record(store, list_first(&store->records, struct record, node));
    map_fini(&store->by_name);
    free(store);
    if (closed != NULL)
        closed(ctx);
}

static const struct store_ops ops = {
    .commit = commit, .promote = promote, .park = park, .close = close_store};

int store_mem_open(struct store **out, const struct store_events *events)
{
    static const uint8_t seed[16];
    struct store_mem *store = calloc(1, sizeof *store);
    if (store == NULL)
        return -ENOMEM;
    store->base.ops = &ops;
    store->events = *events;
    store->parked = true;
    map_init(&store->by_name, seed);
    list_init(&store->records);
    list_init(&store->due);
    push(store, EVENT_LOADED);
    *out = &store->base;
    return 0;
}
