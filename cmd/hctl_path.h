#ifndef CMD_HCTL_PATH_H
#define CMD_HCTL_PATH_H

#include "base/addr.h"
#include "wg/path/tap.h"

#include <stddef.h>
#include <stdint.h>

/* The way from this host to a node, tried as a peer would use it. These calls block. */

/* A socket for datagrams to the endpoint, which are never fragmented on the way; or a negative
 * errno. */
int path_udp_open(const union endpoint *endpoint);

/* Sends the datagram that a node awaits (wg/path/tap.h), of `len` bytes. 0 or a negative errno. */
int path_udp_send(int fd, const uint8_t nonce[TAP_NONCE_LEN], size_t len);

/* The longest datagram that the route takes, for outer packets of up to 1500 bytes. */
size_t path_udp_room(int fd, const union endpoint *endpoint);

/* Opens a TCP connection and closes it. 0 or a negative errno; -ETIMEDOUT after 3 s. */
int path_tcp_try(const union endpoint *endpoint);

#endif
