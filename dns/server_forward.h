#ifndef DNS_SERVER_FORWARD_H
#define DNS_SERVER_FORWARD_H

#include "base/addr.h"
#include "base/list.h"
#include "dns/answer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct upstream;
struct upstream_query;
struct forwarder;

/* Queries that wait for the upstream, embedded in what waits: a UDP client's return address or a
 * TCP connection. Every one ends in exactly one `done`, at the latest after FORWARD_TIMEOUT_MS and
 * with SERVFAIL, unless it is cancelled. */

enum {
    FORWARD_TIMEOUT_MS = 4500, /* within the 5 s that stub resolvers wait */
    FORWARD_PER_CLIENT = 128,  /* at once: of the upstream's places, nobody gets all */
};

struct forward {
    struct list link;
    struct forwarder *forwarder;
    struct upstream_query *asked;
    uint64_t deadline; /* ms of the loop's clock */
    struct dns_query query;
    struct ip_addr client;
    enum dns_transport transport;
    /* `response` is lent for the call; the forward is no longer in use then and may be freed. */
    void (*done)(struct forward *forward, const uint8_t *response, size_t len);
};

struct forwarder {
    struct upstream *upstream;
    struct list waiting; /* oldest first */
    size_t count;        /* of them */
    uv_timer_t timer;
    uint8_t *scratch; /* DNS_MESSAGE_MAX octets, lent */
};

void forwarder_init(struct forwarder *forwarder, uv_loop_t *loop, uint8_t *scratch);

/* Answers what waits with SERVFAIL. */
void forwarder_set_upstream(struct forwarder *forwarder, struct upstream *upstream);

/* The caller has set query, client, transport and done. Returns 0, or a negative errno without a
 * `done`: -EBUSY when too many wait, of all or of this client. */
int forward_start(struct forwarder *forwarder, struct forward *forward);

/* There will be no `done`. */
void forward_cancel(struct forward *forward);

#endif
