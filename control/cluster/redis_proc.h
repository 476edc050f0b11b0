#ifndef CONTROL_CLUSTER_REDIS_PROC_H
#define CONTROL_CLUSTER_REDIS_PROC_H

#include "control/cluster/redis_launch.h"

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

/* The managed redis-server: kept by a helper (redis_keeper.h), its data in DATA_DIR/redis, reached
 * over a unix socket there. The password is new at each start of the daemon and is in no file.
 * Redis starts parked (REDIS_PARKED), is restarted with back-off when it dies, and dies with the
 * daemon. It runs as the user `redis` where the daemon has the rights for that. */

struct err;
struct redis_proc;

struct redis_proc_options {
    struct redis_launch_options launch;
    void *ctx;
    /* The child died and is restarted after `delay_ms`. May be NULL. */
    void (*died)(void *ctx, int status, uint64_t delay_ms);
    /* The helper died, and Redis with it: nobody can restart either. May be NULL. */
    void (*gone)(void *ctx);
};

/* Starts the helper and Redis. Call on the main thread, before there are others, and before rights
 * are given up. 0 or a negative errno. */
int redis_proc_start(struct redis_proc **out, uv_loop_t *loop,
                     const struct redis_proc_options *options, struct err *err);

/* What store_redis_open needs; valid until the process is stopped. */
const char *redis_proc_socket(const struct redis_proc *proc);
const char *redis_proc_user(const struct redis_proc *proc);
const char *redis_proc_password(const struct redis_proc *proc);

/* 0 while it is not running. */
pid_t redis_proc_pid(const struct redis_proc *proc);

/* SIGKILL, for a child that does not answer; it is restarted. */
void redis_proc_kill(struct redis_proc *proc);

/* SIGTERM, and SIGKILL after 3 s; frees `proc` and then calls `stopped` (may be NULL). The socket
 * is removed. */
void redis_proc_stop(struct redis_proc *proc, void (*stopped)(void *ctx), void *ctx);

#endif
