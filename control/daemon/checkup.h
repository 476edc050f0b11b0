#ifndef CONTROL_DAEMON_CHECKUP_H
#define CONTROL_DAEMON_CHECKUP_H

#include "control/api/facts.h"

#include <stdbool.h>
#include <uv.h>

/* Keeps what probes of a node's host found (control/host/probe.h): runs them again after changes,
 * and when somebody asks and they are old. */

struct checkup;
struct names;
struct tunnel;

struct checkup_options {
    uv_loop_t *loop;
    struct tunnel *tunnel;
    const char *interface_name;
    bool peer_to_peer;
    void *ctx;
    bool (*serves_peers)(void *ctx); /* DNS is served on port 53 of the tunnel's address */
};

/* `options` is copied, and what it points at outlives the result. 0 or a negative errno. */
int checkup_open(struct checkup **out, const struct checkup_options *options);

/* Something changed: a run starts a moment later. Takes NULL. */
void checkup_later(struct checkup *checkup);

/* A run is due when the last one is older than 5 s. Takes NULL. */
void checkup_refresh(struct checkup *checkup);

/* Calls `done` on the loop with fresh results, within 7 s, or when the check-up closes. One caller
 * at a time for each `ctx`; checkup_forget takes it back. */
void checkup_await(struct checkup *checkup, void (*done)(void *ctx), void *ctx);
void checkup_forget(struct checkup *checkup, void *ctx);

/* The last results; good until the next run. Takes NULL. */
const struct report_probe *checkup_results(const struct checkup *checkup, size_t *count);

/* Takes NULL. */
void checkup_close(struct checkup *checkup);

#endif
