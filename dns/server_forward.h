#ifndef DNS_SERVER_FORWARD_H
#define DNS_SERVER_FORWARD_H

#include "base/addr.h"
#include "base/list.h"
#include "dns/answer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct stub;
struct stub_query;
struct upstream;
struct upstream_query;
struct forwarder;

/* Queries that wait for the upstream, embedded in a UDP client's return address or a TCP
 * connection. Each ends in exactly one `done`, with SERVFAIL after FORWARD_TIMEOUT_MS at the
 * latest, unless it is cancelled. */

enum {
    FORWARD_TIMEOUT_MS = 4500, /* within the 5 s that stub resolvers wait */
    FORWARD_PER_CLIENT = 128,  /* at once, so that no client takes all of the upstream's places */
};

struct forward {
    struct list link;
    struct forwarder *forwarder;
    struct upstream_query *asked; /* or */
    struct stub_query *asked_stub;
    uint64_t deadline; /* ms of the loop's clock */
    struct dns_query query;
    struct ip_addr client;
    enum dns_transport transport;
    /* `response` is lent for the call. The forward is no longer in use and may be freed. */
    void (*done)(struct forward *forward, const uint8_t *response, size_t len);
};

struct forwarder {
    struct upstream *upstream; /* or */
    struct stub *stub;
    struct list waiting; /* oldest first */
    size_t count;        /* in `waiting` */
    uv_timer_t timer;
    uint8_t *scratch; /* DNS_MESSAGE_MAX octets, lent */
};

void forwarder_init(struct forwarder *forwarder, uv_loop_t *loop, uint8_t *scratch);

/* Answers all waiting queries with SERVFAIL. */
void forwarder_set_upstream(struct forwarder *forwarder, struct upstream *upstream);

/* Answers foreign names through the stub from now on, with its answers byte for byte. */
void forwarder_set_stub(struct forwarder *forwarder, struct stub *stub);

/* `message` is the query as it came. The caller has set query, client, transport and done. Returns 0, or a negative errno without a
 * `done`: -EBUSY when too many queries wait, in all or from this client. */
int forward_start(struct forwarder *forwarder, struct forward *forward, const uint8_t *message,
                  size_t len);

/* Drops the query without a `done`. */
void forward_cancel(struct forward *forward);

#endif
