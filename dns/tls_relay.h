#ifndef DNS_TLS_RELAY_H
#define DNS_TLS_RELAY_H

#include "base/addr.h"

struct err;
struct ssl_ctx_st;
struct uv_loop_s;

/* DNS over TLS (RFC 7858) for a resolver that speaks it not or not everywhere: a port of the
 * loopback whose connections continue over TLS to one server. What they carry is not looked at.
 * Nothing is ever sent in the clear: while the server cannot prove its name, connections end. */

struct tls_relay;

enum { TLS_RELAY_LINKS_MAX = 32 /* connections of a relay */ };

/* A context for clients that trust the certificates in `bundle` (PEM), or the system's when it is
 * NULL. NULL with a text on failure. */
struct ssl_ctx_st *tls_relay_context(const char *bundle, struct err *err);

/* `name` is what the server's certificate must be for; copied. `context` is referenced. 0 or a
 * negative errno with a text. */
int tls_relay_open(struct tls_relay **out, struct uv_loop_s *loop, const union endpoint *server,
                   struct ssl_ctx_st *context, const char *name, struct err *err);

/* Where it listens. */
const union endpoint *tls_relay_address(const struct tls_relay *relay);

/* Ends its connections; its memory is freed on a later turn of the loop. Takes NULL. */
void tls_relay_close(struct tls_relay *relay);

#endif
