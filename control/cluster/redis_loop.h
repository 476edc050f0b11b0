#ifndef CONTROL_CLUSTER_REDIS_LOOP_H
#define CONTROL_CLUSTER_REDIS_LOOP_H

#include <uv.h>

struct redisAsyncContext;

/* Drives a hiredis connection by a libuv loop. Passes poll errors on, unlike hiredis' own adapter,
 * so that a dead connection is always noticed. 0 or a negative errno. What it allocates is freed
 * with the context. */
int redis_loop_attach(struct redisAsyncContext *context, uv_loop_t *loop);

#endif
