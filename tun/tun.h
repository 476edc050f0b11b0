#ifndef TUN_TUN_H
#define TUN_TUN_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A layer 3 device: the kernel's TUN, a descriptor handed in, or one end of a pair in memory. One
 * thread may read while another writes and a third takes events and asks for the MTU. Functions
 * return 0 or a negative errno; where a `struct err` is taken, its text tells a user what to do. */

struct tun;

enum {
    TUN_NAME_LEN = 16,      /* an interface name with its NUL */
    TUN_PACKET_MAX = 65535, /* the longest packet that a device carries */
};

/* What a packet needs before it is whole: nothing, or to be cut into segments. Only a device whose
 * offloads were switched on hands out, and takes, anything but TUN_GSO_NONE. */
enum tun_gso { TUN_GSO_NONE, TUN_GSO_TCP4, TUN_GSO_TCP6, TUN_GSO_UDP };

/* One packet on its way to or from a device, from its IP header on. `bytes` is the caller's. */
struct tun_packet {
    uint8_t *bytes;
    size_t capacity; /* for tun_read: the room in `bytes`; what does not fit is -EMSGSIZE */
    size_t len;
    enum tun_gso gso;
    uint16_t segment_len; /* payload of one segment */
    uint16_t header_len;  /* bytes in front of the payload */
    uint16_t csum_start;  /* checksum still to be made from here on; 0: none */
    uint16_t csum_offset; /* where it goes, behind csum_start */
};

/* Creates the interface, or attaches to a persistent TUN of that name that nobody holds. It goes
 * away with tun_close unless it is persistent. It is down and has the kernel's default MTU. */
int tun_open(struct tun **out, const char *name, struct err *err);

/* Takes over a descriptor that carries one packet a read and write (WG_TUN_FD). On success the
 * descriptor belongs to the device; on failure it stays the caller's. A real TUN keeps its name and
 * its link events, also in another network namespace; anything else is named "fd". */
int tun_adopt(struct tun **out, int fd, struct err *err);

/* A pair of devices in memory, both up with MTU 1500: what is written to one is read from the
 * other. After one is closed the other reads -EBADFD. */
int tun_memory(struct tun **a, struct tun **b);

/* Tests: changes the link of a device in memory and posts the events that follow from it. */
int tun_memory_set_link(struct tun *tun, bool up, uint32_t mtu);

/* Makes the interface of tun_open anew, as it was made then, after it was removed; 0 also when it
 * is still there. Nobody else may use the device meanwhile: its descriptors may change. Needs
 * neither the device file nor a right to open it. -EOPNOTSUPP: the device is of another kind. */
int tun_reopen(struct tun *tun, struct err *err);

void tun_close(struct tun *tun);

/* Non-blocking; readable when tun_read has a packet. */
int tun_fd(const struct tun *tun);
const char *tun_name(const struct tun *tun);

/* 0 for a device that is not an interface of the kernel. */
uint32_t tun_ifindex(const struct tun *tun);
int tun_mtu(struct tun *tun, uint32_t *mtu);

/* One packet. -EAGAIN: none yet. -EBADFD: the interface is gone for good. -EIO: the interface is
 * down (writes only). -EMSGSIZE: longer than the capacity, dropped. */
int tun_read(struct tun *tun, struct tun_packet *packet);
int tun_write(struct tun *tun, const struct tun_packet *packet);

/* Changes of the link, as bits. UP and DOWN are administrative; both are never set together. */
enum { TUN_EVENT_UP = 1, TUN_EVENT_DOWN = 2, TUN_EVENT_MTU = 4 };

/* Non-blocking; readable when tun_events_read has news. -1: this device has no events. */
int tun_events_fd(const struct tun *tun);

/* Whether the link is up as of the last event read, or of the opening. */
bool tun_is_up(const struct tun *tun);

/* Takes what is pending, but at most one change of up to down or back, and returns the bits of what
 * changed, 0 for nothing of interest, or a negative errno. The removal of the interface is no
 * event: see tun_read. */
int tun_events_read(struct tun *tun);

#endif
