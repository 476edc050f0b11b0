#include "wg/path/udp_cmsg.h"
#include "wg/path/udp_io.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* recvmmsg and sendmmsg: one system call a batch. */

enum {
    RECEIVE_BUFFER = 1 << 20, /* bytes; the default holds some 90 large datagrams */
    /* More than any usual queue of an interface holds (fq_codel: 32 MiB), so that the queue drops
     * first, as for the kernel's own WireGuard. Nothing is allocated ahead. */
    SEND_BUFFER = 32 << 20,
};

/* Without CAP_NET_ADMIN the system's limits apply; either way the socket works. */
static void enlarge_buffers(int fd)
{
    int size = RECEIVE_BUFFER;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    size = SEND_BUFFER;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

/* Outer packets may be fragmented on their way, as with the kernel's own WireGuard: with "do not
 * fragment" a smaller MTU behind a silent firewall would swallow every large packet. */
static int linux_prepare(int fd, enum udp_family family)
{
    enlarge_buffers(fd);
    if (family == UDP_IPV4) {
        int value = IP_PMTUDISC_DONT;
        return setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &value, sizeof value) == 0 ? 0 : -errno;
    }
    return 0;
}

static int linux_set_mark(int fd, uint32_t mark)
{
    return setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) == 0 ? 0 : -errno;
}

static int linux_send(int fd, struct udp_message *messages, size_t count)
{
    struct mmsghdr headers[UDP_BATCH];
    struct iovec pieces[UDP_BATCH];
    union udp_cmsg_buffer controls[UDP_BATCH];
    memset(headers, 0, count * sizeof headers[0]);
    for (size_t i = 0; i < count; i++) {
        const struct udp_message *message = &messages[i];
        struct msghdr *msg = &headers[i].msg_hdr;
        pieces[i] =
            (struct iovec){.iov_base = (void *)(uintptr_t)message->bytes, .iov_len = message->len};
        msg->msg_iov = &pieces[i];
        msg->msg_iovlen = 1;
        msg->msg_name = (void *)(uintptr_t)&message->endpoint->remote;
        msg->msg_namelen = endpoint_len(&message->endpoint->remote);
        udp_cmsg_encode(msg, &controls[i], message);
    }
    int sent = sendmmsg(fd, headers, (unsigned)count, MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

static int receive_batch(int fd, struct wg_inbound *in, size_t count)
{
    struct mmsghdr headers[UDP_BATCH];
    struct iovec pieces[UDP_BATCH];
    union udp_cmsg_buffer controls[UDP_BATCH];
    memset(headers, 0, count * sizeof headers[0]);
    for (size_t i = 0; i < count; i++) {
        struct msghdr *msg = &headers[i].msg_hdr;
        in[i].from = (struct wg_endpoint){0};
        in[i].ds = 0;
        pieces[i] = (struct iovec){.iov_base = in[i].bytes, .iov_len = UDP_DATAGRAM_MAX};
        msg->msg_iov = &pieces[i];
        msg->msg_iovlen = 1;
        msg->msg_name = &in[i].from.remote;
        msg->msg_namelen = sizeof in[i].from.remote;
        msg->msg_control = &controls[i];
        msg->msg_controllen = sizeof controls[i];
    }
    int got = recvmmsg(fd, headers, (unsigned)count, 0, NULL);
    for (int i = 0; i < got; i++) {
        in[i].len = headers[i].msg_len;
        udp_cmsg_decode(&headers[i].msg_hdr, &in[i].from, &in[i].ds);
    }
    return got < 0 ? -errno : got;
}

const struct udp_io *udp_io_native(void)
{
    static const struct udp_io io = {
        .prepare = linux_prepare,
        .set_mark = linux_set_mark,
        .send = linux_send,
        .receive = receive_batch,
    };
    return &io;
}
