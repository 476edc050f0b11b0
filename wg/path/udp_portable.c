#include "wg/path/udp_cmsg.h"
#include "wg/path/udp_io.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* recvmsg and sendmsg: what every system has. */

static int portable_prepare(int fd, enum udp_family family)
{
    (void)fd;
    (void)family;
    return 0;
}

/* Only Linux has marks. Removing a mark succeeds. */
static int portable_set_mark(int fd, uint32_t mark)
{
    (void)fd;
    return mark == 0 ? 0 : -EOPNOTSUPP;
}

static int send_one(int fd, const struct udp_message *message)
{
    union udp_cmsg_buffer control;
    struct iovec piece = {.iov_base = (void *)(uintptr_t)message->bytes, .iov_len = message->len};
    struct msghdr msg = {
        .msg_name = (void *)(uintptr_t)&message->endpoint->remote,
        .msg_namelen = endpoint_len(&message->endpoint->remote),
        .msg_iov = &piece,
        .msg_iovlen = 1,
    };
    udp_cmsg_encode(&msg, &control, message);
    return sendmsg(fd, &msg, 0) < 0 ? -errno : 0;
}

static int send_each(int fd, struct udp_message *messages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int rc = send_one(fd, &messages[i]);
        if (rc != 0)
            return i > 0 ? (int)i : rc;
    }
    return (int)count;
}

static int receive_one(int fd, struct wg_inbound *in)
{
    in->from = (struct wg_endpoint){0};
    in->ds = 0;
    union udp_cmsg_buffer control;
    struct iovec piece = {.iov_base = in->bytes, .iov_len = UDP_DATAGRAM_MAX};
    struct msghdr msg = {
        .msg_name = &in->from.remote,
        .msg_namelen = sizeof in->from.remote,
        .msg_iov = &piece,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof control,
    };
    ssize_t len = recvmsg(fd, &msg, 0);
    if (len < 0)
        return -errno;
    in->len = (size_t)len;
    udp_cmsg_decode(&msg, &in->from, &in->ds);
    return 0;
}

static int receive_each(int fd, struct wg_inbound *in, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int rc = receive_one(fd, &in[i]);
        if (rc != 0)
            return i > 0 ? (int)i : rc;
    }
    return (int)count;
}

const struct udp_io *udp_io_portable(void)
{
    static const struct udp_io io = {
        .prepare = portable_prepare,
        .set_mark = portable_set_mark,
        .send = send_each,
        .receive = receive_each,
    };
    return &io;
}
