#ifndef WG_PATH_PATH_H
#define WG_PATH_PATH_H

#include "base/err.h"
#include "wg/path/path_options.h"
#include "wg/wg.h"

#include <stdbool.h>
#include <stdint.h>

/* One running WireGuard device: the engine with its TUN interface, its UDP sockets and its threads
 * (TUN to UDP, UDP to TUN, handshakes and timers). Any one thread at a time that is not the path's
 * own may call these functions. All are short. */

struct path;
struct tap;

struct path_info {
    struct wg_device_info device;
    uint16_t listen_port; /* as configured, or last held; 0: none yet */
    uint32_t fwmark;
    uint32_t mtu;
    bool up;
    bool has_no_socket;    /* the link is up, but the port cannot be opened: it is retried */
    uint16_t missing_port; /* that port; 0: any */
    uint64_t looped;       /* datagrams of ours that the host routed into the interface: dropped */
    uint64_t prohibited;   /* packets between peers that are kept apart */
    uint64_t dropped;      /* datagrams that no socket took: full, closed, or refused for good */
    char tun_name[16];
};

/* Creates the device without starting it: no thread and no socket yet. */
int path_create(struct path **out, const struct path_options *options, struct err *err);

/* Starts the threads. From here on the device follows the interface: up and down, MTU. */
int path_start(struct path *path, struct err *err);

/* Ends the threads and closes the sockets. The interface stays until path_destroy. */
void path_stop(struct path *path);

/* Call after on_closed. Recreates the removed interface, down and without addresses, and starts
 * again with all peers, on the same port. Peers that were in use are sent a handshake once it is
 * up. On an error the path is stopped, and path_reopen may be called again. on_closed may be called
 * once more. */
int path_reopen(struct path *path, struct err *err);

/* Stops if needed, closes the interface and wipes every key. */
void path_destroy(struct path *path);

/* Applies the whole change or, on an error, none of it. A new listen port is opened for IPv4 and
 * IPv6 before the old one is closed. Port 0 takes one that is free for both. While the link is down
 * no port is held, but a new one is tried. -EADDRINUSE when the port is taken: the text names the
 * port and `--endpoint-port`. */
int path_configure(struct path *path, const struct wg_device_config *config, struct err *err);

/* Keeps the hosts of these prefixes apart: see wg_device_keep_apart. Returns 0 or -ENOMEM. */
int path_keep_apart(struct path *path, const struct ip_prefix *prefixes, size_t count);

/* The index of the path's interface; 0: none. */
uint32_t path_ifindex(const struct path *path);

/* Returns 0, or -ENOMEM with `out` empty. Holds secrets: path_info_fini wipes them. */
int path_info(struct path *path, struct path_info *out);
void path_info_fini(struct path_info *info);

/* For tests of the host: see tap.h. */
struct tap *path_tap(struct path *path);

/* Gives the host a packet, as if a peer had sent it. 0 or a negative errno of tun_write. */
int path_inject(struct path *path, uint8_t *bytes, size_t len);

#endif
