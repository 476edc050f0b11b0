#ifndef DNS_SERVER_UDP_H
#define DNS_SERVER_UDP_H

#include "base/addr.h"

struct dns_server;
struct server_udp;

/* One UDP socket of the server. Linux: batches through recvmmsg and sendmmsg. */

/* Returns 0 or a negative errno. */
int server_udp_open(struct server_udp **out, struct dns_server *server, const union endpoint *addr);

/* Cancels its forwarded queries. Takes NULL. */
void server_udp_close(struct server_udp *udp);

#endif
