#ifndef CONTROL_CLUSTER_REDIS_UPKEEP_H
#define CONTROL_CLUSTER_REDIS_UPKEEP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* Keeps Redis' append-only file below twice the data set and 16 MB. While changes come, asks once a
 * second how large the file is, and has Redis rewrite it. Redis keeps base and increments until the
 * new file is complete and synced, so that no acknowledged change is at risk meanwhile. */

struct redisAsyncContext;

struct redis_upkeep {
    uv_timer_t timer; /* `data` is the owner's */
    struct redisAsyncContext *const *connection;
    uint64_t slack;     /* bytes */
    uint64_t resume_ms; /* loop time; after a failure, no rewrite is asked for before it */
    bool failed;        /* the last rewrite, and it was logged */
};

/* `connection` is where the owner keeps its connection to a Redis that this daemon is the master's;
 * NULL there: none now. The slack is drawn here, so that nodes do not all rewrite at once. */
void redis_upkeep_init(struct redis_upkeep *upkeep, uv_loop_t *loop,
                       struct redisAsyncContext *const *connection);

/* The file may have grown. The owner closes the timer in the end. */
void redis_upkeep_changed(struct redis_upkeep *upkeep);

/* What INFO says of the file. Bytes. */
struct redis_aof {
    bool idle;        /* on, not loading, and no rewrite runs or is planned */
    bool failed;      /* the last rewrite */
    uint64_t current; /* the whole file */
    uint64_t base;    /* after the last rewrite */
    uint64_t data;    /* the data set in memory */
};

/* False if the text is no answer to INFO. */
bool redis_aof_read(struct redis_aof *out, const char *info);

bool redis_aof_is_due(const struct redis_aof *aof, uint64_t slack);

#endif
