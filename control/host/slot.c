#include "control/host/slot.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    SLOTS = 127,
    MARK_SHIFT = 24,
    TABLE_BASE = 0x48450000, /* "HE" */
};

/* Binds the name of a table. Returns the socket or a negative errno. */
static int hold(uint32_t table)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int len = snprintf(addr.sun_path + 1, sizeof addr.sun_path - 1, "heimdall-table-%x", table);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    socklen_t addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
    if (bind(fd, (const struct sockaddr *)&addr, addr_len) < 0) {
        int code = -errno;
        close(fd);
        return code;
    }
    return fd;
}

static uint32_t hash(const char *text)
{
    uint32_t value = 2166136261U; /* FNV-1a, Fowler, Noll and Vo */
    for (; *text != '\0'; text++)
        value = (value ^ (uint8_t)*text) * 16777619U;
    return value ^ (value >> 16);
}

int slot_take(struct slot *slot, const char *interface_name)
{
    uint32_t first = hash(interface_name);
    int code = -EADDRINUSE;
    slot->fd = -1;
    for (uint32_t i = 0; i < SLOTS && code == -EADDRINUSE; i++) {
        uint32_t number = 1 + (first + i) % SLOTS;
        slot->mark = number << MARK_SHIFT;
        slot->table = TABLE_BASE | number;
        slot->fd = hold(slot->table);
        code = slot->fd < 0 ? slot->fd : 0;
    }
    return code;
}

void slot_release(struct slot *slot)
{
    if (slot->fd >= 0)
        close(slot->fd);
    slot->fd = -1;
}

bool slot_is_free(uint32_t mark)
{
    int fd = hold(TABLE_BASE | mark >> MARK_SHIFT);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}
