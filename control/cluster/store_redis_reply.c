#include "control/cluster/store_redis_reply.h"

#include "base/addr.h"
#include "base/log.h"
#include "control/cluster/record_sum.h"
#include "control/cluster/redis_launch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_string(const redisReply *reply)
{
    return reply != NULL &&
           (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS);
}

static bool is_array(const redisReply *reply, size_t least)
{
    return reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements >= least;
}

static bool read_number(const redisReply *reply, uint64_t *out)
{
    return is_string(reply) && strlen(reply->str) == (size_t)reply->len &&
           parse_number(out, reply->str, 0, UINT64_MAX);
}

/* A string without a NUL inside, which can be used as text. */
static bool is_text(const redisReply *reply)
{
    return is_string(reply) && strlen(reply->str) == (size_t)reply->len;
}

bool store_redis_read_position(const redisReply *reply, uint64_t *epoch, uint64_t *rev)
{
    return is_array(reply, 2) && read_number(reply->element[0], epoch) &&
           read_number(reply->element[1], rev);
}

/* ---- load */

/* The fields of heimdall:meta that hold the store's place are not records. */
static bool is_position(const struct record_op *op)
{
    return strcmp(op->key, RECORD_KEY_META) == 0 && op->field != NULL &&
           (strcmp(op->field, "epoch") == 0 || strcmp(op->field, "rev") == 0 ||
            strcmp(op->field, "layout") == 0);
}

/* Takes the checksum out of a value. A damaged record gets a value that no message has, so that
 * whoever reads it skips and counts it. */
static void check_sum(struct record_op *op, redisReply *value)
{
    if (record_sum_open(op, (uint8_t *)value->str))
        return;
    log_error(
        "a record's checksum does not match: its bytes changed on the disk; restore the folder "
        "redis of the data dir from a backup, or make the change anew",
        F_INT("bytes", op->len));
    value->str[0] = '\xff';
    op->len = 1;
}

static bool read_record(redisReply *const part[3], struct record_op *op)
{
    if (!is_text(part[0]) || !is_text(part[1]) || !is_string(part[2]))
        return false;
    bool hash = part[1]->len > 0;
    *op = (struct record_op){.kind = hash ? RECORD_HSET : RECORD_SET,
                             .key = part[0]->str,
                             .field = hash ? part[1]->str : NULL,
                             .value = (const uint8_t *)part[2]->str,
                             .len = (size_t)part[2]->len};
    check_sum(op, part[2]);
    return true;
}

static bool read_head(const redisReply *reply, struct store_redis_load *out)
{
    redisReply *const *head = reply->element;
    for (size_t i = 0; i < 4; i++)
        if (!is_text(head[i]))
            return false;
    if ((size_t)head[3]->len >= sizeof out->last_id)
        return false;
    memcpy(out->last_id, head[3]->str, (size_t)head[3]->len + 1);
    out->image.empty = reply->elements == 4 && head[0]->len == 0 && head[2]->len == 0;
    out->layout_is_ours = out->image.empty || strcmp(head[2]->str, RECORD_LAYOUT) == 0;
    return out->image.empty || !out->layout_is_ours ||
           (read_number(head[0], &out->image.epoch) && read_number(head[1], &out->image.rev));
}

bool store_redis_read_load(const redisReply *reply, struct store_redis_load *out)
{
    *out = (struct store_redis_load){0};
    if (!is_array(reply, 4) || (reply->elements - 4) % 3 != 0 || !read_head(reply, out))
        return false;
    size_t capacity = (reply->elements - 4) / 3;
    out->records = calloc(capacity + 1, sizeof *out->records);
    if (out->records == NULL)
        return false;
    for (size_t i = 0; i < capacity; i++) {
        struct record_op *op = &out->records[out->image.record_count];
        /* A key or field with a NUL in it is another program's: left alone. */
        if (read_record(&reply->element[4 + 3 * i], op) && !is_position(op))
            out->image.record_count++;
    }
    out->image.records = out->records;
    return true;
}

void store_redis_load_fini(struct store_redis_load *load)
{
    free(load->records);
    *load = (struct store_redis_load){0};
}

/* ---- stream entries */

static const char *const op_names[] = {
    [RECORD_SET] = "SET", [RECORD_DEL] = "DEL", [RECORD_HSET] = "HSET", [RECORD_HDEL] = "HDEL"};

const char *store_redis_op_name(enum record_op_kind kind)
{
    return op_names[kind];
}

static bool read_op_kind(const redisReply *reply, enum record_op_kind *kind)
{
    for (int i = RECORD_SET; i <= RECORD_HDEL; i++)
        if (is_text(reply) && strcmp(reply->str, op_names[i]) == 0) {
            *kind = (enum record_op_kind)i;
            return true;
        }
    return false;
}

static bool read_op(redisReply *const part[4], struct record_op *op)
{
    if (!read_op_kind(part[0], &op->kind) || !is_text(part[1]) || !is_text(part[2]) ||
        !is_string(part[3]))
        return false;
    bool hash = op->kind == RECORD_HSET || op->kind == RECORD_HDEL;
    op->key = part[1]->str;
    op->field = hash ? part[2]->str : NULL;
    op->value = (const uint8_t *)part[3]->str;
    op->len = (size_t)part[3]->len;
    check_sum(op, part[3]);
    return true;
}

static bool read_named(redisReply *const pair[2], const char *name, uint64_t *out)
{
    return is_text(pair[0]) && strcmp(pair[0]->str, name) == 0 && read_number(pair[1], out);
}

bool store_redis_read_entry(const redisReply *entry, struct record_change *out, const char **id)
{
    *out = (struct record_change){0};
    if (!is_array(entry, 2) || !is_text(entry->element[0]) || !is_array(entry->element[1], 8))
        return false;
    const redisReply *pairs = entry->element[1];
    redisReply *const *part = pairs->element;
    if ((pairs->elements - 8) % 4 != 0 || !read_named(&part[0], "epoch", &out->epoch) ||
        !read_named(&part[2], "rev", &out->rev) ||
        !read_named(&part[4], "prev_epoch", &out->prev_epoch) ||
        !read_named(&part[6], "prev_rev", &out->prev_rev))
        return false;
    *id = entry->element[0]->str;
    size_t count = (pairs->elements - 8) / 4;
    struct record_op *ops = calloc(count + 1, sizeof *ops);
    if (ops == NULL)
        return false;
    out->ops = ops;
    out->op_count = count;
    for (size_t i = 0; i < count; i++)
        if (!read_op(&part[8 + 4 * i], &ops[i])) {
            free(ops);
            out->ops = NULL;
            return false;
        }
    return true;
}

/* ---- the role */

bool store_redis_is_parked(const redisReply *role)
{
    if (!is_array(role, 4))
        return false;
    redisReply *const *part = role->element;
    return is_text(part[0]) && strcmp(part[0]->str, "slave") == 0 && is_text(part[1]) &&
           strcmp(part[1]->str, REDIS_PARKED_HOST) == 0 && part[2]->type == REDIS_REPLY_INTEGER &&
           part[2]->integer == REDIS_PARKED_PORT && is_text(part[3]) &&
           strcmp(part[3]->str, "connected") != 0 && strcmp(part[3]->str, "sync") != 0;
}

/* ---- errors */

static bool begins(const char *text, const char *word)
{
    return strncmp(text, word, strlen(word)) == 0;
}

int store_redis_error_status(const char *text, uint64_t *epoch, uint64_t *rev)
{
    char *end;
    if (begins(text, "STALE ")) {
        *epoch = strtoull(text + 6, &end, 10);
        *rev = strtoull(end, NULL, 10);
        return -ESTALE;
    }
    if (begins(text, "TOOBIG "))
        return -E2BIG;
    if (begins(text, "READONLY") || begins(text, "LOADING"))
        return -EROFS;
    if (begins(text, "MISCONF") || begins(text, "OOM"))
        return -ENOSPC;
    return -EIO;
}
