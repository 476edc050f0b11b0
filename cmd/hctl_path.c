#include "cmd/hctl_path.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    OUTER_MAX = 1500,
    IPV4_UDP_HEADERS = 28,
    IPV6_UDP_HEADERS = 48,
    TCP_WAIT_MS = 3000,
};

int path_udp_open(const union endpoint *endpoint)
{
    bool ipv4 = endpoint->sa.sa_family == AF_INET;
    int discover = ipv4 ? IP_PMTUDISC_DO : IPV6_PMTUDISC_DO;
    int fd = socket(endpoint->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, ipv4 ? IPPROTO_IP : IPPROTO_IPV6, ipv4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER,
                   &discover, sizeof discover) == 0 &&
        connect(fd, &endpoint->sa, endpoint_len(endpoint)) == 0)
        return fd;
    int code = -errno;
    close(fd);
    return code;
}

int path_udp_send(int fd, const uint8_t nonce[TAP_NONCE_LEN], size_t len)
{
    uint8_t datagram[OUTER_MAX] = {0};
    tap_make_datagram(datagram, nonce);
    return send(fd, datagram, len, 0) == (ssize_t)len ? 0 : -errno;
}

size_t path_udp_room(int fd, const union endpoint *endpoint)
{
    bool ipv4 = endpoint->sa.sa_family == AF_INET;
    size_t headers = ipv4 ? IPV4_UDP_HEADERS : IPV6_UDP_HEADERS;
    int mtu = OUTER_MAX;
    socklen_t len = sizeof mtu;
    if (getsockopt(fd, ipv4 ? IPPROTO_IP : IPPROTO_IPV6, ipv4 ? IP_MTU : IPV6_MTU, &mtu, &len) <
            0 ||
        mtu > OUTER_MAX)
        mtu = OUTER_MAX;
    return mtu < (int)TAP_DATAGRAM_LEN + IPV6_UDP_HEADERS ? TAP_DATAGRAM_LEN
                                                          : (size_t)mtu - headers;
}

/* The outcome of a connection that was begun. */
static int await_connection(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    int code = 0;
    socklen_t len = sizeof code;
    int ready = poll(&wait, 1, TCP_WAIT_MS);
    if (ready <= 0)
        return ready < 0 ? -errno : -ETIMEDOUT;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
        return -errno;
    return -code;
}

int path_tcp_try(const union endpoint *endpoint)
{
    int fd = socket(endpoint->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int code = connect(fd, &endpoint->sa, endpoint_len(endpoint)) == 0 ? 0 : -errno;
    if (code == -EINPROGRESS)
        code = await_connection(fd);
    close(fd);
    return code;
}
