#ifndef WG_PATH_UDP_H
#define WG_PATH_UDP_H

#include "wg/path/udp_io.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A device's two UDP sockets, IPv4 and IPv6 on the same port, non-blocking. Several threads may
 * send while one receives. Errors that ICMP reports back are not seen here. */

struct udp;

/* `io` NULL means udp_io_native. Port 0 takes one that is free for both. A family that the kernel
 * lacks is left out; -EAFNOSUPPORT when it lacks both. -EADDRINUSE, -EACCES: the port is taken or
 * not permitted. */
int udp_open(struct udp **out, uint16_t port, uint32_t fwmark, const struct udp_io *io);
void udp_close(struct udp *udp);

uint16_t udp_port(const struct udp *udp);

/* -1 for a family that is left out. */
int udp_fd(const struct udp *udp, enum udp_family family);

/* Called around a poll of the descriptors. The kernel keeps the port taken until poll has returned,
 * even if another thread closes them. */
void udp_poll_begin(struct udp *udp);
void udp_poll_end(struct udp *udp);
bool udp_is_polled(const struct udp *udp);

/* Sets the mark of both sockets or, on an error, of none. 0 removes the mark. */
int udp_set_fwmark(struct udp *udp, uint32_t old_mark, uint32_t mark);

/* Sends in order. Returns how many are done with, sent or refused by the kernel for good; fewer
 * than `count` when the socket is full. */
size_t udp_send(struct udp *udp, struct udp_message *messages, size_t count);

/* How many datagrams the kernel has refused for good. */
uint64_t udp_refused(const struct udp *udp);

/* Receives at most UDP_BATCH datagrams into `in[i].bytes`, each with room for UDP_DATAGRAM_MAX;
 * fills `len`, `from` and `ds`. Returns how many. */
size_t udp_receive(struct udp *udp, enum udp_family family, struct wg_inbound *in, size_t count);

#endif
