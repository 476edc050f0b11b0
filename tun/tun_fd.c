#include "tun/tun_impl.h"

#include "base/fd.h"
#include "tun/tun.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FD_MTU = 1500 };

int tun_fd_read_packet(int fd, void *header, size_t header_len, struct tun_packet *packet)
{
    uint8_t beyond;
    struct iovec iov[3] = {
        {header, header_len}, {packet->bytes, packet->capacity}, {&beyond, sizeof beyond}};
    bool plain = header_len == 0;
    ssize_t n = readv(fd, plain ? iov + 1 : iov, plain ? 2 : 3);
    if (n < 0)
        return -errno;
    if ((size_t)n < header_len)
        return -EIO;
    size_t len = (size_t)n - header_len;
    if (len > packet->capacity)
        return -EMSGSIZE;
    packet->len = len;
    packet->gso = TUN_GSO_NONE;
    packet->segment_len = 0;
    packet->header_len = 0;
    packet->csum_start = 0;
    packet->csum_offset = 0;
    return 0;
}

int tun_fd_write_packet(int fd, const void *header, size_t header_len,
                        const struct tun_packet *packet)
{
    struct iovec iov[2] = {{(void *)(uintptr_t)header, header_len}, {packet->bytes, packet->len}};
    bool plain = header_len == 0;
    return writev(fd, plain ? iov + 1 : iov, plain ? 1 : 2) < 0 ? -errno : 0;
}

/* A descriptor whose other end is closed acts as an interface that was removed. */
static int closed_to_gone(int rc)
{
    return rc == -EPIPE || rc == -ECONNRESET || rc == -ECONNREFUSED || rc == -ENOTCONN ? -EBADFD
                                                                                       : rc;
}

static void fd_close(struct tun *tun)
{
    close(tun->fd);
    free(tun);
}

static int fd_read(struct tun *tun, struct tun_packet *packet)
{
    int rc = closed_to_gone(tun_fd_read_packet(tun->fd, NULL, 0, packet));
    return rc == 0 && packet->len == 0 ? -EBADFD : rc;
}

static int fd_write(struct tun *tun, const struct tun_packet *packet)
{
    /* an empty packet would be read as the end of the stream */
    if (packet->gso != TUN_GSO_NONE || packet->len == 0)
        return -EINVAL;
    struct iovec iov = {packet->bytes, packet->len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (sendmsg(tun->fd, &msg, MSG_NOSIGNAL) >= 0)
        return 0;
    if (errno != ENOTSOCK)
        return closed_to_gone(-errno);
    return closed_to_gone(tun_fd_write_packet(tun->fd, NULL, 0, packet));
}

static int fd_mtu(struct tun *tun, uint32_t *mtu)
{
    (void)tun;
    *mtu = FD_MTU;
    return 0;
}

static const struct tun_ops fd_ops = {
    .close = fd_close,
    .read = fd_read,
    .write = fd_write,
    .mtu = fd_mtu,
};

/* Streams and files have no packet bounds. */
static bool keeps_packets(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return false;
    if (S_ISCHR(st.st_mode))
        return true;
    int type = 0;
    socklen_t len = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type != SOCK_STREAM;
}

int tun_fd_adopt(struct tun **out, int fd, struct err *err)
{
    if (!keeps_packets(fd))
        return err_set(err, -EINVAL,
                       "descriptor %d is neither a TUN nor a socket that carries packets", fd);
    struct tun *tun = calloc(1, sizeof *tun);
    if (tun == NULL)
        return err_set_errno(err, -ENOMEM, "cannot take over descriptor %d", fd);
    int rc = fd_prepare(fd);
    if (rc < 0) {
        free(tun);
        return err_set_errno(err, rc, "cannot take over descriptor %d", fd);
    }
    tun->ops = &fd_ops;
    tun->fd = fd;
    tun->events_fd = -1;
    tun->up = true;
    snprintf(tun->name, sizeof tun->name, "fd");
    *out = tun;
    return 0;
}
