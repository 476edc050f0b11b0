#ifndef DNS_STUB_H
#define DNS_STUB_H

#include "base/addr.h"
#include "dns/answer.h"

#include <stddef.h>
#include <stdint.h>

struct uv_loop_s;
struct zone;

/* The resolver of a host that is a peer of the network: names of the overlay are asked of the
 * nodes, all others of the host's own resolvers, whose answers are passed on byte for byte. While
 * no node answers, the names that are known are answered from memory, and no other name waits for
 * it. */

struct stub;
struct stub_query;

enum { STUB_SERVERS_MAX = 8 };

/* 0 or -ENOMEM. */
int stub_create(struct stub **out, struct uv_loop_s *loop);

/* Drops what is outstanding without a callback. Takes NULL. */
void stub_destroy(struct stub *stub);

/* The overlay: `known` has its domain, its networks and the hosts that are known without asking.
 * Takes a reference of its own. NULL: every name is the host's resolvers'. */
void stub_set_overlay(struct stub *stub, struct zone *known, const struct ip_addr *nodes,
                      size_t count);

/* The host's own resolvers, at most STUB_SERVERS_MAX. */
void stub_set_resolvers(struct stub *stub, const union endpoint *servers, size_t count);

/* The name by which a node is reached: it is asked with SO_MARK `mark`, past the tunnel that may
 * need it. NULL: none. */
void stub_set_outer_name(struct stub *stub, const char *name, uint32_t mark);

/* Calls done(arg, ...) once, never from inside this call: `message` (lent) is an answer under any
 * id, or NULL for none. 0, -EBUSY or another negative errno without a callback. `message` is the
 * query as it came, `query` what it says. */
int stub_ask(struct stub *stub, const struct dns_query *query, const uint8_t *message, size_t len,
             enum dns_transport transport,
             void (*done)(void *arg, const uint8_t *message, size_t len), void *arg,
             struct stub_query **out);

/* Drops the query without a callback. */
void stub_cancel(struct stub_query *query);

#endif
