#ifndef DNS_UPSTREAM_H
#define DNS_UPSTREAM_H

#include "base/addr.h"
#include "dns/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct uv_loop_s;

/* Foreign names, asked through libunbound (cache, retries, TCP), which resolves in a thread of its
 * own. Callbacks run on the loop. DNS over TLS goes through tls_relay.h, because Debian 12 builds
 * libunbound without OpenSSL. */

struct upstream;
struct upstream_query;

enum { UPSTREAM_SERVERS_MAX = 8 };

struct upstream_config {
    const union endpoint *servers; /* port 0 means 53, or 853 with TLS */
    size_t server_count;           /* 1..UPSTREAM_SERVERS_MAX */
    const char *tls_name;   /* DNS over TLS: the name in the servers' certificates; or NULL */
    const char *tls_bundle; /* CA certificates in PEM; NULL: the system's */
    size_t outstanding_max; /* queries at once; 0 means 512 */
};

/* Returns 0 with an upstream on this loop, or a negative errno. */
int upstream_create(struct upstream **out, struct uv_loop_s *loop,
                    const struct upstream_config *config, struct err *err);

/* Drops outstanding queries without a callback. Its memory is freed on a later turn of the loop.
 * Takes NULL. */
void upstream_destroy(struct upstream *upstream);

/* Asks, and calls back once, never from inside this call: `message` (borrowed) is the answer in
 * wire form, or NULL for none, which is SERVFAIL. Returns 0, or a negative errno without a
 * callback: -EBUSY when too many queries are outstanding. */
int upstream_ask(struct upstream *upstream, const struct dns_query *query,
                 void (*done)(void *arg, const uint8_t *message, size_t len), void *arg,
                 struct upstream_query **out);

/* Drops the query without a callback. */
void upstream_cancel(struct upstream_query *query);

#endif
