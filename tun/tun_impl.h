#ifndef TUN_TUN_IMPL_H
#define TUN_TUN_IMPL_H

#include "base/err.h"
#include "tun/tun_packet.h"

#include <stdatomic.h>
#include <stdbool.h>

/* What all kinds of devices share, and the operations of each. A back end embeds `struct tun` as
 * its first member. */

struct tun;

struct tun_ops {
    void (*close)(struct tun *tun); /* frees the device too */
    int (*read)(struct tun *tun, struct tun_packet *packet);
    int (*write)(struct tun *tun, const struct tun_packet *packet);
    int (*mtu)(struct tun *tun, uint32_t *mtu);
    int (*events_read)(struct tun *tun);
    int (*reopen)(struct tun *tun, struct err *err); /* NULL: cannot */
};

struct tun {
    const struct tun_ops *ops;
    int fd;
    int events_fd; /* -1: none */
    _Atomic uint32_t ifindex;
    _Atomic bool up;
    char name[TUN_NAME_LEN];
};

/* In tun_linux.c, or the file of another system. Adopting returns -ENOTTY when the descriptor is
 * not a TUN. */
int tun_system_open(struct tun **out, const char *name, struct err *err);
int tun_system_adopt(struct tun **out, int fd, struct err *err);

/* In tun_fd.c: any descriptor that carries one packet a read and write. */
int tun_fd_adopt(struct tun **out, int fd, struct err *err);

/* Reads or writes one packet behind a header of `header_len` bytes. Detects truncation, which the
 * kernel does not report. */
int tun_fd_read_packet(int fd, void *header, size_t header_len, struct tun_packet *packet);
int tun_fd_write_packet(int fd, const void *header, size_t header_len,
                        const struct tun_packet *packet);

#endif
