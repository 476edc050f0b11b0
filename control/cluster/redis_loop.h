#ifndef CONTROL_CLUSTER_REDIS_LOOP_H
#define CONTROL_CLUSTER_REDIS_LOOP_H

#include <uv.h>

struct redisAsyncContext;

/* Drives a hiredis connection by a libuv loop. Unlike hiredis' own adapter it passes poll errors
 * on, so that a connection that died is always noticed. Returns 0 or a negative errno; what it
 * allocates goes with the context. */
int redis_loop_attach(struct redisAsyncContext *context, uv_loop_t *loop);

#endif
