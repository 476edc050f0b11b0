#ifndef WG_PATH_UDP_CMSG_H
#define WG_PATH_UDP_CMSG_H

#include "wg/path/udp_io.h"

#include <stddef.h>
#include <sys/socket.h>

/* Control messages (RFC 3542 section 6): the address that a datagram was sent to or leaves from,
 * and its DS and ECN bits. */

enum { UDP_CMSG_ROOM = 128 }; /* bytes of msg_control that either direction needs at most */

union udp_cmsg_buffer {
    struct cmsghdr align;
    unsigned char bytes[UDP_CMSG_ROOM];
};

/* Fills `msg`'s control part in `room` for a datagram; leaves it empty when there is nothing to
 * set. The source goes without its interface: the routes choose the interface, and may have
 * changed, or never have led back the way that the packets come. Only a link-local address needs
 * its interface. */
void udp_cmsg_encode(struct msghdr *msg, union udp_cmsg_buffer *room,
                     const struct udp_message *message);

/* Reads source, ifindex and ds from a received message. Missing ones stay unchanged. */
void udp_cmsg_decode(struct msghdr *msg, struct wg_endpoint *from, uint8_t *ds);

#endif
