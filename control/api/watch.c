/*
 * A watcher walks through what there is, kind by kind, one message each time that its stream is
 * empty, so that a slow one costs no memory. Changes go to every watcher as they are made, whether
 * or not it has got that far: an event says how a record is now, so that one which comes twice does
 * no harm. Only changes can pile up; a watcher that leaves too many of them unread is cut off.
 */
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
    PENDING_MAX = 1024 * 1024, /* bytes of a stream that are not read */
};

struct watch {
    const struct api_env *env;
    struct list watchers;
    size_t count;
};

/* What a watcher gets at the start, in this order. */
enum part { PART_NODES, PART_ROUTES, PART_AUTHORIZATIONS, PART_PEERS, PART_END };

struct watcher {
    struct list link;
    struct watch *events;
    struct rpc_call *call;
    enum part part;
    bool begun; /* with the part: what follows says the last record that was sent of it */
    uint64_t join_seq;
    struct ip_prefix network;
    char id[ACCESS_ID_MAX + 1];
};

/* ---- messages ---- */

struct batch {
    Pb__WatchResponse pb;
    Pb__Event *list[BATCH];
    Pb__Event events[BATCH];
    union { /* what names a record that is gone */
        Pb__Node node;
        Pb__Peer peer;
        Pb__Route route;
        Pb__Authorization authorization;
    } removed[BATCH];
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

static void event_of_node(Pb__Event *event, Pb__Node *node)
{
    event->record_case = PB__EVENT__RECORD_NODE;
    event->node = node;
}

static void event_of_route(Pb__Event *event, Pb__Route *route)
{
    event->record_case = PB__EVENT__RECORD_ROUTE;
    event->route = route;
}

static void event_of_peer(Pb__Event *event, Pb__Peer *peer)
{
    event->record_case = PB__EVENT__RECORD_PEER;
    event->peer = peer;
}

static void event_of_authorization(Pb__Event *event, Pb__Authorization *authorization)
{
    event->record_case = PB__EVENT__RECORD_AUTHORIZATION;
    event->authorization = authorization;
}

/* ---- changes ---- */

static void put_node(struct batch *batch, const struct state *state, char *id)
{
    Pb__Node *gone = &batch->removed[batch->pb.n_events].node;
    const struct state_node *node = state_node(state, id);
    Pb__Event *event = batch_next(batch);
    pb__node__init(gone);
    gone->id = id;
    event->removed = node == NULL;
    event_of_node(event, node != NULL ? node->pb : gone);
}

static void put_peer(struct batch *batch, const struct state *state, char *id)
{
    Pb__Peer *gone = &batch->removed[batch->pb.n_events].peer;
    const struct state_peer *peer = state_peer(state, id);
    Pb__Event *event = batch_next(batch);
    pb__peer__init(gone);
    gone->id = id;
    event->removed = peer == NULL;
    event_of_peer(event, peer != NULL ? peer->pb : gone);
}

static void put_route(struct batch *batch, const struct state *state, char *text)
{
    Pb__Route *gone = &batch->removed[batch->pb.n_events].route;
    struct ip_prefix network;
    const struct state_route *route =
        ip_prefix_parse(&network, text) ? state_route(state, &network) : NULL;
    Pb__Event *event = batch_next(batch);
    pb__route__init(gone);
    gone->network = text;
    event->removed = route == NULL;
    event_of_route(event, route != NULL ? route->pb : gone);
}

static void put_authorization(struct batch *batch, const struct state *state, char *id)
{
    Pb__Authorization *gone = &batch->removed[batch->pb.n_events].authorization;
    const struct state_authorization *authorization = state_authorization(state, id);
    Pb__Event *event = batch_next(batch);
    pb__authorization__init(gone);
    gone->id = id;
    event->removed = authorization == NULL;
    event_of_authorization(event, authorization != NULL ? authorization->pb : gone);
}

/* How the record is now, whatever the operation was: one that is damaged counts as removed. */
static void put_op(struct batch *batch, const struct state *state, const struct record_op *op)
{
    const char *name;
    enum record_kind kind = record_key_parse(op->key, op->field, &name);
    char *words = (char *)(uintptr_t)name; /* protobuf-c's messages have no const */
    switch (kind) {
    case RECORD_UNKNOWN:
    case RECORD_META:
    case RECORD_MASTER:
    case RECORD_NODENETWORK: /* the node's own record says it too */
    case RECORD_PEERIP:      /* and the peer's */
        break;
    case RECORD_NODE:
        put_node(batch, state, words);
        break;
    case RECORD_PEER:
        put_peer(batch, state, words);
        break;
    case RECORD_ROUTE:
        put_route(batch, state, words);
        break;
    case RECORD_AUTHORIZATION:
        put_authorization(batch, state, words);
        break;
    }
}

/* ---- watchers ---- */

static void watcher_free(struct watcher *watcher)
{
    list_remove(&watcher->link);
    watcher->events->count--;
    free(watcher);
}

static void watcher_cut_off(struct watcher *watcher, enum grpc_code code, const char *text)
{
    struct rpc_call *call = watcher->call;
    watcher_free(watcher);
    rpc_call_cut_off(call, code, text);
}

/* False when the watcher is gone. */
static bool watcher_send(struct watcher *watcher, struct batch *batch)
{
    batch->pb.snapshot_complete = watcher->part == PART_END;
    if (rpc_call_pending(watcher->call) <= PENDING_MAX &&
        rpc_call_send(watcher->call, &batch->pb.base) == 0)
        return true;
    watcher_cut_off(watcher, GRPC_RESOURCE_EXHAUSTED,
                    "this watcher reads too slowly and has missed changes: watch anew");
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

/* How a record of the part compares with the last one that was sent, in the order of state.h. */
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

/* The first record of the part that was not sent: others may have come and gone before it. */
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
        event_of_node(event, node->pb);
        watcher->join_seq = node->join_seq;
        remember(watcher, node->id);
        break;
    }
    case PART_ROUTES: {
        const struct state_route *route = state_route_at(state, i);
        event_of_route(event, route->pb);
        watcher->network = route->network;
        remember(watcher, "");
        break;
    }
    case PART_AUTHORIZATIONS: {
        const struct state_authorization *authorization = state_authorization_at(state, i);
        event_of_authorization(event, authorization->pb);
        remember(watcher, authorization->id);
        break;
    }
    case PART_PEERS: {
        const struct state_peer *peer = state_peer_at(state, i);
        event_of_peer(event, peer->pb);
        remember(watcher, peer->id);
        break;
    }
    case PART_END:
        break;
    }
}

/* One message of what there is. */
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

/* Sends what the stream takes now; `writable` runs when it takes more. */
static void watcher_go_on(struct watcher *watcher)
{
    const struct api_env *env = watcher->events->env;
    const struct state *state = env->state(env->ctx);
    struct batch batch;
    bool here = true;
    while (here && state != NULL && watcher->part != PART_END &&
           rpc_call_is_writable(watcher->call)) {
        put_next(watcher, state, &batch);
        here = watcher_send(watcher, &batch);
    }
}

static void on_writable(void *ctx, struct rpc_call *call)
{
    (void)call;
    watcher_go_on(ctx);
}

static void on_cancelled(void *ctx, struct rpc_call *call)
{
    (void)call;
    watcher_free(ctx);
}

static void handle_watch(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct watch *events = ctx;
    (void)message;
    if (events->env->state(events->env->ctx) == NULL) {
        rpc_call_fail(call, GRPC_UNAVAILABLE, "this node is still starting");
        return;
    }
    struct watcher *watcher = calloc(1, sizeof *watcher);
    if (watcher == NULL) {
        rpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    watcher->events = events;
    watcher->call = call;
    list_append(&events->watchers, &watcher->link);
    events->count++;
    rpc_call_on_cancel(call, on_cancelled, watcher);
    rpc_call_on_writable(call, on_writable, watcher);
    watcher_go_on(watcher);
}

/* ---- from outside ---- */

static void send_to_all(struct watch *events, struct batch *batch)
{
    list_for_each_safe (pos, &events->watchers)
        (void)watcher_send(container_of(pos, struct watcher, link), batch);
}

void watch_changed(struct watch *events, const struct record_change *change)
{
    const struct state *state = events->env->state(events->env->ctx);
    struct batch batch;
    if (state == NULL || events->count == 0)
        return;
    batch_init(&batch, state);
    for (size_t i = 0; i < change->op_count; i++) {
        if (batch.pb.n_events == BATCH) {
            send_to_all(events, &batch);
            batch_init(&batch, state);
        }
        put_op(&batch, state, &change->ops[i]);
    }
    send_to_all(events, &batch);
}

void watch_lost(struct watch *events)
{
    list_for_each_safe (pos, &events->watchers)
        watcher_cut_off(container_of(pos, struct watcher, link), GRPC_ABORTED,
                        "this node has loaded its store anew and may have missed changes: watch "
                        "anew");
}

size_t watch_count(const struct watch *events)
{
    return events->count;
}

int watch_create(struct watch **out, struct rpc_server *server, const struct api_env *env)
{
    static const struct rpc_method method = {
        "/heimdall.v1.Cluster/Watch",     RPC_SERVER_STREAM,
        TRANSPORT_NODE | TRANSPORT_ADMIN, &pb__watch_request__descriptor,
        &pb__watch_response__descriptor,  handle_watch};
    *out = NULL;
    struct watch *events = calloc(1, sizeof *events);
    if (events == NULL)
        return -ENOMEM;
    events->env = env;
    list_init(&events->watchers);
    int code = rpc_server_add(server, &method, 1, events);
    if (code < 0) {
        free(events);
        return code;
    }
    *out = events;
    return 0;
}

void watch_destroy(struct watch *events)
{
    if (events == NULL)
        return;
    list_for_each_safe (pos, &events->watchers)
        watcher_free(container_of(pos, struct watcher, link));
    free(events);
}
