#ifndef TUN_TUN_H
#define TUN_TUN_H

#include "base/err.h"
#include "tun/tun_packet.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A layer 3 device: the kernel's TUN, a descriptor passed in, or one end of a pair in memory. One
 * thread may read while another writes and a third reads events and the MTU. Functions return 0 or
 * a negative errno. Where a `struct err` is taken, its text says what the user can do. */

struct tun;

/* Creates the interface, or attaches to a persistent TUN of that name that nobody holds. It goes
 * away with tun_close unless it is persistent. It is down. A new one has TUN_DEFAULT_MTU. */
int tun_open(struct tun **out, const char *name, struct err *err);

/* Takes over a descriptor that carries one packet a read and write (WG_TUN_FD). On success the
 * descriptor belongs to the device; on failure it stays the caller's. A real TUN keeps its name and
 * its link events, also in another network namespace; anything else is named "fd". */
int tun_adopt(struct tun **out, int fd, struct err *err);

/* A pair of devices in memory, both up with MTU 1500: what is written to one is read from the
 * other. After one is closed the other reads -EBADFD. */
int tun_memory(struct tun **a, struct tun **b);

/* For tests: changes the link of a device in memory and posts the resulting events. */
int tun_memory_set_link(struct tun *tun, bool up, uint32_t mtu);

/* Recreates the removed interface of tun_open with the same settings. 0 also when it still exists.
 * No other thread may use the device meanwhile: its descriptors may change. Needs neither the
 * device file nor the right to open it. -EOPNOTSUPP: the device is of another kind. */
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

/* Reads what is pending, but at most one change of up to down or back. Returns the bits of what
 * changed, 0 for nothing of interest, or a negative errno. The removal of the interface is no
 * event: see tun_read. */
int tun_events_read(struct tun *tun);

#endif
