#ifndef DNS_SERVER_H
#define DNS_SERVER_H

#include "base/addr.h"

#include <stddef.h>
#include <stdint.h>

struct dns_server_stats;
struct err;
struct stub;
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

/* Listens on exactly these addresses, on UDP and TCP. Addresses that are served already stay
 * untouched, and those no longer listed are closed. Port 0 is replaced by 53. On failure `err`
 * names the address and the remedy (--dns-address). The other addresses are served all the same,
 * and the first failure is returned. */
int dns_server_listen(struct dns_server *server, const union endpoint *addrs, size_t count,
                      struct err *err);

/* Takes a reference of its own. Later queries see the new zone. NULL: no zone. */
void dns_server_set_zone(struct dns_server *server, struct zone *zone);

/* Borrows the upstream. Queries outstanding at the former one are answered with SERVFAIL. NULL: no
 * upstream, and foreign names are refused. */
void dns_server_set_upstream(struct dns_server *server, struct upstream *upstream);

/* Borrows the stub, which then answers foreign names in place of an upstream. Set it once, before any
 * query. */
void dns_server_set_stub(struct dns_server *server, struct stub *stub);

/* The clients that may ask for foreign names. All others are REFUSED. Copied. Returns 0, or -ENOMEM
 * with the former list kept. */
int dns_server_set_recursion(struct dns_server *server, const struct ip_prefix *prefixes,
                             size_t count);

void dns_server_stats(const struct dns_server *server, struct dns_server_stats *out);

#endif
