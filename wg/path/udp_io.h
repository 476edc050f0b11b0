#ifndef WG_PATH_UDP_IO_H
#define WG_PATH_UDP_IO_H

#include "wg/wg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    UDP_BATCH = 64,           /* datagrams a system call, at most */
    UDP_DATAGRAM_MAX = 65535, /* room that a received datagram needs */
};

enum udp_family { UDP_IPV4, UDP_IPV6, UDP_FAMILIES };

struct udp_message {
    const uint8_t *bytes;
    size_t len;
    const struct wg_endpoint *endpoint;
    uint8_t ds;          /* outer DS field and ECN bits */
    bool refused;        /* result: the kernel did not send it, for good */
    bool source_refused; /* result: the kernel did not take the source; sent without it */
};

/* What differs between systems; one table a back end (udp_linux.c, udp_portable.c). */
struct udp_io {
    /* Options beyond those that every system has. Returns 0 or a negative errno. */
    int (*prepare)(int fd, enum udp_family family);
    int (*set_mark)(int fd, uint32_t mark);
    /* `count` is 1..UDP_BATCH. Returns how many were sent, at least 1, or the first one's negative
     * errno. */
    int (*send)(int fd, struct udp_message *messages, size_t count);
    /* Returns how many were received, at least 1, or a negative errno. */
    int (*receive)(int fd, struct wg_inbound *in, size_t count);
};

/* This system's best, and recvmsg and sendmsg. */
const struct udp_io *udp_io_native(void);
const struct udp_io *udp_io_portable(void);

#endif
