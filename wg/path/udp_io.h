#ifndef WG_PATH_UDP_IO_H
#define WG_PATH_UDP_IO_H

#include "wg/path/udp.h"

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

#endif
