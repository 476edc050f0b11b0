#ifndef TUN_WATCH_LINUX_H
#define TUN_WATCH_LINUX_H

#include <stdbool.h>
#include <stdint.h>

struct mnl_socket;

/* The link state of the interface behind a TUN descriptor, also in another network namespace, which
 * the watch does not keep alive. There, the interface is seen to come up at once, and to go down or
 * to change its MTU within a second. Without CAP_SYS_ADMIN there, the MTU stays the last one
 * known. */
struct watch {
    int tun_fd;                /* borrowed */
    int fd;                    /* an epoll descriptor, constant, readable when there is news */
    int timer_fd;              /* -1 while the interface is here */
    struct mnl_socket *socket; /* in our namespace; NULL while the interface is elsewhere */
    uint32_t ifindex;
    uint32_t mtu;
    bool up;
    bool lost; /* messages were lost for lack of room */
};

/* Returns 0 or a negative errno. fini is allowed after a failure. */
int watch_init(struct watch *watch, int tun_fd);
void watch_fini(struct watch *watch);

/* Reads what is pending until the link goes up or down. A link that did both reports it in two
 * calls, and `fd` stays readable in between. up, mtu and ifindex are the newest so far. Returns 0
 * or a negative errno. */
int watch_read(struct watch *watch);

/* Returns the current MTU. */
int watch_mtu(struct watch *watch, uint32_t *mtu);

#endif
