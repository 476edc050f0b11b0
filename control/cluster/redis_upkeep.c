#include "control/cluster/redis_upkeep.h"

#include "base/log.h"

#include <hiredis/async.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHECK_MS = 1000,
    FAILURE_PAUSE_MS = 60000,
    /* The rest of the 16 MB is for what comes before the rewrite is done. */
    SLACK_BYTES = 6 * 1024 * 1024,
    SLACK_RANDOM_BYTES = 4 * 1024 * 1024,
};

/* ---- what INFO says ---- */

/* The value of a line "name:value"; NULL: there is none. */
static const char *value_of(const char *info, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = info; (at = strstr(at, name)) != NULL; at += len)
        if ((at == info || at[-1] == '\n') && at[len] == ':')
            return at + len + 1;
    return NULL;
}

static uint64_t number_of(const char *info, const char *name)
{
    const char *value = value_of(info, name);
    return value != NULL ? strtoull(value, NULL, 10) : 0;
}

bool redis_aof_read(struct redis_aof *out, const char *info)
{
    const char *status = value_of(info, "aof_last_bgrewrite_status");
    if (status == NULL)
        return false;
    *out = (struct redis_aof){
        .idle = number_of(info, "aof_enabled") == 1 && number_of(info, "loading") == 0 &&
                number_of(info, "aof_rewrite_in_progress") == 0 &&
                number_of(info, "aof_rewrite_scheduled") == 0,
        .failed = strncmp(status, "ok", 2) != 0,
        .current = number_of(info, "aof_current_size"),
        .base = number_of(info, "aof_base_size"),
        .data = number_of(info, "used_memory_dataset"),
    };
    return true;
}

/* The base is about the data set's size at the last rewrite. The data set may have shrunk since. */
bool redis_aof_is_due(const struct redis_aof *aof, uint64_t slack)
{
    uint64_t data = aof->data != 0 && aof->data < aof->base ? aof->data : aof->base;
    return aof->idle && aof->current > 2 * data + slack;
}

/* ---- asking ---- */

static void redis_upkeep_on_info(redisAsyncContext *context, void *data, void *privdata)
{
    struct redis_upkeep *upkeep = privdata;
    const redisReply *reply = data;
    struct redis_aof aof;
    if (reply == NULL || context->data == NULL) /* the owner may be gone */
        return;
    if (reply->type != REDIS_REPLY_STRING || !redis_aof_read(&aof, reply->str))
        return;
    uint64_t now = uv_now(upkeep->timer.loop);
    if (aof.failed && !upkeep->failed) {
        log_warn("Redis could not rewrite its append-only file, retrying in 60 s: its log says why",
                 F_INT("bytes", aof.current));
        upkeep->resume_ms = now + FAILURE_PAUSE_MS;
    }
    upkeep->failed = aof.failed;
    if (!redis_aof_is_due(&aof, upkeep->slack) || now < upkeep->resume_ms)
        return;
    log_debug("rewriting Redis' append-only file", F_INT("bytes", aof.current),
              F_INT("base", aof.base));
    upkeep->failed = false;
    (void)redisAsyncCommand(context, NULL, NULL, "BGREWRITEAOF");
}

static void on_check(uv_timer_t *timer)
{
    struct redis_upkeep *upkeep = (struct redis_upkeep *)timer;
    redisAsyncContext *context = *upkeep->connection;
    if (context != NULL)
        (void)redisAsyncCommand(context, redis_upkeep_on_info, upkeep, "INFO");
}

void redis_upkeep_init(struct redis_upkeep *upkeep, uv_loop_t *loop,
                       redisAsyncContext *const *connection)
{
    uint32_t draw = 0;
    if (uv_random(NULL, NULL, &draw, sizeof draw, 0, NULL) < 0)
        draw = 0;
    *upkeep = (struct redis_upkeep){.connection = connection,
                                    .slack = SLACK_BYTES + draw % SLACK_RANDOM_BYTES};
    (void)uv_timer_init(loop, &upkeep->timer);
}

void redis_upkeep_changed(struct redis_upkeep *upkeep)
{
    if (!uv_is_closing((uv_handle_t *)&upkeep->timer) &&
        !uv_is_active((uv_handle_t *)&upkeep->timer))
        (void)uv_timer_start(&upkeep->timer, on_check, CHECK_MS, 0);
}
