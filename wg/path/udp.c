#include "wg/path/udp.h"

#include "base/fd.h"
#include "wg/path/udp_io.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct udp {
    const struct udp_io *io;
    int fds[UDP_FAMILIES];
    uint16_t port;
    _Atomic uint64_t refused;
    _Atomic unsigned polls; /* polls in progress */
};

enum { FREE_PORT_TRIES = 100 };

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) == 0 ? 0 : -errno;
}

static int set_options4(int fd)
{
    int rc = set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
    return rc != 0 ? rc : set_option(fd, IPPROTO_IP, IP_RECVTOS, 1);
}

static int set_options6(int fd)
{
    int rc = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (rc == 0)
        rc = set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    return rc != 0 ? rc : set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
}

static int udp_prepare(int fd, enum udp_family family, uint32_t fwmark, const struct udp_io *io)
{
    int rc = fd_prepare(fd);
    if (rc == 0)
        rc = family == UDP_IPV4 ? set_options4(fd) : set_options6(fd);
    if (rc == 0)
        rc = io->prepare(fd, family);
    if (rc == 0 && fwmark != 0)
        rc = io->set_mark(fd, fwmark);
    return rc;
}

static int bind_any(int fd, enum udp_family family, uint16_t port)
{
    union endpoint addr = {0};
    if (family == UDP_IPV4) {
        addr.in.sin_family = AF_INET;
        addr.in.sin_port = htons(port);
    } else {
        addr.in6.sin6_family = AF_INET6;
        addr.in6.sin6_port = htons(port);
    }
    return bind(fd, &addr.sa, endpoint_len(&addr)) == 0 ? 0 : -errno;
}

static int bound_port(int fd, uint16_t *port)
{
    union endpoint addr = {0};
    socklen_t len = sizeof addr;
    if (getsockname(fd, &addr.sa, &len) != 0)
        return -errno;
    *port = endpoint_port(&addr);
    return 0;
}

/* Opens one family on udp->port, or on a free port that becomes udp->port. A family that the kernel
 * lacks, or has switched off, stays at -1. */
static int open_family(struct udp *udp, enum udp_family family, uint32_t fwmark)
{
    int fd = socket(family == UDP_IPV4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0);
    if (fd < 0)
        return errno == EAFNOSUPPORT ? 0 : -errno;
    int rc = udp_prepare(fd, family, fwmark, udp->io);
    if (rc == 0) {
        rc = bind_any(fd, family, udp->port);
        if (rc == -EADDRNOTAVAIL) {
            close(fd);
            return 0;
        }
    }
    if (rc == 0)
        rc = bound_port(fd, &udp->port);
    if (rc != 0) {
        close(fd);
        return rc;
    }
    udp->fds[family] = fd;
    return 0;
}

static void close_families(struct udp *udp)
{
    for (int i = 0; i < UDP_FAMILIES; i++) {
        if (udp->fds[i] >= 0)
            close(udp->fds[i]);
        udp->fds[i] = -1;
    }
}

static int open_families(struct udp *udp, uint16_t port, uint32_t fwmark)
{
    udp->port = port;
    int rc = open_family(udp, UDP_IPV4, fwmark);
    if (rc == 0)
        rc = open_family(udp, UDP_IPV6, fwmark);
    if (rc == 0 && udp->fds[UDP_IPV4] < 0 && udp->fds[UDP_IPV6] < 0)
        rc = -EAFNOSUPPORT;
    if (rc != 0)
        close_families(udp);
    return rc;
}

int udp_open(struct udp **out, uint16_t port, uint32_t fwmark, const struct udp_io *io)
{
    struct udp *udp = calloc(1, sizeof *udp);
    if (udp == NULL)
        return -ENOMEM;
    udp->io = io != NULL ? io : udp_io_native();
    udp->fds[UDP_IPV4] = -1;
    udp->fds[UDP_IPV6] = -1;
    /* The kernel may pick a port for IPv4 that is taken for IPv6. */
    int rc = -EADDRINUSE;
    for (int i = 0; rc == -EADDRINUSE && i < (port == 0 ? FREE_PORT_TRIES : 1); i++)
        rc = open_families(udp, port, fwmark);
    if (rc != 0) {
        free(udp);
        return rc;
    }
    *out = udp;
    return 0;
}

void udp_close(struct udp *udp)
{
    if (udp == NULL)
        return;
    close_families(udp);
    free(udp);
}

uint16_t udp_port(const struct udp *udp)
{
    return udp->port;
}

int udp_fd(const struct udp *udp, enum udp_family family)
{
    return udp->fds[family];
}

void udp_poll_begin(struct udp *udp)
{
    atomic_fetch_add(&udp->polls, 1);
}

void udp_poll_end(struct udp *udp)
{
    atomic_fetch_sub(&udp->polls, 1);
}

bool udp_is_polled(const struct udp *udp)
{
    return atomic_load(&udp->polls) != 0;
}

int udp_set_fwmark(struct udp *udp, uint32_t old_mark, uint32_t mark)
{
    for (int i = 0; i < UDP_FAMILIES; i++) {
        int rc = udp->fds[i] < 0 ? 0 : udp->io->set_mark(udp->fds[i], mark);
        if (rc != 0) {
            while (i-- > 0)
                (void)udp->io->set_mark(udp->fds[i], old_mark);
            return rc;
        }
    }
    return 0;
}

/* ---- sending ---- */

/* The socket of an endpoint's family, or -1. */
static int fd_for(const struct udp *udp, const struct wg_endpoint *endpoint)
{
    switch (endpoint->remote.sa.sa_family) {
    case AF_INET:
        return udp->fds[UDP_IPV4];
    case AF_INET6:
        return udp->fds[UDP_IPV6];
    }
    return -1;
}

/* Whether the kernel may have refused because of the source address or its interface. */
static bool blames_source(int rc, const struct wg_endpoint *endpoint)
{
    return endpoint->source.family != 0 &&
           (rc == -EINVAL || rc == -ENODEV || rc == -EADDRNOTAVAIL || rc == -ENETUNREACH ||
            rc == -EHOSTUNREACH);
}

static void udp_note_refused(struct udp *udp, struct udp_message *messages, size_t count)
{
    for (size_t i = 0; i < count; i++)
        messages[i].refused = true;
    atomic_fetch_add_explicit(&udp->refused, count, memory_order_relaxed);
}

/* Sends messages of one socket. Returns how many are done with. */
static size_t send_run(struct udp *udp, int fd, struct udp_message *messages, size_t count)
{
    size_t done = 0;
    while (done < count) {
        size_t batch = count - done < UDP_BATCH ? count - done : UDP_BATCH;
        int rc = udp->io->send(fd, messages + done, batch);
        struct udp_message *message = &messages[done];
        if (rc > 0) {
            done += (size_t)rc;
        } else if (rc == -EAGAIN || rc == -EWOULDBLOCK) {
            break;
        } else if (!message->source_refused && blames_source(rc, message->endpoint)) {
            message->source_refused = true;
        } else if (rc != -EINTR) {
            udp_note_refused(udp, message, 1);
            done++;
        }
    }
    return done;
}

size_t udp_send(struct udp *udp, struct udp_message *messages, size_t count)
{
    size_t done = 0;
    while (done < count) {
        int fd = fd_for(udp, messages[done].endpoint);
        size_t run = 1;
        while (done + run < count && fd_for(udp, messages[done + run].endpoint) == fd)
            run++;
        size_t sent = run;
        if (fd < 0)
            udp_note_refused(udp, messages + done, run);
        else
            sent = send_run(udp, fd, messages + done, run);
        done += sent;
        if (sent < run)
            break;
    }
    return done;
}

uint64_t udp_refused(const struct udp *udp)
{
    return atomic_load_explicit(&udp->refused, memory_order_relaxed);
}

size_t udp_receive(struct udp *udp, enum udp_family family, struct wg_inbound *in, size_t count)
{
    int fd = udp->fds[family];
    if (fd < 0)
        return 0;
    int rc = udp->io->receive(fd, in, count < UDP_BATCH ? count : UDP_BATCH);
    return rc > 0 ? (size_t)rc : 0;
}
