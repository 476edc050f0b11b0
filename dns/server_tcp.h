#ifndef DNS_SERVER_TCP_H
#define DNS_SERVER_TCP_H

#include "base/addr.h"

struct dns_server;
struct server_tcp;

/* One TCP listener of the server and its connections (RFC 7766). A connection handles one query at
 * a time. */

enum {
    SERVER_TCP_MAX = 128,          /* connections of the server; one more closes an idle one */
    SERVER_TCP_PER_ADDRESS = 16,   /* of one client address; one more is closed */
    SERVER_TCP_TIMEOUT_MS = 10000, /* for one query to arrive, and for one response to leave */
};

/* Returns 0 or a negative errno. */
int server_tcp_open(struct server_tcp **out, struct dns_server *server, const union endpoint *addr);

/* Closes the listener and its connections. Takes NULL. */
void server_tcp_close(struct server_tcp *tcp);

#endif
