#ifndef CONTROL_CLUSTER_WRITER_H
#define CONTROL_CLUSTER_WRITER_H

#include "base/metrics_text.h"
#include "control/state/change.h"

#include <stdbool.h>

/* Turns requests into changes, one at a time. Each is built on a state that holds everything
 * committed before it, and rebuilt when another writer's change came first. Requests of different
 * owners take turns, and each owner has a limited number of places (turns.h). */

struct err;
struct store;
struct writer;

struct writer_env {
    void *ctx;
    uint8_t seed[16];                        /* random: of a hash table of owners */
    const struct state *(*state)(void *ctx); /* the current one; NULL while there is none */
    /* Whether a full disk is why the store fails: calls `answer` later, not from inside. A NULL
     * `answer` takes the question back. May be NULL. */
    void (*ask_disk)(void *ctx, void (*answer)(void *ctx, bool full), void *answer_ctx);
};

struct writer_job;

struct writer_owner {
    const char *name; /* who asks for the change, borrowed; NULL: this node, without limits */
    bool metered;     /* its rate of changes is limited too */
};

struct writer_request {
    void *ctx;
    /* A builder of change.h with its request bound. */
    enum grpc_code (*build)(void *ctx, struct change *change, const struct state *state,
                            struct err *err);
    /* Called once. On GRPC_OK the state already holds the change; `rev` is the state's. */
    void (*done)(void *ctx, enum grpc_code status, const struct err *err, uint64_t rev);
    struct writer_owner owner;
};

/* Returns 0 or -ENOMEM. The store must outlive the writer. */
int writer_create(struct writer **out, struct store *store, const struct writer_env *env);

/* Requests still waiting end with UNAVAILABLE. Close the store first, which ends the one in flight.
 * Takes NULL. */
void writer_destroy(struct writer *writer);

struct writer_stats {
    struct metrics_histogram committed; /* from the request to the commit */
    uint64_t refused;
};

const struct writer_stats *writer_stats(const struct writer *writer);

/* The request is copied; `done` may be called before this returns (refused, nothing to do). Then
 * the result is NULL, else the job that waits. */
struct writer_job *writer_submit(struct writer *writer, const struct writer_request *request);

/* Forgets a job that has not begun, without `done`. False when it has begun: its change may still
 * be made, and `done` will be called. */
bool writer_drop(struct writer *writer, struct writer_job *job);

#endif
