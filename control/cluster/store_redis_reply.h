#ifndef CONTROL_CLUSTER_STORE_REDIS_REPLY_H
#define CONTROL_CLUSTER_STORE_REDIS_REPLY_H

#include "control/cluster/store.h"

#include <hiredis/hiredis.h>

/* Redis replies as the store's own types. Results borrow from the reply; arrays of operations are
 * allocated. Strict: false for anything but what the scripts write. */

enum { STORE_REDIS_ID_TEXT = 48 };

/* A reply of the load script. */
struct store_redis_load {
    struct store_image image;
    struct record_op *records; /* image.records points to it; owned */
    char last_id[STORE_REDIS_ID_TEXT];
    bool layout_is_ours; /* or the store is empty */
};

bool store_redis_read_load(const redisReply *reply, struct store_redis_load *out);
void store_redis_load_fini(struct store_redis_load *load);

/* One entry of the stream: id and pairs. The caller frees out->ops. */
bool store_redis_read_entry(const redisReply *entry, struct record_change *out, const char **id);

/* {epoch, rev} of the commit and promote scripts. */
bool store_redis_read_position(const redisReply *reply, uint64_t *epoch, uint64_t *rev);

/* Whether ROLE's reply says that Redis replicates nobody: parked as REDIS_PARKED says. */
bool store_redis_is_parked(const redisReply *role);

/* The status of struct store_done that an error reply means. Sets epoch and rev for "STALE". */
int store_redis_error_status(const char *text, uint64_t *epoch, uint64_t *rev);

const char *store_redis_op_name(enum record_op_kind kind);

#endif
