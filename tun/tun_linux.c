#include "tun/tun_impl.h"

#include "base/fd.h"
#include "tun/tun.h"
#include "tun/watch_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static const char device_path[] = "/dev/net/tun";

struct linux_tun {
    struct tun tun;
    struct watch watch;
    bool vnet_hdr; /* adopted with a virtio header in front of each packet */
    uint32_t mtu;  /* as of the last event */
};

static struct linux_tun *linux_of(struct tun *tun)
{
    return (struct linux_tun *)tun;
}

static void linux_close(struct tun *tun)
{
    watch_fini(&linux_of(tun)->watch);
    close(tun->fd);
    free(tun);
}

static int linux_read(struct tun *tun, struct tun_packet *packet)
{
    struct virtio_net_hdr header;
    size_t header_len = linux_of(tun)->vnet_hdr ? sizeof header : 0;
    return tun_fd_read_packet(tun->fd, &header, header_len, packet);
}

static int linux_write(struct tun *tun, const struct tun_packet *packet)
{
    struct virtio_net_hdr header = {.gso_type = VIRTIO_NET_HDR_GSO_NONE};
    size_t header_len = linux_of(tun)->vnet_hdr ? sizeof header : 0;
    if (packet->gso != TUN_GSO_NONE)
        return -EINVAL;
    return tun_fd_write_packet(tun->fd, &header, header_len, packet);
}

static int linux_mtu(struct tun *tun, uint32_t *mtu)
{
    return watch_mtu(&linux_of(tun)->watch, mtu);
}

static int linux_events_read(struct tun *tun)
{
    struct linux_tun *self = linux_of(tun);
    int rc = watch_read(&self->watch);
    int bits = 0;
    if (self->watch.up != tun->up)
        bits |= self->watch.up ? TUN_EVENT_UP : TUN_EVENT_DOWN;
    if (self->watch.mtu != self->mtu)
        bits |= TUN_EVENT_MTU;
    tun->up = self->watch.up;
    tun->ifindex = self->watch.ifindex;
    self->mtu = self->watch.mtu;
    return bits == 0 && rc < 0 ? rc : bits;
}

/* Explains why the kernel refuses an interface, and what to do. */
static int explain_interface(struct err *err, const char *name, int code)
{
    switch (code) {
    case -EPERM:
    case -EACCES:
        return err_set(err, code,
                       "not permitted to create interface %s: start the container with `--cap-add "
                       "NET_ADMIN`, or run as root",
                       name);
    case -EBUSY:
        return err_set(err, code,
                       "interface %s is in use by another program: stop that, or choose another "
                       "name (--interface-name, or the argument of heimdall-wg)",
                       name);
    case -EINVAL:
        return err_set(err, code,
                       "interface %s exists and is not a free TUN: choose another name "
                       "(--interface-name), or remove it if nothing else uses it (`ip link delete "
                       "%s`)",
                       name, name);
    }
    return err_set_errno(err, code, "cannot create interface %s", name);
}

/* The kernel's default is an Ethernet link's; outer packets of that size would be fragmented. */
static int set_default_mtu(const char *name)
{
    struct ifreq ifr = {.ifr_mtu = TUN_DEFAULT_MTU};
    memcpy(ifr.ifr_name, name, strlen(name));
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int rc = ioctl(fd, SIOCSIFMTU, &ifr) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

/* A descriptor whose interface was removed accepts a new one, as if it never had any. A persistent
 * interface that exists already keeps its MTU. */
static int make_interface(int fd, const char *name, struct ifreq *ifr, struct err *err)
{
    bool is_new = if_nametoindex(name) == 0;
    *ifr = (struct ifreq){.ifr_flags = IFF_TUN | IFF_NO_PI};
    memcpy(ifr->ifr_name, name, strlen(name));
    if (ioctl(fd, TUNSETIFF, ifr) < 0)
        return explain_interface(err, name, -errno);
    int rc = is_new ? set_default_mtu(name) : 0;
    return rc < 0 ? err_set_errno(err, rc, "cannot set the MTU of interface %s", name) : 0;
}

/* Starts to follow the link of the descriptor's interface. */
static int begin_watch(struct linux_tun *self, int fd, const char *name, struct err *err)
{
    int rc = watch_init(&self->watch, fd);
    if (rc < 0) {
        watch_fini(&self->watch);
        return err_set_errno(err, rc, "cannot watch interface %s", name);
    }
    self->mtu = self->watch.mtu;
    self->tun.events_fd = self->watch.fd;
    self->tun.ifindex = self->watch.ifindex;
    self->tun.up = self->watch.up;
    return 0;
}

static int linux_reopen(struct tun *tun, struct err *err)
{
    struct ifreq ifr = {0};
    if (ioctl(tun->fd, TUNGETIFF, &ifr) == 0)
        return 0;
    int rc = make_interface(tun->fd, tun->name, &ifr, err);
    if (rc < 0)
        return rc;
    watch_fini(&linux_of(tun)->watch);
    return begin_watch(linux_of(tun), tun->fd, tun->name, err);
}

static const struct tun_ops linux_ops = {
    .close = linux_close,
    .read = linux_read,
    .write = linux_write,
    .mtu = linux_mtu,
    .events_read = linux_events_read,
    .reopen = linux_reopen,
};

/* Takes over `fd` on success only. */
static int create(struct tun **out, int fd, const struct ifreq *ifr, struct err *err)
{
    struct linux_tun *self = calloc(1, sizeof *self);
    if (self == NULL)
        return err_set_errno(err, -ENOMEM, "cannot open interface %s", ifr->ifr_name);
    int rc = fd_prepare(fd);
    if (rc < 0)
        err_set_errno(err, rc, "cannot use interface %s", ifr->ifr_name);
    else
        rc = begin_watch(self, fd, ifr->ifr_name, err);
    if (rc < 0) {
        free(self);
        return rc;
    }
    self->vnet_hdr = (ifr->ifr_flags & IFF_VNET_HDR) != 0;
    self->tun.ops = &linux_ops;
    self->tun.fd = fd;
    memcpy(self->tun.name, ifr->ifr_name, sizeof self->tun.name);
    *out = &self->tun;
    return 0;
}

/* Explains why the device file does not open, and what to do. */
static int explain_device(struct err *err, int code)
{
    switch (code) {
    case -ENOENT:
    case -ENODEV:
    case -ENXIO:
        return err_set(err, code,
                       "%s is missing: start the container with `--device %s --cap-add NET_ADMIN`, "
                       "or run `modprobe tun` on the host",
                       device_path, device_path);
    case -EPERM:
    case -EACCES:
        return err_set(err, code,
                       "not permitted to open %s: start the container with `--device %s --cap-add "
                       "NET_ADMIN`, or run as root",
                       device_path, device_path);
    }
    return err_set_errno(err, code, "cannot open %s", device_path);
}

int tun_system_open(struct tun **out, const char *name, struct err *err)
{
    int fd = open(device_path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return explain_device(err, -errno);
    struct ifreq ifr;
    int rc = make_interface(fd, name, &ifr, err);
    if (rc == 0)
        rc = create(out, fd, &ifr, err);
    if (rc < 0)
        close(fd);
    return rc;
}

/* Switches offloads off: the descriptor may come from a program that used more of the kernel's than
 * we do. */
static int reset_offloads(int fd, const struct ifreq *ifr)
{
    int header_len = sizeof(struct virtio_net_hdr);
    if ((ifr->ifr_flags & IFF_VNET_HDR) == 0)
        return 0;
    if (ioctl(fd, TUNSETOFFLOAD, 0) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &header_len) < 0)
        return -errno;
    return 0;
}

int tun_system_adopt(struct tun **out, int fd, struct err *err)
{
    struct ifreq ifr = {0};
    if (ioctl(fd, TUNGETIFF, &ifr) < 0) {
        int code = errno;
        if (code == EBADF)
            return err_set(err, -EBADF, "descriptor %d is not open", fd);
        if (code == EBADFD)
            return err_set(err, -EBADFD, "descriptor %d is a TUN without an interface", fd);
        return -ENOTTY;
    }
    /* IFF_NO_PI cannot be asked for: TUNGETIFF sets the same bit when there is no filter */
    if ((ifr.ifr_flags & IFF_TUN) == 0)
        return err_set(
            err, -EINVAL,
            "descriptor %d (interface %s) is a TAP; a TUN (IFF_TUN | IFF_NO_PI) is needed", fd,
            ifr.ifr_name);
    int rc = reset_offloads(fd, &ifr);
    if (rc < 0)
        return err_set_errno(err, rc, "cannot reset the offloads of interface %s", ifr.ifr_name);
    return create(out, fd, &ifr, err);
}
