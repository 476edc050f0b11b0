#ifndef CONTROL_CLUSTER_REDIS_PROC_H
#define CONTROL_CLUSTER_REDIS_PROC_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

/* The managed redis-server: kept by a helper (redis_keeper.h), with its data in DATA_DIR/redis,
 * reached over a unix socket there with a password that is new at each start of the daemon and is
 * never written to a file. It starts parked (replicaof 127.0.0.1 1), is restarted with back-off
 * when it dies, and dies with us. Where we may, it runs as the user `redis`. */

struct err;
struct redis_proc;

struct redis_proc_options {
    const char *data_dir;
    const char *program; /* NULL: redis-server on the PATH */
    const char *bind;    /* address for replication, or NULL: no TCP port at all */
    uint16_t port;       /* --redis-port; used with `bind` only */
    const char *user;    /* NULL: "redis" */
    void *ctx;
    /* The child died; it is started again after `delay_ms`. May be NULL. */
    void (*died)(void *ctx, int status, uint64_t delay_ms);
};

/* Starts the helper and Redis. On the main thread, before there are others, and before rights are
 * given up. */
int redis_proc_start(struct redis_proc **out, uv_loop_t *loop,
                     const struct redis_proc_options *options, struct err *err);

/* What store_redis_open needs; good until the process is stopped. */
const char *redis_proc_socket(const struct redis_proc *proc);
const char *redis_proc_user(const struct redis_proc *proc);
const char *redis_proc_password(const struct redis_proc *proc);

/* 0 while it is not running. */
pid_t redis_proc_pid(const struct redis_proc *proc);

/* SIGKILL, for a child that does not answer; it is started again. */
void redis_proc_kill(struct redis_proc *proc);

/* SIGTERM, and SIGKILL after 3 s; frees `proc` and then calls `stopped` (may be NULL). The socket
 * is removed. */
void redis_proc_stop(struct redis_proc *proc, void (*stopped)(void *ctx), void *ctx);

#endif
