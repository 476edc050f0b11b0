#include "tun/tun.h"

#include "tun/tun_impl.h"

#include <errno.h>
#include <string.h>

/* Names that the kernel accepts, except those that it would read as a template or a path. */
static bool name_valid(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len >= TUN_NAME_LEN || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    for (; *name != '\0'; name++)
        if ((unsigned char)*name <= ' ' || *name == 0x7f || strchr("/:%", *name) != NULL)
            return false;
    return true;
}

int tun_open(struct tun **out, const char *name, struct err *err)
{
    if (!name_valid(name))
        return err_set(err, -EINVAL,
                       "interface name \"%.64s\" is not valid: 1 to %d characters, no space, "
                       "\"/\", \":\" or \"%%\"",
                       name, TUN_NAME_LEN - 1);
    return tun_system_open(out, name, err);
}

int tun_adopt(struct tun **out, int fd, struct err *err)
{
    int rc = tun_system_adopt(out, fd, err);
    return rc == -ENOTTY ? tun_fd_adopt(out, fd, err) : rc;
}

int tun_reopen(struct tun *tun, struct err *err)
{
    if (tun->ops->reopen == NULL)
        return err_set(err, -EOPNOTSUPP, "interface %s cannot be recreated", tun->name);
    return tun->ops->reopen(tun, err);
}

void tun_close(struct tun *tun)
{
    if (tun != NULL)
        tun->ops->close(tun);
}

int tun_fd(const struct tun *tun)
{
    return tun->fd;
}

const char *tun_name(const struct tun *tun)
{
    return tun->name;
}

uint32_t tun_ifindex(const struct tun *tun)
{
    return tun->ifindex;
}

int tun_mtu(struct tun *tun, uint32_t *mtu)
{
    return tun->ops->mtu(tun, mtu);
}

int tun_read(struct tun *tun, struct tun_packet *packet)
{
    return tun->ops->read(tun, packet);
}

int tun_write(struct tun *tun, const struct tun_packet *packet)
{
    return tun->ops->write(tun, packet);
}

int tun_events_fd(const struct tun *tun)
{
    return tun->events_fd;
}

bool tun_is_up(const struct tun *tun)
{
    return tun->up;
}

int tun_events_read(struct tun *tun)
{
    return tun->events_fd < 0 ? 0 : tun->ops->events_read(tun);
}
