#ifndef CONTROL_API_WATCH_PEER_H
#define CONTROL_API_WATCH_PEER_H

/* Cluster.WatchPeer: streams that carry a peer's own configuration whenever it changes. */

#include <stddef.h>
#include <stdint.h>

struct api_env;
struct rpc_server;
struct watch_peer;

/* `env` is borrowed. 0 or -ENOMEM. */
int watch_peer_create(struct watch_peer **out, struct rpc_server *server,
                      const struct api_env *env);
void watch_peer_destroy(struct watch_peer *watch);

size_t watch_peer_count(const struct watch_peer *watch);

/* A peer that watches. */
struct watcher {
    const char *id;
    uint64_t since_ns;     /* boot time */
    int64_t clock_ahead_s; /* the peer's clock before this host's, at that time; negative: behind */
};

/* Calls `each` for every watching peer. The watchers are valid until the loop's next turn. */
void watch_peer_each(const struct watch_peer *watch,
                     void (*each)(void *ctx, const struct watcher *watcher), void *ctx);

/* Sends every watching peer its configuration if it changed, and ends the streams of removed peers.
 */
void watch_peer_update(struct watch_peer *watch);

/* The same, when only this peer's own records have changed. */
void watch_peer_update_peer(struct watch_peer *watch, const char *id);

#endif
