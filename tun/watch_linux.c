#include "tun/watch_linux.h"

#include "tun/tun_packet.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* A netlink socket belongs to the namespace in which it was created. When the interface is moved out
 * of ours, it reports only an RTM_DELLINK. The descriptor of the TUN knows where the interface is:
 *
 *   here       RTM_NEWLINK of ours  --> up, mtu
 *              RTM_DELLINK of ours  --> deleted: nothing left to watch
 *                                       moved: elsewhere
 *   elsewhere  the descriptor becomes writable --> up
 *              a timer --> down; a short visit to the namespace --> mtu, index; back here?
 *
 * Nothing of ours may stay in the other namespace: a socket or a thread there would keep it, and
 * with it the interface, alive after `ip netns del`. */

enum {
    RECEIVE_BUFFER = 32768, /* one netlink datagram, as the kernel sizes its dumps */
    FIRST_ANSWER_MS = 2000,
    PROBE_S = 1,
};

static int interface_name(int tun_fd, struct ifreq *ifr)
{
    memset(ifr, 0, sizeof *ifr);
    return ioctl(tun_fd, TUNGETIFF, ifr) < 0 ? -errno : 0;
}

/* ---- the interface's namespace ---- */

/* Whether `ns_fd` is this thread's namespace; true as well when that cannot be determined. */
static bool is_here(int ns_fd)
{
    struct stat there;
    struct stat here;
    return fstat(ns_fd, &there) < 0 || stat("/proc/thread-self/ns/net", &here) < 0 ||
           (there.st_ino == here.st_ino && there.st_dev == here.st_dev);
}

struct visit {
    int ns_fd;
    struct ifreq ifr;
    uint32_t ifindex;
    uint32_t mtu;
    int rc;
};

static void *visit_main(void *arg)
{
    struct visit *visit = arg;
    int fd = -1;
    if (setns(visit->ns_fd, CLONE_NEWNET) < 0)
        goto fail;
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ioctl(fd, SIOCGIFMTU, &visit->ifr) < 0)
        goto fail;
    visit->mtu = (uint32_t)visit->ifr.ifr_mtu;
    if (ioctl(fd, SIOCGIFINDEX, &visit->ifr) < 0)
        goto fail;
    visit->ifindex = (uint32_t)visit->ifr.ifr_ifindex;
    close(fd);
    return NULL;
fail:
    visit->rc = -errno;
    if (fd >= 0)
        close(fd);
    return NULL;
}

/* Reads index and MTU where the interface is. A namespace is entered by the calling thread alone,
 * and for good: a thread is created for it. */
static int visit_namespace(struct watch *watch, int ns_fd)
{
    struct visit visit = {.ns_fd = ns_fd};
    pthread_t thread;
    int rc = interface_name(watch->tun_fd, &visit.ifr);
    if (rc == 0)
        rc = -pthread_create(&thread, NULL, visit_main, &visit);
    if (rc != 0)
        return rc;
    pthread_join(thread, NULL);
    if (visit.rc == 0) {
        watch->mtu = visit.mtu;
        watch->ifindex = visit.ifindex;
    }
    return visit.rc;
}

/* ---- messages ---- */

/* Requests the interface by its name, which is unique in its namespace. A move may have changed the
 * index. */
static int send_query(struct watch *watch)
{
    struct ifreq ifr;
    int rc = interface_name(watch->tun_fd, &ifr);
    if (rc < 0)
        return rc;
    char buf[256];
    struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
    nlh->nlmsg_type = RTM_GETLINK;
    nlh->nlmsg_flags = NLM_F_REQUEST;
    struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof *ifi);
    ifi->ifi_family = AF_UNSPEC;
    mnl_attr_put_strz(nlh, IFLA_IFNAME, ifr.ifr_name);
    return mnl_socket_sendto(watch->socket, nlh, nlh->nlmsg_len) < 0 ? -errno : 0;
}

static int follow(struct watch *watch);

static int take_attr(const struct nlattr *attr, void *data)
{
    struct watch *watch = data;
    if (mnl_attr_get_type(attr) == IFLA_MTU && mnl_attr_get_payload_len(attr) >= 4)
        watch->mtu = mnl_attr_get_u32(attr);
    return MNL_CB_OK;
}

static int take_message(struct watch *watch, const struct nlmsghdr *nlh)
{
    bool is_answer = nlh->nlmsg_pid == mnl_socket_get_portid(watch->socket);
    if (nlh->nlmsg_type == NLMSG_ERROR && is_answer && watch->ifindex == 0)
        return -ENODEV;
    const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
    if ((nlh->nlmsg_type != RTM_NEWLINK && nlh->nlmsg_type != RTM_DELLINK) ||
        mnl_nlmsg_get_payload_len(nlh) < sizeof *ifi || ifi->ifi_family != AF_UNSPEC)
        return 0;
    if (is_answer)
        watch->ifindex = (uint32_t)ifi->ifi_index;
    if ((uint32_t)ifi->ifi_index != watch->ifindex)
        return 0;
    if (nlh->nlmsg_type == RTM_DELLINK)
        return follow(watch);
    watch->up = (ifi->ifi_flags & IFF_UP) != 0;
    mnl_attr_parse(nlh, sizeof *ifi, take_attr, watch);
    return 0;
}

/* Reads one datagram. 1: read, 0: none pending. After following, the rest of it is of no
 * interest. */
static int take_datagram(struct watch *watch)
{
    uint32_t buf[RECEIVE_BUFFER / 4];
    struct mnl_socket *socket = watch->socket;
    ssize_t n = mnl_socket_recvfrom(socket, buf, sizeof buf);
    if (n < 0 && errno == ENOBUFS) {
        watch->lost = true;
        return 1;
    }
    if (n < 0 && errno == EAGAIN && watch->lost) { /* the answer fits now */
        watch->lost = false;
        return send_query(watch) == 0 ? 1 : 0;
    }
    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    int left = (int)n;
    for (const struct nlmsghdr *nlh = (const void *)buf; mnl_nlmsg_ok(nlh, left);
         nlh = mnl_nlmsg_next(nlh, &left)) {
        int rc = take_message(watch, nlh);
        if (rc < 0)
            return rc;
        if (watch->socket != socket)
            break;
    }
    return 1;
}

/* ---- where the interface is ---- */

static void drop_socket(struct watch *watch)
{
    if (watch->socket != NULL)
        mnl_socket_close(watch->socket);
    watch->socket = NULL;
}

static int add_to_epoll(struct watch *watch, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events};
    return epoll_ctl(watch->fd, EPOLL_CTL_ADD, fd, &event) < 0 && errno != EEXIST ? -errno : 0;
}

static int open_socket(struct watch *watch)
{
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (socket == NULL)
        return -errno;
    watch->socket = socket;
    watch->ifindex = 0;
    if (mnl_socket_bind(socket, RTMGRP_LINK, MNL_SOCKET_AUTOPID) < 0)
        return -errno;
    return add_to_epoll(watch, mnl_socket_get_fd(socket), EPOLLIN);
}

/* Ends what watches elsewhere. */
static void stop_probing(struct watch *watch)
{
    epoll_ctl(watch->fd, EPOLL_CTL_DEL, watch->tun_fd, NULL);
    if (watch->timer_fd >= 0)
        close(watch->timer_fd);
    watch->timer_fd = -1;
}

/* Opens a socket in our namespace and waits for the state of the interface, which is there. */
static int attach(struct watch *watch)
{
    stop_probing(watch);
    drop_socket(watch);
    int rc = open_socket(watch);
    if (rc == 0)
        rc = send_query(watch);
    for (int i = 0; rc == 0 && watch->ifindex == 0 && i < 64; i++) {
        struct epoll_event event;
        if (epoll_wait(watch->fd, &event, 1, FIRST_ANSWER_MS) == 0)
            return -ETIMEDOUT;
        rc = take_datagram(watch);
        if (rc > 0)
            rc = 0;
    }
    return rc == 0 && watch->ifindex == 0 ? -ENODEV : rc;
}

/* A TUN takes packets, and polls as writable, exactly while its interface is up. */
static void probe(struct watch *watch)
{
    struct pollfd pollfd = {.fd = watch->tun_fd, .events = POLLOUT};
    if (poll(&pollfd, 1, 0) >= 0)
        watch->up = (pollfd.revents & POLLOUT) != 0;
}

/* The descriptor reports by itself that it has become writable, not that it no longer is. */
static int start_probing(struct watch *watch)
{
    drop_socket(watch);
    watch->ifindex = 0;
    if (watch->timer_fd < 0)
        watch->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (watch->timer_fd < 0)
        return -errno;
    struct itimerspec every = {{.tv_sec = PROBE_S}, {.tv_sec = PROBE_S}};
    if (timerfd_settime(watch->timer_fd, 0, &every, NULL) < 0)
        return -errno;
    int rc = add_to_epoll(watch, watch->timer_fd, EPOLLIN);
    if (rc == 0)
        rc = add_to_epoll(watch, watch->tun_fd, EPOLLOUT | EPOLLET);
    probe(watch);
    return rc;
}

/* Finds out where the interface is and watches it from there on. */
static int follow(struct watch *watch)
{
    struct ifreq ifr;
    if (interface_name(watch->tun_fd, &ifr) == -EBADFD) {
        stop_probing(watch);
        drop_socket(watch);
        watch->up = false;
        return 0;
    }
    int ns_fd = ioctl(watch->tun_fd, TUNGETDEVNETNS, 0); /* -1 also on kernels before 5.2 */
    int rc = -ENODEV;
    if (ns_fd < 0 || is_here(ns_fd))
        rc = attach(watch);
    if (rc == -ENODEV || rc == -EPERM || rc == -EACCES)
        rc = watch->timer_fd < 0 ? start_probing(watch) : 0;
    if (rc == 0 && watch->socket == NULL && ns_fd >= 0)
        (void)visit_namespace(watch, ns_fd); /* without the right to, the last MTU stays */
    if (ns_fd >= 0)
        close(ns_fd);
    return rc;
}

int watch_init(struct watch *watch, int tun_fd)
{
    *watch = (struct watch){.tun_fd = tun_fd, .timer_fd = -1, .mtu = TUN_DEFAULT_MTU};
    watch->fd = epoll_create1(EPOLL_CLOEXEC);
    if (watch->fd < 0)
        return -errno;
    return follow(watch);
}

void watch_fini(struct watch *watch)
{
    drop_socket(watch);
    if (watch->timer_fd >= 0)
        close(watch->timer_fd);
    if (watch->fd >= 0)
        close(watch->fd);
    watch->timer_fd = watch->fd = -1;
}

int watch_read(struct watch *watch)
{
    uint64_t ticks;
    int rc = 0;
    if (watch->timer_fd >= 0) {
        if (read(watch->timer_fd, &ticks, sizeof ticks) > 0)
            rc = follow(watch);
        if (watch->timer_fd >= 0)
            probe(watch);
        return rc;
    }
    bool up = watch->up;
    while (watch->up == up && watch->socket != NULL && (rc = take_datagram(watch)) > 0)
        ;
    return rc < 0 ? rc : 0;
}

int watch_mtu(struct watch *watch, uint32_t *mtu)
{
    struct ifreq ifr;
    int rc = interface_name(watch->tun_fd, &ifr);
    if (rc < 0)
        return rc;
    if (watch->socket != NULL) { /* in the namespace of the interface */
        if (ioctl(mnl_socket_get_fd(watch->socket), SIOCGIFMTU, &ifr) < 0)
            return -errno;
        *mtu = (uint32_t)ifr.ifr_mtu;
        return 0;
    }
    *mtu = watch->mtu;
    return 0;
}
