#include "tun/route_watch.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>

enum { RECEIVE_BUFFER = 32768 };

struct route_watch {
    struct mnl_socket *socket;
};

/* The removal of an address removes its local route, so routes and rules cover it. */
static int join(struct mnl_socket *socket, bool links)
{
    static const int groups[] = {RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE,
                                 RTNLGRP_IPV6_RULE,
                                 /* with links: */
                                 RTNLGRP_LINK, RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF};
    size_t count = sizeof groups / sizeof groups[0] - (links ? 0 : 3);
    for (size_t i = 0; i < count; i++) {
        int group = groups[i];
        if (mnl_socket_setsockopt(socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0)
            return -errno;
    }
    return 0;
}

int route_watch_open(struct route_watch **out, bool links)
{
    struct route_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return -ENOMEM;
    watch->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int rc = 0;
    if (watch->socket == NULL || mnl_socket_bind(watch->socket, 0, MNL_SOCKET_AUTOPID) < 0)
        rc = -errno;
    if (rc == 0)
        rc = join(watch->socket, links);
    if (rc != 0) {
        route_watch_close(watch);
        return rc;
    }
    *out = watch;
    return 0;
}

void route_watch_close(struct route_watch *watch)
{
    if (watch == NULL)
        return;
    if (watch->socket != NULL)
        mnl_socket_close(watch->socket);
    free(watch);
}

int route_watch_fd(const struct route_watch *watch)
{
    return mnl_socket_get_fd(watch->socket);
}

bool route_watch_read(struct route_watch *watch)
{
    uint32_t buf[RECEIVE_BUFFER / 4];
    bool news = false;
    for (;;) {
        ssize_t n = mnl_socket_recvfrom(watch->socket, buf, sizeof buf);
        if (n < 0 && errno != ENOBUFS && errno != ENOSPC && errno != EINTR)
            return news;
        news = true; /* lost messages are news too */
    }
}
