#ifndef CONTROL_CLUSTER_STORE_H
#define CONTROL_CLUSTER_STORE_H

#include "control/state/record.h"

/* Where the truth lives: an interface with two implementations, store_redis.h and the tests'
 * store_mem.h. All calls and callbacks are on the loop's thread. No callback runs inside the call
 * that asked for it, except those that store_close ends. */

struct change;
struct err;
struct state;
struct store;

/* The whole content of the store. */
struct store_image {
    bool empty; /* there is no cluster yet: no records, epoch 0, rev 0 */
    uint64_t epoch;
    uint64_t rev;
    const struct record_op *records; /* RECORD_SET and RECORD_HSET */
    size_t record_count;
};

struct store_events {
    void *ctx;
    /* The whole data: after the first connection, after each reconnection, after a gap in the
     * changes. The store may be parked (read only) until store_promote. */
    void (*loaded)(void *ctx, const struct store_image *image);
    /* One applied change, in order and without gaps since the last `loaded`. */
    void (*changed)(void *ctx, const struct record_change *change);
    /* The connection was lost; it is retried until store_close. */
    void (*lost)(void *ctx);
    /* The data cannot be used (another layout), or the store's process is to be killed: it did not
     * answer within 2 s (-ETIMEDOUT) or follows a master of its own (-EPERM). */
    void (*failed)(void *ctx, const struct err *err);
};

/* How a commit, promotion or parking ended. status: 0; -ESTALE the store was not at the change's
 * (epoch, rev), nothing is stored, build it again; -EROFS the store is parked, nothing is stored;
 * -E2BIG the change has too many operations, nothing is stored; -EIO the outcome is unknown;
 * -ENOSPC the store refuses writes; -ECANCELED nothing was sent. On 0 of a commit or promotion,
 * `changed` or `loaded` has already shown the change. */
struct store_done {
    void *ctx;
    void (*done)(void *ctx, int status, uint64_t epoch, uint64_t rev);
};

struct store_ops {
    void (*commit)(struct store *store, const struct change *change, const struct store_done *done);
    void (*promote)(struct store *store, uint64_t epoch, uint64_t rev, uint64_t new_epoch,
                    const struct store_done *done);
    void (*park)(struct store *store, const struct store_done *done);
    void (*close)(struct store *store, void (*closed)(void *ctx), void *ctx);
};

/* Embedded at the start of each implementation. */
struct store {
    const struct store_ops *ops;
};

/* The change is copied. */
void store_commit(struct store *store, const struct change *change, const struct store_done *done);

/* Makes a parked store writable under `new_epoch` if it is still at (epoch, rev). Otherwise parks
 * it again, and `done` gets -ESTALE. A promotion is a change without operations. */
void store_promote(struct store *store, uint64_t epoch, uint64_t rev, uint64_t new_epoch,
                   const struct store_done *done);

/* Makes the store read only: whoever promotes it next, at any place, begins a new epoch. A commit
 * sent before may still succeed, one sent later ends with -EROFS. The data stay readable. On 0 the
 * store is parked, and `done` gets the place that was known when it was. */
void store_park(struct store *store, const struct store_done *done);

/* Ends everything; pending callbacks get -EIO or -ECANCELED first. `closed` may be NULL. */
void store_close(struct store *store, void (*closed)(void *ctx), void *ctx);

/* Fills a new state from an image; 0 or -ENOMEM. */
int store_image_to_state(const struct store_image *image, const uint8_t seed[16],
                         struct state **out);

#endif
