#ifndef CONTROL_RPC_TRANSPORT_SOURCE_H
#define CONTROL_RPC_TRANSPORT_SOURCE_H

#include "base/heap.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "control/rpc/transport_tls.h"

#include <stdbool.h>
#include <stdint.h>

/* Unauthenticated connections by the address that they come from, so that those of one address make
 * room for one another, not those of somebody else. Private to the transport. */

/* What an unauthenticated connection has done so far. */
enum transport_stage {
    TRANSPORT_NOT_BEGUN,   /* nothing has come from it */
    TRANSPORT_HANDSHAKING, /* it is in its TLS handshake */
    TRANSPORT_STAGES,
};

struct transport_pending {
    struct map by_address;
    struct list resting; /* addresses without connections whose log lines are still counted */
    size_t resting_count;
    size_t sources;
    uint64_t lines_window_ns; /* log lines of all addresses, since then */
    unsigned lines;
    uint64_t sequence;
    struct transport_stage_use {
        struct heap busiest; /* addresses, those with the most connections first */
        unsigned count;
        unsigned limit;
    } stages[TRANSPORT_STAGES];
};

/* Embedded in each connection. */
struct transport_place {
    struct list node;
    struct transport_source *source; /* from transport_pending_open to _close */
    bool waiting;                    /* it has a place in `stage` */
    enum transport_stage stage;
    uint64_t sequence;
};

void transport_pending_init(struct transport_pending *pending, const uint8_t seed[16],
                            const unsigned limits[TRANSPORT_STAGES]);

/* Every place must be closed. */
void transport_pending_fini(struct transport_pending *pending);

/* Notes a connection from this address (caller.source). 0 or -ENOMEM. */
int transport_pending_open(struct transport_pending *pending, struct transport_place *place,
                           const char *address, uint64_t now_ns);

/* Gives it a place in a stage, and takes its former one away. Returns the place that must make room:
 * the oldest one of the address with the most, or NULL. */
struct transport_place *transport_pending_join(struct transport_pending *pending,
                                               struct transport_place *place,
                                               enum transport_stage stage);

/* It is authenticated, or ends: it takes part no more. */
void transport_pending_leave(struct transport_pending *pending, struct transport_place *place);

/* The place whose end makes room for any connection, or NULL when none is pending. */
struct transport_place *transport_pending_victim(struct transport_pending *pending);

/* The connection is gone. */
void transport_pending_close(struct transport_pending *pending, struct transport_place *place,
                             uint64_t now_ns);

/* Whether a line that this address causes may be logged now; *left_out as in log_limit_passes. */
bool transport_pending_may_log(struct transport_pending *pending, struct transport_place *place,
                               uint64_t now_ns, unsigned *left_out);

#endif
