#ifndef DNS_TLS_RELAY_H
#define DNS_TLS_RELAY_H

#include "base/addr.h"

struct err;
struct uv_loop_s;

/* DNS over TLS (RFC 7858) for a resolver that cannot do it itself: a port of the loopback whose
 * connections go on over TLS to one server. What they carry is not looked at. Nothing is ever sent
 * in the clear: while the server cannot prove its name, connections end. */

struct tls_relay;

enum { TLS_RELAY_LINKS_MAX = 32 /* connections of a relay */ };

/* `name` is what the server's certificate must be for, from one of the CAs in `bundle` (PEM), or
 * the system's when that is NULL. Both are copied. 0 or a negative errno with a text. */
int tls_relay_open(struct tls_relay **out, struct uv_loop_s *loop, const union endpoint *server,
                   const char *name, const char *bundle, struct err *err);

/* Where it listens. */
const union endpoint *tls_relay_address(const struct tls_relay *relay);

/* Ends its connections; its memory is freed on a later turn of the loop. Takes NULL. */
void tls_relay_close(struct tls_relay *relay);

#endif
