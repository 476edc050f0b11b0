#ifndef DNS_TLS_RELAY_H
#define DNS_TLS_RELAY_H

#include "base/addr.h"

struct err;
struct uv_loop_s;

/* DNS over TLS (RFC 7858) for a resolver that has none: a port of the loopback whose connections
 * are relayed over TLS to one server. Nothing is ever sent in the clear: while the server does not
 * prove its name, connections are closed. */

struct tls_relay;

enum { TLS_RELAY_LINKS_MAX = 32 /* connections of one relay */ };

/* The server's certificate must be for `name`, from a CA in `bundle` (PEM), or one of the system's
 * when that is NULL. Both are copied. 0 or a negative errno with a text. */
int tls_relay_open(struct tls_relay **out, struct uv_loop_s *loop, const union endpoint *server,
                   const char *name, const char *bundle, struct err *err);

/* The address of the listener. */
const union endpoint *tls_relay_address(const struct tls_relay *relay);

/* Closes its connections. Its memory is freed on a later turn of the loop. Takes NULL. */
void tls_relay_close(struct tls_relay *relay);

#endif
