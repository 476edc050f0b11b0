#ifndef CONTROL_API_WATCH_H
#define CONTROL_API_WATCH_H

/* Cluster.Watch: open streams that carry everything there is, then every change. */

#include <stddef.h>

struct record_change;
struct api_env;
struct watch;
struct rpc_server;

/* `env` is borrowed. 0 or -ENOMEM. */
int watch_create(struct watch **out, struct rpc_server *server, const struct api_env *env);
void watch_destroy(struct watch *events);

size_t watch_count(const struct watch *events);

/* The state has taken this change. */
void watch_changed(struct watch *events, const struct record_change *change);

/* The state was loaded anew, and is another than the watchers know: their streams end. */
void watch_lost(struct watch *events);

#endif
