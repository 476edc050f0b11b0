/* Two connections: `command` loads, commits and promotes; `follow` waits in XREAD for the next
 * change. Together they go DOWN -> LOADING -> LIVE. The loss of `command` takes both down, and a
 * timer retries. The loss of `follow` (Redis closes it whenever it is parked) and a gap in the
 * changes go back to LOADING only.
 *
 * A request is first in flight (hiredis holds it), then settled: its reply is known, but it waits
 * until the followed changes have caught up with the revision in the reply, so that an answer never
 * comes before its state. Results that are known at once wait for a timer of 0 ms, since no
 * callback runs inside its own call. */
#include "control/cluster/store_redis.h"

#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "control/cluster/record_sum.h"
#include "control/cluster/redis_launch.h"
#include "control/cluster/redis_loop.h"
#include "control/cluster/redis_upkeep.h"
#include "control/cluster/store.h"
#include "control/cluster/store_redis_reply.h"
#include "control/cluster/store_redis_scripts.h"
#include "control/state/change.h"

#include <errno.h>
#include <hiredis/async.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY_FIRST_MS = 10, RETRY_MAX_MS = 500, ANSWER_MS = 2000, CATCH_UP_MS = 1000 };

enum phase { PHASE_DOWN, PHASE_LOADING, PHASE_LIVE };

struct store_redis {
    struct store base;
    uv_loop_t *loop;
    struct store_redis_options options; /* owned copies */
    struct store_events events;
    redisAsyncContext *command;
    redisAsyncContext *follow;
    enum phase phase;
    bool was_live; /* `lost` is due when the connection goes */
    bool load_pending;
    uint64_t epoch;
    uint64_t rev;
    char last_id[STORE_REDIS_ID_TEXT];
    char commit_sha[41];
    uv_timer_t retry;
    uv_timer_t watchdog;
    uv_timer_t soon;
    uv_timer_t catch_up;
    uint64_t catch_up_rev;
    struct redis_upkeep upkeep;
    unsigned open_handles;
    uint64_t retry_ms;
    size_t unanswered;   /* commands on `command` */
    struct list settled; /* requests */
    struct list due;     /* requests whose result is known, for `soon` */
    bool closing;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

struct request {
    struct list node;
    struct store_redis *store;
    struct store_done done;
    int status;
    uint64_t epoch;
    uint64_t rev;
    bool is_promotion;
};

static void load(struct store_redis *store);
static void follow_anew(struct store_redis *store);
static void take_down(struct store_redis *store);

/* ---- requests */

static struct request *request_create(struct store_redis *store, const struct store_done *done)
{
    struct request *request = calloc(1, sizeof *request);
    if (request == NULL)
        return NULL;
    list_init(&request->node);
    request->store = store;
    request->done = *done;
    return request;
}

static void request_finish(struct request *request, int status)
{
    list_remove(&request->node);
    if (request->done.done != NULL)
        request->done.done(request->done.ctx, status, request->epoch, request->rev);
    free(request);
}

/* Callbacks may add requests or close the store, so the list is emptied first. */
static void finish_all(struct list *requests, bool as_known, int status)
{
    struct list mine;
    list_init(&mine);
    while (!list_empty(requests)) {
        struct list *node = requests->next;
        list_remove(node);
        list_append(&mine, node);
    }
    while (!list_empty(&mine)) {
        struct request *request = list_first(&mine, struct request, node);
        request_finish(request, as_known ? request->status : status);
    }
}

static void on_soon(uv_timer_t *timer)
{
    struct store_redis *store = timer->data;
    finish_all(&store->due, true, 0);
}

static void finish_soon(struct store_redis *store, struct request *request, int status)
{
    request->status = status;
    list_remove(&request->node);
    list_append(&store->due, &request->node);
    if (!store->closing)
        uv_timer_start(&store->soon, on_soon, 0, 0);
}

static bool caught_up(const struct store_redis *store, const struct request *request)
{
    return store->phase == PHASE_LIVE &&
           (store->epoch > request->epoch ||
            (store->epoch == request->epoch && store->rev >= request->rev));
}

/* Ends the settled requests that the state has caught up with. */
static void release(struct store_redis *store)
{
    struct list ready;
    list_init(&ready);
    list_for_each_safe (node, &store->settled) {
        struct request *request = container_of(node, struct request, node);
        if (caught_up(store, request)) {
            list_remove(node);
            list_append(&ready, node);
        }
    }
    finish_all(&ready, true, 0);
    if (list_empty(&store->settled) && !store->closing)
        uv_timer_stop(&store->catch_up);
}

static void on_catch_up(uv_timer_t *timer);

static void settle(struct store_redis *store, struct request *request, int status)
{
    request->status = status;
    list_append(&store->settled, &request->node);
    if (caught_up(store, request))
        finish_soon(store, request, status);
    else if (!store->closing && !uv_is_active((uv_handle_t *)&store->catch_up)) {
        store->catch_up_rev = store->rev;
        uv_timer_start(&store->catch_up, on_catch_up, CATCH_UP_MS, CATCH_UP_MS);
    }
}

/* After a reload: a revision that the data have not reached is not in them. */
static void settle_after_load(struct store_redis *store)
{
    list_for_each_safe (node, &store->settled) {
        struct request *request = container_of(node, struct request, node);
        if (!caught_up(store, request))
            finish_soon(store, request, -EIO);
    }
    release(store);
}

/* ---- the watchdog over unanswered commands */

static void on_watchdog(uv_timer_t *timer)
{
    struct store_redis *store = timer->data;
    struct err err;
    err_set(&err, -ETIMEDOUT, "redis-server did not answer for %d ms", ANSWER_MS);
    log_warn(err.text);
    take_down(store);
    if (store->events.failed != NULL && !store->closing)
        store->events.failed(store->events.ctx, &err);
}

static void asked(struct store_redis *store)
{
    if (store->unanswered++ == 0)
        uv_timer_start(&store->watchdog, on_watchdog, ANSWER_MS, 0);
}

static void answered(struct store_redis *store)
{
    if (--store->unanswered == 0)
        uv_timer_stop(&store->watchdog);
    else if (!store->closing)
        uv_timer_start(&store->watchdog, on_watchdog, ANSWER_MS, 0);
}

/* ---- connections */

static void on_retry(uv_timer_t *timer);

static void drop_connection(redisAsyncContext **context)
{
    redisAsyncContext *gone = *context;
    *context = NULL;
    if (gone == NULL)
        return;
    gone->data = NULL; /* its callbacks still come, and find that nobody uses it */
    redisAsyncFree(gone);
}

/* Drops both connections and plans a retry. */
static void take_down(struct store_redis *store)
{
    bool lost = store->was_live;
    store->phase = PHASE_DOWN;
    store->was_live = false;
    store->load_pending = false;
    store->unanswered = 0;
    if (!store->closing) {
        uv_timer_stop(&store->watchdog);
        uv_timer_start(&store->retry, on_retry, store->retry_ms, 0);
    }
    store->retry_ms = store->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : store->retry_ms * 2;
    drop_connection(&store->command);
    drop_connection(&store->follow);
    if (lost && !store->closing && store->events.lost != NULL)
        store->events.lost(store->events.ctx);
}

/* The store of a callback, or NULL if the connection is no longer in use. A missing reply means
 * that the connection is dying. */
static struct store_redis *store_of(redisAsyncContext *context, const redisReply *reply)
{
    struct store_redis *store = context->data;
    if (store == NULL || reply != NULL)
        return store;
    context->data = NULL; /* hiredis is freeing it */
    if (store->command == context) {
        store->command = NULL;
        take_down(store);
    } else {
        store->follow = NULL;
        follow_anew(store);
    }
    return NULL;
}

static void on_disconnect(const redisAsyncContext *context, int status)
{
    (void)status;
    (void)store_of((redisAsyncContext *)(uintptr_t)context, NULL);
}

static int connect_one(struct store_redis *store, redisAsyncContext **out)
{
    redisAsyncContext *context = redisAsyncConnectUnix(store->options.socket);
    if (context == NULL)
        return -ENOMEM;
    int rc = context->err != 0 ? -ECONNREFUSED : redis_loop_attach(context, store->loop);
    if (rc != 0) {
        redisAsyncFree(context);
        return rc;
    }
    context->data = store;
    redisAsyncSetDisconnectCallback(context, on_disconnect);
    *out = context;
    return 0;
}

/* LOADING and the like pass. A refused password does not, but may come from a redis-server that is
 * about to be replaced. Both are retried. */
static void on_set_up(redisAsyncContext *context, void *data, void *privdata)
{
    redisReply *reply = data;
    struct store_redis *store = store_of(context, reply);
    if (store == NULL)
        return;
    if (context == store->command)
        answered(store);
    if (reply->type == REDIS_REPLY_ERROR) {
        log_debug("redis-server is not ready", F_STR("reply", reply->str));
        take_down(store);
    } else if (privdata != NULL && reply->type == REDIS_REPLY_STRING &&
               (size_t)reply->len < sizeof store->commit_sha)
        memcpy(store->commit_sha, reply->str, (size_t)reply->len + 1);
}

static void fail(struct store_redis *store, int code, const char *text)
{
    struct err err;
    err_set(&err, code, "%s", text);
    take_down(store);
    if (store->events.failed != NULL && !store->closing)
        store->events.failed(store->events.ctx, &err);
}

/* A Redis that follows another master would take that one's data. */
static void on_role(redisAsyncContext *context, void *data, void *privdata)
{
    const redisReply *reply = data;
    struct store_redis *store = store_of(context, reply);
    (void)privdata;
    if (store == NULL)
        return;
    answered(store);
    if (reply->type != REDIS_REPLY_ERROR && !store_redis_is_parked(reply))
        fail(store, -EPERM, "redis-server is not parked: it would take the data of another master");
    else if (reply->type == REDIS_REPLY_ERROR)
        take_down(store);
}

static bool connect_follow(struct store_redis *store)
{
    if (connect_one(store, &store->follow) != 0)
        return false;
    redisAsyncCommand(store->follow, on_set_up, NULL, "AUTH %s %s", store->options.user,
                      store->options.password);
    return true;
}

static bool connect_command(struct store_redis *store)
{
    if (connect_one(store, &store->command) != 0)
        return false;
    asked(store);
    redisAsyncCommand(store->command, on_set_up, NULL, "AUTH %s %s", store->options.user,
                      store->options.password);
    /* Parked by its configuration or not, Redis is now, and says so. */
    asked(store);
    redisAsyncCommand(store->command, on_set_up, NULL, "REPLICAOF " REDIS_PARKED);
    asked(store);
    redisAsyncCommand(store->command, on_role, NULL, "ROLE");
    asked(store);
    redisAsyncCommand(store->command, on_set_up, store, "SCRIPT LOAD %s",
                      store_redis_commit_script);
    return true;
}

static void follow_anew(struct store_redis *store)
{
    if (connect_follow(store))
        load(store);
    else
        take_down(store);
}

static void on_retry(uv_timer_t *timer)
{
    struct store_redis *store = timer->data;
    if (connect_command(store))
        follow_anew(store);
    else
        take_down(store);
}

/* The stream does not lead to where a reply says that the store is: only a reload can. Without it
 * the request, and with it every one behind, would wait for ever. */
static void on_catch_up(uv_timer_t *timer)
{
    struct store_redis *store = timer->data;
    bool moved = store->rev != store->catch_up_rev || store->phase != PHASE_LIVE;
    store->catch_up_rev = store->rev;
    if (list_empty(&store->settled) || moved)
        return;
    log_warn("the stream of changes does not reach the store's revision; reloading everything");
    drop_connection(&store->follow); /* its XREAD is still waiting */
    follow_anew(store);
}

/* ---- following */

static void on_changes(redisAsyncContext *context, void *data, void *privdata);

static void follow(struct store_redis *store)
{
    redisAsyncCommand(store->follow, on_changes, NULL,
                      "XREAD COUNT 512 BLOCK 0 STREAMS " RECORD_KEY_CHANGES " %s", store->last_id);
}

/* False if it does not follow the known place, or is not an entry of ours. */
static bool take_entry(struct store_redis *store, const redisReply *entry)
{
    struct record_change change;
    const char *id;
    if (!store_redis_read_entry(entry, &change, &id))
        return false;
    bool next = change.prev_epoch == store->epoch && change.prev_rev == store->rev &&
                strlen(id) < sizeof store->last_id;
    if (next) {
        memcpy(store->last_id, id, strlen(id) + 1);
        store->epoch = change.epoch;
        store->rev = change.rev;
        if (store->events.changed != NULL)
            store->events.changed(store->events.ctx, &change);
    }
    free((void *)(uintptr_t)change.ops);
    return next;
}

/* XREAD's reply: one stream, its name and its entries. */
static const redisReply *entries_of(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1)
        return NULL;
    const redisReply *stream = reply->element[0];
    if (stream->type != REDIS_REPLY_ARRAY || stream->elements != 2 ||
        stream->element[1]->type != REDIS_REPLY_ARRAY)
        return NULL;
    return stream->element[1];
}

static void on_changes(redisAsyncContext *context, void *data, void *privdata)
{
    const redisReply *reply = data;
    struct store_redis *store = store_of(context, reply);
    (void)privdata;
    if (store == NULL || store->phase != PHASE_LIVE)
        return;
    const redisReply *entries = entries_of(reply);
    bool whole = entries != NULL;
    for (size_t i = 0; whole && i < entries->elements; i++) {
        whole = take_entry(store, entries->element[i]);
        if (store->phase != PHASE_LIVE)
            return;
    }
    if (!whole) {
        log_info("gap in the changes; reloading everything",
                 F_STR("reply", reply->type == REDIS_REPLY_ERROR ? reply->str : "stream"));
        load(store);
        return;
    }
    redis_upkeep_changed(&store->upkeep);
    follow(store);
    release(store);
}

/* ---- loading */

static void loaded(struct store_redis *store, const struct store_redis_load *data)
{
    store->phase = PHASE_LIVE;
    store->was_live = true;
    store->retry_ms = RETRY_FIRST_MS;
    store->epoch = data->image.epoch;
    store->rev = data->image.rev;
    memcpy(store->last_id, data->last_id, sizeof store->last_id);
    if (store->events.loaded != NULL)
        store->events.loaded(store->events.ctx, &data->image);
    if (store->phase != PHASE_LIVE || store->closing)
        return;
    redis_upkeep_changed(&store->upkeep);
    follow(store);
    settle_after_load(store);
}

static void refuse_layout(struct store_redis *store)
{
    store->retry_ms = RETRY_MAX_MS;
    fail(store, -EUCLEAN,
         "the data in redis-server are another program's, or have a layout that this version does "
         "not know: start the version that wrote them, or move the folder redis in the data dir "
         "away");
}

static void on_load(redisAsyncContext *context, void *data, void *privdata)
{
    const redisReply *reply = data;
    struct store_redis *store = store_of(context, reply);
    struct store_redis_load image;
    (void)privdata;
    if (store == NULL)
        return;
    answered(store);
    store->load_pending = false;
    if (!store_redis_read_load(reply, &image)) {
        log_debug("redis-server is not ready",
                  F_STR("reply", reply->type == REDIS_REPLY_ERROR ? reply->str : "unexpected"));
        take_down(store);
    } else if (!image.layout_is_ours)
        refuse_layout(store);
    else
        loaded(store, &image);
    store_redis_load_fini(&image);
}

static void load(struct store_redis *store)
{
    store->phase = PHASE_LOADING;
    if (store->load_pending)
        return;
    store->load_pending = true;
    asked(store);
    redisAsyncCommand(store->command, on_load, NULL, "EVAL %s 0", store_redis_load_script);
}

/* ---- commits and promotions */

/* Without a connection no reply will come: what was sent may have been done. */
static void on_outcome(redisAsyncContext *context, const redisReply *reply, struct request *request,
                       const redisReply *result)
{
    struct store_redis *store = store_of(context, reply);
    if (store == NULL) {
        finish_soon(request->store, request, -EIO);
        return;
    }
    answered(store);
    if (result != NULL && store_redis_read_position(result, &request->epoch, &request->rev)) {
        settle(store, request, 0);
        return;
    }
    const redisReply *error = result != NULL && result->type == REDIS_REPLY_ERROR ? result : reply;
    const char *text = error->type == REDIS_REPLY_ERROR ? error->str : "no result";
    int status = store_redis_error_status(text, &request->epoch, &request->rev);
    if (status == -EIO)
        log_error("redis-server refused a change", F_STR("reply", text));
    if (request->is_promotion) /* REPLICAOF NO ONE may have been done before the script failed */
        redisAsyncCommand(store->command, NULL, NULL, "REPLICAOF " REDIS_PARKED);
    if (status == -ESTALE)
        settle(store, request, status);
    else
        finish_soon(store, request, status);
}

static void on_commit(redisAsyncContext *context, void *data, void *privdata)
{
    const redisReply *reply = data;
    struct store_redis *store = context->data;
    struct request *request = privdata;
    /* Redis forgot the script (SCRIPT FLUSH): nothing was done, and the next attempt finds it. */
    if (store != NULL && reply != NULL && reply->type == REDIS_REPLY_ERROR &&
        strncmp(reply->str, "NOSCRIPT", 8) == 0) {
        answered(store);
        asked(store);
        redisAsyncCommand(store->command, on_set_up, store, "SCRIPT LOAD %s",
                          store_redis_commit_script);
        finish_soon(store, request, -ESTALE);
        return;
    }
    on_outcome(context, reply, request, reply);
}

/* EXEC's reply holds those of REPLICAOF and of the script. */
static void on_promoted(redisAsyncContext *context, void *data, void *privdata)
{
    const redisReply *reply = data;
    const redisReply *result = NULL;
    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2)
        result = reply->element[1];
    on_outcome(context, reply, privdata, result);
}

/* EVALSHA's arguments for a change. Both arrays are allocated. */
struct arguments {
    int count;
    const char **texts;
    size_t *lengths;
    uint8_t *sealed; /* values with their sums, one behind the other */
    size_t sealed_len;
};

static void push(struct arguments *args, const void *text, size_t len)
{
    args->texts[args->count] = text;
    args->lengths[args->count++] = len;
}

static void push_text(struct arguments *args, const char *text)
{
    push(args, text == NULL ? "" : text, text == NULL ? 0 : strlen(text));
}

static bool arguments_init(struct arguments *args, size_t capacity)
{
    args->count = 0;
    args->texts = calloc(capacity, sizeof *args->texts);
    args->lengths = calloc(capacity, sizeof *args->lengths);
    return args->texts != NULL && args->lengths != NULL;
}

static void arguments_fini(struct arguments *args)
{
    free(args->texts);
    free(args->lengths);
    free(args->sealed);
}

/* Room for all values of a change with their sums. */
static bool arguments_seal(struct arguments *args, const struct change *change)
{
    size_t room = 1;
    for (size_t i = 0; i < change->op_count; i++)
        room += change->ops[i].len + RECORD_SUM_BYTES;
    args->sealed = malloc(room);
    args->sealed_len = 0;
    return args->sealed != NULL;
}

static void push_value(struct arguments *args, const struct record_op *op)
{
    if (!record_sum_applies(op)) {
        push(args, op->value == NULL ? (const uint8_t *)"" : op->value, op->len);
        return;
    }
    uint8_t *at = args->sealed + args->sealed_len;
    record_sum_seal(op, at);
    args->sealed_len += op->len + RECORD_SUM_BYTES;
    push(args, at, op->len + RECORD_SUM_BYTES);
}

static int send_commit(struct store_redis *store, const struct change *change,
                       struct request *request)
{
    char epoch[24];
    char rev[24];
    struct arguments args = {0};
    bool ready = arguments_init(&args, 7 + 4 * change->op_count) && arguments_seal(&args, change);
    int rc = ready ? 0 : -ENOMEM;
    if (rc == 0) {
        snprintf(epoch, sizeof epoch, "%llu", (unsigned long long)change->epoch);
        snprintf(rev, sizeof rev, "%llu", (unsigned long long)change->rev);
        const char *const head[] = {
            "EVALSHA", store->commit_sha, "2", RECORD_KEY_META, RECORD_KEY_CHANGES, epoch, rev};
        for (size_t i = 0; i < sizeof head / sizeof head[0]; i++)
            push_text(&args, head[i]);
        for (size_t i = 0; i < change->op_count; i++) {
            const struct record_op *op = &change->ops[i];
            push_text(&args, store_redis_op_name(op->kind));
            push_text(&args, op->key);
            push_text(&args, op->field);
            push_value(&args, op);
        }
        asked(store);
        redisAsyncCommandArgv(store->command, on_commit, request, args.count, args.texts,
                              args.lengths);
    }
    arguments_fini(&args);
    return rc;
}

/* The script checks the place, so a request may also go out during a reload. */
static bool can_send(const struct store_redis *store)
{
    return !store->closing && (store->phase == PHASE_LIVE || store->was_live);
}

static void commit(struct store *base, const struct change *change, const struct store_done *done)
{
    struct store_redis *store = (struct store_redis *)base;
    struct request *request = request_create(store, done);
    if (request == NULL)
        abort(); /* a few bytes, and no way to report the failure */
    int rc = -ECANCELED;
    if (can_send(store))
        rc = send_commit(store, change, request);
    if (rc != 0)
        finish_soon(store, request, rc);
}

static void promote(struct store *base, uint64_t epoch, uint64_t rev, uint64_t new_epoch,
                    const struct store_done *done)
{
    struct store_redis *store = (struct store_redis *)base;
    struct request *request = request_create(store, done);
    if (request == NULL)
        abort();
    request->is_promotion = true;
    if (!can_send(store)) {
        finish_soon(store, request, -ECANCELED);
        return;
    }
    asked(store);
    redisAsyncCommand(store->command, NULL, NULL, "MULTI");
    redisAsyncCommand(store->command, NULL, NULL, "REPLICAOF NO ONE");
    redisAsyncCommand(store->command, NULL, NULL,
                      "EVAL %s 2 " RECORD_KEY_META " " RECORD_KEY_CHANGES
                      " %llu %llu %llu " RECORD_LAYOUT,
                      store_redis_promote_script, (unsigned long long)epoch,
                      (unsigned long long)rev, (unsigned long long)new_epoch);
    redisAsyncCommand(store->command, on_promoted, request, "EXEC");
}

static void on_parked(redisAsyncContext *context, void *data, void *privdata)
{
    const redisReply *reply = data;
    struct request *request = privdata;
    struct store_redis *store = store_of(context, reply);
    if (store == NULL) {
        finish_soon(request->store, request, -EIO);
        return;
    }
    answered(store);
    request->epoch = store->epoch;
    request->rev = store->rev;
    finish_soon(store, request, reply->type == REDIS_REPLY_STATUS ? 0 : -EIO);
}

static void park(struct store *base, const struct store_done *done)
{
    struct store_redis *store = (struct store_redis *)base;
    struct request *request = request_create(store, done);
    if (request == NULL)
        abort();
    if (!can_send(store)) {
        finish_soon(store, request, -ECANCELED);
        return;
    }
    asked(store);
    redisAsyncCommand(store->command, on_parked, request, "REPLICAOF " REDIS_PARKED);
}

/* ---- life */

static void free_options(struct store_redis_options *options)
{
    free((void *)(uintptr_t)options->socket);
    free((void *)(uintptr_t)options->user);
    free((void *)(uintptr_t)options->password);
}

static void store_redis_on_closed(uv_handle_t *handle)
{
    struct store_redis *store = handle->data;
    if (--store->open_handles > 0)
        return;
    void (*closed)(void *ctx) = store->closed;
    void *ctx = store->closed_ctx;
    finish_all(&store->settled, false, -EIO);
    finish_all(&store->due, true, 0);
    free_options(&store->options);
    free(store);
    if (closed != NULL)
        closed(ctx);
}

static void close_store(struct store *base, void (*closed)(void *ctx), void *ctx)
{
    struct store_redis *store = (struct store_redis *)base;
    store->closing = true;
    store->closed = closed;
    store->closed_ctx = ctx;
    uv_close((uv_handle_t *)&store->retry, store_redis_on_closed);
    uv_close((uv_handle_t *)&store->watchdog, store_redis_on_closed);
    uv_close((uv_handle_t *)&store->soon, store_redis_on_closed);
    uv_close((uv_handle_t *)&store->catch_up, store_redis_on_closed);
    uv_close((uv_handle_t *)&store->upkeep.timer, store_redis_on_closed);
    take_down(store);
}

static const struct store_ops ops = {
    .commit = commit, .promote = promote, .park = park, .close = close_store};

int store_redis_open(struct store **out, uv_loop_t *loop, const struct store_redis_options *options,
                     const struct store_events *events)
{
    struct store_redis *store = calloc(1, sizeof *store);
    if (store == NULL)
        return -ENOMEM;
    store->options = (struct store_redis_options){.socket = strdup(options->socket),
                                                  .user = strdup(options->user),
                                                  .password = strdup(options->password)};
    if (store->options.socket == NULL || store->options.user == NULL ||
        store->options.password == NULL) {
        free_options(&store->options);
        free(store);
        return -ENOMEM;
    }
    store->base.ops = &ops;
    store->loop = loop;
    store->events = *events;
    store->retry_ms = RETRY_FIRST_MS;
    list_init(&store->settled);
    list_init(&store->due);
    uv_timer_t *const timers[] = {&store->retry, &store->watchdog, &store->soon, &store->catch_up};
    for (size_t i = 0; i < sizeof timers / sizeof timers[0]; i++) {
        uv_timer_init(loop, timers[i]);
        timers[i]->data = store;
        store->open_handles++;
    }
    redis_upkeep_init(&store->upkeep, loop, &store->command);
    store->upkeep.timer.data = store;
    store->open_handles++;
    uv_timer_start(&store->retry, on_retry, 0, 0);
    *out = &store->base;
    return 0;
}
