#ifndef DNS_SERVER_H
#define DNS_SERVER_H

#include "base/addr.h"

#include <stddef.h>
#include <stdint.h>

struct dns_server_stats;
struct err;
struct upstream;
struct uv_loop_s;
struct zone;

/* The DNS server: UDP and TCP sockets on a libuv loop. All calls are made on the loop's thread. */

struct dns_server;

/* Serves nothing until dns_server_listen. Returns 0 or -ENOMEM. */
int dns_server_create(struct dns_server **out, struct uv_loop_s *loop);

/* Closes everything; its memory is freed on a later turn of the loop. Destroy the server before its
 * upstream. Takes NULL. */
void dns_server_destroy(struct dns_server *server);

/* Listens on exactly these addresses, on UDP and TCP: those already listened on stay untouched,
 * those no longer named are closed. Called again when the tunnel address appears. Port 0 is
 * replaced by 53. On failure `err` names the address and what it takes (--dns-address), the others
 * of the list are served all the same, and the first failure is returned. */
int dns_server_listen(struct dns_server *server, const union endpoint *addrs, size_t count,
                      struct err *err);

/* Takes a reference of its own. Queries that follow see the new zone. NULL: none. */
void dns_server_set_zone(struct dns_server *server, struct zone *zone);

/* Borrows the upstream; queries outstanding at a former one are answered with SERVFAIL. NULL:
 * none, names of others are refused. */
void dns_server_set_upstream(struct dns_server *server, struct upstream *upstream);

/* Who may ask for names of others; everyone else is REFUSED. Copied. Returns 0 or -ENOMEM with the
 * former list kept. */
int dns_server_set_recursion(struct dns_server *server, const struct ip_prefix *prefixes,
                             size_t count);

void dns_server_stats(const struct dns_server *server, struct dns_server_stats *out);

#endif
