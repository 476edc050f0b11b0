#ifndef CONTROL_API_WATCH_H
#define CONTROL_API_WATCH_H

/* Cluster.Watch: streams that carry all records, then every change. */

#include <stddef.h>

struct record_change;
struct api_env;
struct watch;
struct rpc_server;

/* `env` is borrowed. 0 or -ENOMEM. */
int watch_create(struct watch **out, struct rpc_server *server, const struct api_env *env);
void watch_destroy(struct watch *watch);

size_t watch_count(const struct watch *watch);

/* Sends a change that the state has applied. */
void watch_changed(struct watch *watch, const struct record_change *change);

/* Ends all streams: the state was reloaded, and changes may have been missed. */
void watch_lost(struct watch *watch);

#endif
