#ifndef CONTROL_API_WATCH_PEER_H
#define CONTROL_API_WATCH_PEER_H

/* Cluster.WatchPeer: open streams over which peers get their own configuration whenever it changes.
 */

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

/* Each peer that watches, and since when (boot time); both are good until the loop's next turn. */
void watch_peer_each(const struct watch_peer *watch,
                     void (*each)(void *ctx, const char *id, const uint64_t *since_ns), void *ctx);

/* Sends what has changed for each watching peer, and ends the streams of those that are gone. */
void watch_peer_update(struct watch_peer *watch);

/* The same when only this peer's own records have changed. */
void watch_peer_update_peer(struct watch_peer *watch, const char *id);

#endif
