#include "control/api/watch_peer.h"

#include "base/clock.h"
#include "base/list.h"
#include "control/api/env.h"
#include "control/rpc/server.h"
#include "control/rpc/transport_key.h"
#include "control/state/access.h"
#include "control/state/record_time.h"
#include "control/state/state.h"
#include "proto/cluster.pb-c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct watch_peer {
    const struct api_env *env;
    struct list streams;
    size_t count;
};

struct stream {
    struct list link;
    struct watch_peer *watch;
    struct rpc_call *call;
    char *id;
    struct watcher watcher;
    uint8_t key[32]; /* bound to the id */
    bool has_sent;
    uint8_t sent[32]; /* hash of the last message */
};

static void stream_free(struct stream *stream)
{
    list_remove(&stream->link);
    stream->watch->count--;
    free(stream->id);
    free(stream);
}

static void stream_cancelled(void *ctx, struct rpc_call *call)
{
    (void)call;
    stream_free(ctx);
}

static void stream_end(struct stream *stream, enum grpc_code code, const char *text)
{
    struct rpc_call *call = stream->call;
    stream_free(stream);
    rpc_call_finish(call, code, text);
}

/* Whether the peer has this configuration already; if not, remembers it as sent. */
static bool is_known(struct stream *stream, const Pb__ConnectResponse *response)
{
    size_t len = pb__connect_response__get_packed_size(response);
    uint8_t *packed = malloc(len + 1);
    if (packed == NULL)
        return false;
    uint8_t hash[sizeof stream->sent];
    pb__connect_response__pack(response, packed);
    transport_sha256(hash, packed, len);
    free(packed);
    if (stream->has_sent && memcmp(stream->sent, hash, sizeof hash) == 0)
        return true;
    memcpy(stream->sent, hash, sizeof hash);
    stream->has_sent = true;
    return false;
}

/* Sends the peer its present configuration if that is new. A slow reader gets the latest one when
 * it can take it, not those in between. */
static void stream_update(struct stream *stream)
{
    const struct api_env *env = stream->watch->env;
    const struct state *state = env->state(env->ctx);
    if (state == NULL)
        return;
    if (state_authorization(state, stream->id) == NULL) {
        stream_end(stream, GRPC_PERMISSION_DENIED, "this peer is not authorized any more");
        return;
    }
    const struct state_peer *peer = state_peer(state, stream->id);
    if (peer != NULL && memcmp(peer->public_key, stream->key, sizeof stream->key) != 0) {
        stream_end(stream, GRPC_ABORTED, "another WireGuard key was let in under this peer id");
        return;
    }
    if (!rpc_call_is_writable(stream->call))
        return;
    Pb__ConnectResponse *response = api_env_connect_response(env, stream->id);
    if (response == NULL) {
        stream_end(stream, GRPC_UNAVAILABLE, "this peer has no address any more: reconnect");
        return;
    }
    int code = is_known(stream, response) ? 0 : rpc_call_send(stream->call, &response->base);
    pb__connect_response__free_unpacked(response, NULL);
    if (code < 0)
        stream_end(stream, GRPC_RESOURCE_EXHAUSTED, "this peer reads too slowly");
}

static void stream_writable(void *ctx, struct rpc_call *call)
{
    (void)call;
    stream_update(ctx);
}

size_t watch_peer_count(const struct watch_peer *watch)
{
    return watch->count;
}

void watch_peer_each(const struct watch_peer *watch,
                     void (*each)(void *ctx, const struct watcher *watcher), void *ctx)
{
    list_for_each (pos, &watch->streams) {
        const struct stream *stream = container_of(pos, struct stream, link);
        each(ctx, &stream->watcher);
    }
}

void watch_peer_update(struct watch_peer *watch)
{
    list_for_each_safe (pos, &watch->streams)
        stream_update(container_of(pos, struct stream, link));
}

void watch_peer_update_peer(struct watch_peer *watch, const char *id)
{
    list_for_each_safe (pos, &watch->streams) {
        struct stream *stream = container_of(pos, struct stream, link);
        if (strcmp(stream->id, id) == 0)
            stream_update(stream);
    }
}

/* A peer may watch itself alone, with the key that Connect bound to its id. */
static bool may_watch(const struct api_env *env, struct rpc_call *call,
                      const Pb__WatchPeerRequest *request, uint8_t key[32])
{
    const struct transport_caller *caller = rpc_call_caller(call);
    const struct state *state = env->state(env->ctx);
    const struct state_peer *peer = state != NULL ? state_peer(state, request->id) : NULL;
    if (state == NULL)
        rpc_call_fail(call, GRPC_UNAVAILABLE, "this node is still starting");
    else if (caller->id[0] != '\0' && strcmp(caller->id, request->id) != 0)
        rpc_call_deny(call, "a peer may watch itself only", "a peer may watch itself only");
    else if (state_authorization(state, request->id) == NULL)
        rpc_call_fail(call, GRPC_PERMISSION_DENIED, "this peer is not authorized");
    else if (peer == NULL)
        rpc_call_fail(call, GRPC_FAILED_PRECONDITION, "this peer has not connected yet");
    else if (access_check_public_key(request->public_key, key, NULL) < 0 ||
             memcmp(key, peer->public_key, 32) != 0)
        rpc_call_deny(call, "another WireGuard key is bound to the peer's id",
                      "another WireGuard key is bound to this peer id");
    else
        return true;
    return false;
}

/* A peer is one host. An older stream usually belongs to a connection that the peer lost; if it is
 * still read, a copy of the peer reads it, and is told so. */
static void end_former(struct watch_peer *watch, const char *id)
{
    list_for_each_safe (pos, &watch->streams) {
        struct stream *stream = container_of(pos, struct stream, link);
        if (strcmp(stream->id, id) == 0)
            stream_end(stream, GRPC_ALREADY_EXISTS,
                       "another hpeer with this id and key has connected: run only one of them, "
                       "or give the other one its own id and data dir");
    }
}

/* How far the peer's clock is ahead; 0 when it does not tell. */
static int64_t clock_ahead_s(const Google__Protobuf__Timestamp *peer_now)
{
    uint64_t theirs = record_time_ns(peer_now);
    uint64_t ours = clock_realtime_ns();
    if (peer_now == NULL)
        return 0;
    return theirs >= ours ? (int64_t)((theirs - ours) / NS_PER_SEC)
                          : -(int64_t)((ours - theirs) / NS_PER_SEC);
}

static void handle_watch_peer(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct watch_peer *watch = ctx;
    const Pb__WatchPeerRequest *request = (const Pb__WatchPeerRequest *)message;
    uint8_t key[32];
    if (!may_watch(watch->env, call, request, key))
        return;
    struct stream *stream = calloc(1, sizeof *stream);
    char *id = strdup(request->id);
    if (stream == NULL || id == NULL) {
        free(stream);
        free(id);
        rpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    end_former(watch, id);
    stream->watch = watch;
    stream->call = call;
    stream->id = id;
    memcpy(stream->key, key, sizeof key);
    stream->watcher = (struct watcher){
        .id = id, .since_ns = clock_boottime_ns(), .clock_ahead_s = clock_ahead_s(request->now)};
    list_append(&watch->streams, &stream->link);
    watch->count++;
    rpc_call_on_cancel(call, stream_cancelled, stream);
    rpc_call_on_writable(call, stream_writable, stream);
    stream_update(stream);
}

int watch_peer_create(struct watch_peer **out, struct rpc_server *server, const struct api_env *env)
{
    static const struct rpc_method methods[] = {
        {"/heimdall.v1.Cluster/WatchPeer", RPC_SERVER_STREAM, TRANSPORT_PEER,
         &pb__watch_peer_request__descriptor, &pb__connect_response__descriptor, handle_watch_peer},
    };
    *out = NULL;
    struct watch_peer *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return -ENOMEM;
    watch->env = env;
    list_init(&watch->streams);
    int code = rpc_server_add(server, methods, sizeof methods / sizeof methods[0], watch);
    if (code < 0) {
        free(watch);
        return code;
    }
    *out = watch;
    return 0;
}

void watch_peer_destroy(struct watch_peer *watch)
{
    if (watch == NULL)
        return;
    list_for_each_safe (pos, &watch->streams)
        stream_free(container_of(pos, struct stream, link));
    free(watch);
}
