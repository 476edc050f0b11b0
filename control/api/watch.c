/* A watcher first walks through all records, kind by kind, one message each time that its stream
 * has drained, so that a slow reader costs no memory. Changes go to every watcher at once, whether
 * or not the walk has come that far: an event holds the whole present record, so a repeated one
 * does no harm. Only changes can pile up; a watcher that leaves too many unread is cut off. */
#include "control/api/watch.h"

#include "base/list.h"
#include "control/api/env.h"
#include "control/api/walk.h"
#include "control/rpc/server.h"
#include "control/state/state.h"
#include "proto/cluster.pb-c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    BATCH = 128,               /* events of one message */
    PENDING_MAX = 1024 * 1024, /* unread bytes of a stream */
};

struct watch {
    const struct api_env *env;
    struct list watchers;
    size_t count;
};

struct watcher {
    struct list link;
    struct watch *watch;
    struct rpc_call *call;
    struct walk walk; /* of the snapshot: nodes, routes, authorizations, peers */
};

/* ---- messages ---- */

/* A removed record, with its name alone. */
union removed {
    ProtobufCMessage base;
    Pb__Node node;
    Pb__Peer peer;
    Pb__Route route;
    Pb__Authorization authorization;
};

struct batch {
    Pb__WatchResponse pb;
    Pb__Event *list[BATCH];
    Pb__Event events[BATCH];
    union removed removed[BATCH];
};

static void batch_init(struct batch *batch, const struct state *state)
{
    pb__watch_response__init(&batch->pb);
    batch->pb.epoch = state_epoch(state);
    batch->pb.rev = state_rev(state);
    batch->pb.events = batch->list;
}

static Pb__Event *batch_next(struct batch *batch)
{
    size_t i = batch->pb.n_events++;
    pb__event__init(&batch->events[i]);
    batch->list[i] = &batch->events[i];
    return &batch->events[i];
}

/* The members of the event's union are all pointers to messages. */
static void event_set(Pb__Event *event, Pb__Event__RecordCase kind, ProtobufCMessage *record)
{
    event->record_case = kind;
    event->node = (Pb__Node *)(void *)record;
}

/* ---- changes ---- */

static ProtobufCMessage *find_node(const struct state *state, const char *id)
{
    const struct state_node *node = state_node(state, id);
    return node != NULL ? &node->pb->base : NULL;
}

static ProtobufCMessage *find_peer(const struct state *state, const char *id)
{
    const struct state_peer *peer = state_peer(state, id);
    return peer != NULL ? &peer->pb->base : NULL;
}

static ProtobufCMessage *find_route(const struct state *state, const char *text)
{
    struct ip_prefix network;
    const struct state_route *route =
        ip_prefix_parse(&network, text) ? state_route(state, &network) : NULL;
    return route != NULL ? &route->pb->base : NULL;
}

static ProtobufCMessage *find_authorization(const struct state *state, const char *id)
{
    const struct state_authorization *authorization = state_authorization(state, id);
    return authorization != NULL ? &authorization->pb->base : NULL;
}

/* A kind of record that events carry. */
struct kind {
    Pb__Event__RecordCase record;
    const ProtobufCMessageDescriptor *descriptor;
    size_t name; /* offset of the string that names a record */
    ProtobufCMessage *(*find)(const struct state *state, const char *name);
};

static const struct kind node_kind = {PB__EVENT__RECORD_NODE, &pb__node__descriptor,
                                      offsetof(Pb__Node, id), find_node};
static const struct kind peer_kind = {PB__EVENT__RECORD_PEER, &pb__peer__descriptor,
                                      offsetof(Pb__Peer, id), find_peer};
static const struct kind route_kind = {PB__EVENT__RECORD_ROUTE, &pb__route__descriptor,
                                       offsetof(Pb__Route, network), find_route};
static const struct kind authorization_kind = {PB__EVENT__RECORD_AUTHORIZATION,
                                               &pb__authorization__descriptor,
                                               offsetof(Pb__Authorization, id), find_authorization};

/* NULL: a record that no event carries, because another one holds the same. */
static const struct kind *kind_of(enum record_kind kind)
{
    switch (kind) {
    case RECORD_NODE:
        return &node_kind;
    case RECORD_PEER:
        return &peer_kind;
    case RECORD_ROUTE:
        return &route_kind;
    case RECORD_AUTHORIZATION:
        return &authorization_kind;
    case RECORD_UNKNOWN:
    case RECORD_META:
    case RECORD_MASTER:
    case RECORD_NODENETWORK: /* in the node's record */
    case RECORD_PEERIP:      /* in the peer's record */
    case RECORD_REQUEST:     /* of no interest to others */
        break;
    }
    return NULL;
}

/* The record's present state, whatever the operation was: a damaged one counts as removed. */
static void put_op(struct batch *batch, const struct state *state, const struct record_op *op)
{
    const char *name;
    const struct kind *kind = kind_of(record_key_parse(op->key, op->field, &name));
    if (kind == NULL)
        return;
    union removed *removed = &batch->removed[batch->pb.n_events];
    Pb__Event *event = batch_next(batch);
    ProtobufCMessage *record = kind->find(state, name);
    event->removed = record == NULL;
    if (record == NULL) {
        protobuf_c_message_init(kind->descriptor, removed);
        /* protobuf-c's messages have no const; nothing writes there */
        *(char **)(void *)((char *)removed + kind->name) = (char *)(uintptr_t)name;
        record = &removed->base;
    }
    event_set(event, kind->record, record);
}

/* ---- watchers ---- */

static void watcher_free(struct watcher *watcher)
{
    list_remove(&watcher->link);
    watcher->watch->count--;
    free(watcher);
}

static void watcher_cut_off(struct watcher *watcher, enum grpc_code code, const char *text)
{
    struct rpc_call *call = watcher->call;
    watcher_free(watcher);
    rpc_call_cut_off(call, code, text);
}

/* Returns false when the watcher is gone. */
static bool watcher_send(struct watcher *watcher, struct batch *batch)
{
    batch->pb.snapshot_complete = watcher->walk.part == WALK_END;
    if (rpc_call_pending(watcher->call) <= PENDING_MAX &&
        rpc_call_send(watcher->call, &batch->pb.base) == 0)
        return true;
    watcher_cut_off(watcher, GRPC_RESOURCE_EXHAUSTED,
                    "this watcher reads too slowly and has missed changes: start a new watch");
    return false;
}

/* ---- what there is ---- */

static Pb__Event__RecordCase record_case(enum walk_part part)
{
    switch (part) {
    case WALK_NODES:
        return PB__EVENT__RECORD_NODE;
    case WALK_ROUTES:
        return PB__EVENT__RECORD_ROUTE;
    case WALK_AUTHORIZATIONS:
        return PB__EVENT__RECORD_AUTHORIZATION;
    case WALK_PEERS:
        return PB__EVENT__RECORD_PEER;
    case WALK_END:
        break;
    }
    return PB__EVENT__RECORD__NOT_SET;
}

/* Fills the next message of the snapshot. */
static void put_next(struct watcher *watcher, const struct state *state, struct batch *batch)
{
    struct walk *walk = &watcher->walk;
    batch_init(batch, state);
    while (walk->part != WALK_END && batch->pb.n_events < BATCH) {
        size_t i = walk_place(walk, state);
        size_t count = walk_count(walk, state);
        for (; i < count && batch->pb.n_events < BATCH; i++) {
            event_set(batch_next(batch), record_case(walk->part), walk_record(walk, state, i));
            walk_take(walk, state, i);
        }
        if (i == count)
            walk_begin(walk, walk->part + 1);
    }
}

/* Sends as much as the stream takes now; `writable` continues. */
static void watcher_go_on(struct watcher *watcher)
{
    const struct api_env *env = watcher->watch->env;
    const struct state *state = env->state(env->ctx);
    struct batch batch;
    bool here = true;
    while (here && state != NULL && watcher->walk.part != WALK_END &&
           rpc_call_is_writable(watcher->call)) {
        put_next(watcher, state, &batch);
        here = watcher_send(watcher, &batch);
    }
}

static void watcher_writable(void *ctx, struct rpc_call *call)
{
    (void)call;
    watcher_go_on(ctx);
}

static void watcher_cancelled(void *ctx, struct rpc_call *call)
{
    (void)call;
    watcher_free(ctx);
}

static void handle_watch(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct watch *watch = ctx;
    (void)message;
    if (watch->env->state(watch->env->ctx) == NULL) {
        rpc_call_fail(call, GRPC_UNAVAILABLE, "this node is still starting");
        return;
    }
    struct watcher *watcher = calloc(1, sizeof *watcher);
    if (watcher == NULL) {
        rpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    watcher->watch = watch;
    watcher->call = call;
    walk_begin(&watcher->walk, WALK_NODES);
    list_append(&watch->watchers, &watcher->link);
    watch->count++;
    rpc_call_on_cancel(call, watcher_cancelled, watcher);
    rpc_call_on_writable(call, watcher_writable, watcher);
    watcher_go_on(watcher);
}

/* ---- from outside ---- */

static void send_to_all(struct watch *watch, struct batch *batch)
{
    list_for_each_safe (pos, &watch->watchers)
        (void)watcher_send(container_of(pos, struct watcher, link), batch);
}

void watch_changed(struct watch *watch, const struct record_change *change)
{
    const struct state *state = watch->env->state(watch->env->ctx);
    struct batch batch;
    if (state == NULL || watch->count == 0)
        return;
    batch_init(&batch, state);
    for (size_t i = 0; i < change->op_count; i++) {
        if (batch.pb.n_events == BATCH) {
            send_to_all(watch, &batch);
            batch_init(&batch, state);
        }
        put_op(&batch, state, &change->ops[i]);
    }
    send_to_all(watch, &batch);
}

void watch_lost(struct watch *watch)
{
    list_for_each_safe (pos, &watch->watchers)
        watcher_cut_off(
            container_of(pos, struct watcher, link), GRPC_ABORTED,
            "this node reloaded its store and may have missed changes: start a new watch");
}

size_t watch_count(const struct watch *watch)
{
    return watch->count;
}

int watch_create(struct watch **out, struct rpc_server *server, const struct api_env *env)
{
    static const struct rpc_method method = {
        "/heimdall.v1.Cluster/Watch",     RPC_SERVER_STREAM,
        TRANSPORT_NODE | TRANSPORT_ADMIN, &pb__watch_request__descriptor,
        &pb__watch_response__descriptor,  handle_watch};
    *out = NULL;
    struct watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return -ENOMEM;
    watch->env = env;
    list_init(&watch->watchers);
    int code = rpc_server_add(server, &method, 1, watch);
    if (code < 0) {
        free(watch);
        return code;
    }
    *out = watch;
    return 0;
}

void watch_destroy(struct watch *watch)
{
    if (watch == NULL)
        return;
    list_for_each_safe (pos, &watch->watchers)
        watcher_free(container_of(pos, struct watcher, link));
    free(watch);
}
