#ifndef CONTROL_CLUSTER_CLUSTER_H
#define CONTROL_CLUSTER_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* The network's truth on this node: redis-server, the store in it, the state that follows the
 * store, and the writer of changes. Redis is restarted and promoted again whenever it dies; the
 * state stays readable meanwhile. All calls and events are on the loop's thread. */

struct cluster;
struct datadir;
struct err;
struct record_change;
struct record_op;
struct state;
struct writer;
struct writer_stats;

struct cluster_events {
    void *ctx;
    /* One operation of a change that the state is about to apply. */
    void (*changing)(void *ctx, const struct record_op *op);
    /* The state holds the change. */
    void (*changed)(void *ctx, const struct record_change *change);
    /* The state was replaced; `gap`: changes may have been missed in between. */
    void (*reloaded)(void *ctx, bool gap);
    /* The store takes changes: after each start of Redis. */
    void (*promoted)(void *ctx);
    /* The node cannot go on. */
    void (*failed)(void *ctx, const struct err *err);
    /* After cluster_close: everything has ended and is freed. */
    void (*closed)(void *ctx);
};

struct cluster_options {
    uv_loop_t *loop;
    struct datadir *datadir; /* borrowed until closed */
    uint8_t seed[16];
    struct cluster_events events;
};

/* Starts redis-server and its helper. On the main thread, before there are others, and before
 * rights are given up. 0 or a negative errno; -ENODATA if the data of this node's cluster are
 * gone. */
int cluster_start(struct cluster **out, const struct cluster_options *options, struct err *err);

/* Opens the store: the events begin. 0 or a negative errno. */
int cluster_open(struct cluster *cluster, struct err *err);

/* Ends the store and Redis, then calls `closed`. */
void cluster_close(struct cluster *cluster);

/* NULL until the store is loaded. Valid until the next event `reloaded`. Takes NULL. */
const struct state *cluster_state(const struct cluster *cluster);

/* Where changes are submitted; NULL before cluster_open. */
struct writer *cluster_writer(const struct cluster *cluster);

/* Whether the store takes changes now. */
bool cluster_takes_changes(const struct cluster *cluster);

/* Whether the data dir's disk has no room for changes. */
bool cluster_disk_full(const struct cluster *cluster);

/* The path of Redis' socket while its file is not there and Redis is not just starting; else NULL.
 */
const char *cluster_missing_socket(const struct cluster *cluster);

bool cluster_redis_runs(const struct cluster *cluster);
uint64_t cluster_redis_deaths(const struct cluster *cluster); /* since the start */

/* Kills a Redis that does not do its work; it comes back parked and is promoted again. */
void cluster_restart_redis(struct cluster *cluster);

#endif
