/* A watcher first walks through all records, kind by kind, one message each time that its stream
 * has drained, so that a slow reader costs no memory. Changes go to every watcher at once, whether
 * or not the walk has come that far: an event holds the whole present record, so a repeated one
 * does no harm. Only changes can pile up; a watcher that leaves too many unread is cut off. */
#include "control/api/watch.h"

#include "base/list.h"
#include "base/search.h"
#include "control/api/env.h"
#include "control/rpc/server.h"
#include "control/state/access.h"
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

/* The snapshot's parts, in order. */
enum part { PART_NODES, PART_ROUTES, PART_AUTHORIZATIONS, PART_PEERS, PART_END };

struct watcher {
    struct list link;
    struct watch *watch;
    struct rpc_call *call;
    enum part part;
    bool begun; /* in this part: the fields below name the last record sent */
    uint64_t join_seq;
    struct ip_prefix network;
    char id[ACCESS_ID_MAX + 1];
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
    batch->pb.snapshot_complete = watcher->part == PART_END;
    if (rpc_call_pending(watcher->call) <= PENDING_MAX &&
        rpc_call_send(watcher->call, &batch->pb.base) == 0)
        return true;
    watcher_cut_off(watcher, GRPC_RESOURCE_EXHAUSTED,
                    "this watcher reads too slowly and has missed changes: start a new watch");
    return false;
}

/* ---- what there is ---- */

static size_t part_count(const struct state *state, enum part part)
{
    switch (part) {
    case PART_NODES:
        return state_node_count(state);
    case PART_ROUTES:
        return state_route_count(state);
    case PART_AUTHORIZATIONS:
        return state_authorization_count(state);
    case PART_PEERS:
        return state_peer_count(state);
    case PART_END:
        return 0;
    }
    return 0;
}

/* Compares a record of the part with the last one sent, in the order of state.h. */
static int compare_with_last(const struct watcher *watcher, const struct state *state, size_t i)
{
    switch (watcher->part) {
    case PART_NODES: {
        const struct state_node *node = state_node_at(state, i);
        if (node->join_seq != watcher->join_seq)
            return node->join_seq < watcher->join_seq ? -1 : 1;
        return strcmp(node->id, watcher->id);
    }
    case PART_ROUTES: {
        const struct ip_prefix *network = &state_route_at(state, i)->network;
        int order = ip_addr_compare(&network->addr, &watcher->network.addr);
        return order != 0 ? order : (int)network->len - (int)watcher->network.len;
    }
    case PART_AUTHORIZATIONS:
        return strcmp(state_authorization_at(state, i)->id, watcher->id);
    case PART_PEERS:
        return strcmp(state_peer_at(state, i)->id, watcher->id);
    case PART_END:
        break;
    }
    return 1;
}

struct position {
    const struct watcher *watcher;
    const struct state *state;
};

static bool was_sent(const void *ctx, size_t place)
{
    const struct position *position = ctx;
    return compare_with_last(position->watcher, position->state, place) <= 0;
}

/* Finds the first unsent record of the part; records may have come and gone before it. */
static size_t find_next(const struct watcher *watcher, const struct state *state)
{
    size_t count = watcher->begun ? part_count(state, watcher->part) : 0;
    return search_place(count, was_sent, &(struct position){watcher, state});
}

static void remember(struct watcher *watcher, const char *id)
{
    watcher->begun = true;
    strncpy(watcher->id, id, sizeof watcher->id - 1);
}

static void put_record(struct watcher *watcher, const struct state *state, size_t i,
                       struct batch *batch)
{
    Pb__Event *event = batch_next(batch);
    switch (watcher->part) {
    case PART_NODES: {
        const struct state_node *node = state_node_at(state, i);
        event_set(event, PB__EVENT__RECORD_NODE, &node->pb->base);
        watcher->join_seq = node->join_seq;
        remember(watcher, node->id);
        break;
    }
    case PART_ROUTES: {
        const struct state_route *route = state_route_at(state, i);
        event_set(event, PB__EVENT__RECORD_ROUTE, &route->pb->base);
        watcher->network = route->network;
        remember(watcher, "");
        break;
    }
    case PART_AUTHORIZATIONS: {
        const struct state_authorization *authorization = state_authorization_at(state, i);
        event_set(event, PB__EVENT__RECORD_AUTHORIZATION, &authorization->pb->base);
        remember(watcher, authorization->id);
        break;
    }
    case PART_PEERS: {
        const struct state_peer *peer = state_peer_at(state, i);
        event_set(event, PB__EVENT__RECORD_PEER, &peer->pb->base);
        remember(watcher, peer->id);
        break;
    }
    case PART_END:
        break;
    }
}

/* Fills the next message of the snapshot. */
static void put_next(struct watcher *watcher, const struct state *state, struct batch *batch)
{
    batch_init(batch, state);
    while (watcher->part != PART_END && batch->pb.n_events < BATCH) {
        size_t i = find_next(watcher, state);
        size_t count = part_count(state, watcher->part);
        for (; i < count && batch->pb.n_events < BATCH; i++)
            put_record(watcher, state, i, batch);
        if (i == count) {
            watcher->part++;
            watcher->begun = false;
        }
    }
}

/* Sends as much as the stream takes now; `writable` continues. */
static void watcher_go_on(struct watcher *watcher)
{
    const struct api_env *env = watcher->watch->env;
    const struct state *state = env->state(env->ctx);
    struct batch batch;
    bool here = true;
    while (here && state != NULL && watcher->part != PART_END &&
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
