#ifndef CONTROL_CLUSTER_STORE_REDIS_H
#define CONTROL_CLUSTER_STORE_REDIS_H

#include <uv.h>

/* The store in the local redis-server, over its unix socket. Every mutation is one Lua script that
 * checks the epoch and rev of heimdall:meta, applies the operations, raises rev, and appends the
 * change to the stream heimdall:changes, which a second connection follows. An entry of the stream
 * is the pairs (epoch, E) (rev, R) (prev_epoch, E) (prev_rev, R), then for each operation the pairs
 * (kind, key) (field, value). The kind is SET, DEL, HSET or HDEL. */

struct store;
struct store_events;

struct store_redis_options {
    const char *socket; /* path */
    const char *user;
    const char *password;
};

/* Starts to connect, and retries until closed. Copies the options. 0 or -ENOMEM. */
int store_redis_open(struct store **out, uv_loop_t *loop, const struct store_redis_options *options,
                     const struct store_events *events);

#endif
