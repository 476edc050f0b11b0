#include "tun/tun_impl.h"

#include "base/fd.h"
#include "tun/tun.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    MEM_MTU = 1500,
    MEM_QUEUE = 4 << 20, /* bytes in flight in each direction, as far as the kernel allows */
};

/* A test sets the link of a device in memory. Events travel through a pipe, one byte each. */
struct mem_tun {
    struct tun tun;
    int post_fd; /* the writing end of events_fd */
    _Atomic uint32_t mtu;
};

static struct mem_tun *mem_of(struct tun *tun)
{
    return (struct mem_tun *)tun;
}

static void mem_close(struct tun *tun)
{
    struct mem_tun *mem = mem_of(tun);
    if (tun->fd >= 0)
        close(tun->fd);
    if (tun->events_fd >= 0)
        close(tun->events_fd);
    if (mem->post_fd >= 0)
        close(mem->post_fd);
    free(mem);
}

static int closed_to_gone(int rc)
{
    return rc == -EPIPE || rc == -ECONNRESET || rc == -ENOTCONN ? -EBADFD : rc;
}

static int mem_read(struct tun *tun, struct tun_packet *packet)
{
    int rc = closed_to_gone(tun_fd_read_packet(tun->fd, NULL, 0, packet));
    return rc == 0 && packet->len == 0 ? -EBADFD : rc;
}

static int mem_write(struct tun *tun, const struct tun_packet *packet)
{
    if (packet->gso != TUN_GSO_NONE || packet->len == 0 || packet->len > TUN_PACKET_MAX)
        return -EINVAL;
    if (!tun->up)
        return -EIO;
    if (send(tun->fd, packet->bytes, packet->len, MSG_NOSIGNAL) >= 0)
        return 0;
    return closed_to_gone(-errno);
}

static int mem_mtu(struct tun *tun, uint32_t *mtu)
{
    *mtu = mem_of(tun)->mtu;
    return 0;
}

static int mem_events_read(struct tun *tun)
{
    uint8_t posted[64];
    int bits = 0;
    ssize_t n;
    while ((n = read(tun->events_fd, posted, sizeof posted)) > 0)
        for (ssize_t i = 0; i < n; i++)
            bits |= posted[i];
    if ((bits & TUN_EVENT_UP) != 0 && (bits & TUN_EVENT_DOWN) != 0)
        bits &= tun->up ? ~TUN_EVENT_DOWN : ~TUN_EVENT_UP;
    return bits;
}

static const struct tun_ops mem_ops = {
    .close = mem_close,
    .read = mem_read,
    .write = mem_write,
    .mtu = mem_mtu,
    .events_read = mem_events_read,
};

/* Takes ownership of `fd`, even on failure. */
static struct tun *mem_create(int fd, const char *name)
{
    struct mem_tun *mem = calloc(1, sizeof *mem);
    if (mem == NULL) {
        close(fd);
        return NULL;
    }
    *mem = (struct mem_tun){
        .tun = {.ops = &mem_ops, .fd = fd, .events_fd = -1, .up = true},
        .post_fd = -1,
        .mtu = MEM_MTU,
    };
    snprintf(mem->tun.name, sizeof mem->tun.name, "%s", name);
    int queue = MEM_QUEUE;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &queue, sizeof queue);
    int ends[2];
    if (fd_prepare(fd) < 0 || pipe(ends) < 0)
        goto fail;
    mem->tun.events_fd = ends[0];
    mem->post_fd = ends[1];
    if (fd_prepare(ends[0]) < 0 || fd_prepare(ends[1]) < 0)
        goto fail;
    return &mem->tun;
fail:
    mem_close(&mem->tun);
    return NULL;
}

int tun_memory(struct tun **a, struct tun **b)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) < 0)
        return -errno;
    struct tun *first = mem_create(fds[0], "mem0");
    struct tun *second = mem_create(fds[1], "mem1");
    if (first == NULL || second == NULL) {
        tun_close(first);
        tun_close(second);
        return -ENOMEM;
    }
    *a = first;
    *b = second;
    return 0;
}

int tun_memory_set_link(struct tun *tun, bool up, uint32_t mtu)
{
    struct mem_tun *mem = mem_of(tun);
    uint8_t bits = 0;
    if (tun->ops != &mem_ops)
        return -EINVAL;
    if (up != tun->up)
        bits |= up ? TUN_EVENT_UP : TUN_EVENT_DOWN;
    if (mtu != mem->mtu)
        bits |= TUN_EVENT_MTU;
    tun->up = up;
    mem->mtu = mtu;
    if (bits != 0 && write(mem->post_fd, &bits, 1) < 0)
        return -errno;
    return 0;
}
