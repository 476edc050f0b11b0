#ifndef CONTROL_API_WATCH_H
#define CONTROL_API_WATCH_H

/* Cluster.Watch: open streams that carry everything there is, then every change. */

#include <stddef.h>

struct record_change;
struct rpc_env;
struct rpc_events;
struct rpc_server;

/* `env` is borrowed. 0 or -ENOMEM. */
int rpc_events_create(struct rpc_events **out, struct rpc_server *server,
                      const struct rpc_env *env);
void rpc_events_destroy(struct rpc_events *events);

size_t rpc_events_count(const struct rpc_events *events);

/* The state has taken this change. */
void rpc_events_changed(struct rpc_events *events, const struct record_change *change);

/* The state was loaded anew, and is another than the watchers know: their streams end. */
void rpc_events_lost(struct rpc_events *events);

#endif
