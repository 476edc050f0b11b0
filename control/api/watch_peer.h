#ifndef CONTROL_API_WATCH_PEER_H
#define CONTROL_API_WATCH_PEER_H

/* Cluster.WatchPeer: open streams over which peers get their own configuration whenever it changes.
 */

#include <stddef.h>
#include <stdint.h>

struct rpc_env;
struct rpc_server;
struct rpc_watch;

/* `env` is borrowed. 0 or -ENOMEM. */
int rpc_watch_create(struct rpc_watch **out, struct rpc_server *server, const struct rpc_env *env);
void rpc_watch_destroy(struct rpc_watch *watch);

size_t rpc_watch_count(const struct rpc_watch *watch);

/* Each peer that watches, and since when (boot time); both are good until the loop's next turn. */
void rpc_watch_each(const struct rpc_watch *watch,
                    void (*each)(void *ctx, const char *id, const uint64_t *since_ns), void *ctx);

/* Sends what has changed for each watching peer, and ends the streams of those that are gone. */
void rpc_watch_update(struct rpc_watch *watch);

/* The same when only this peer's own records have changed. */
void rpc_watch_update_peer(struct rpc_watch *watch, const char *id);

#endif
