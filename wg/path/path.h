#ifndef WG_PATH_PATH_H
#define WG_PATH_PATH_H

#include "base/err.h"
#include "wg/path/path_options.h"
#include "wg/wg.h"

#include <stdbool.h>
#include <stdint.h>

/* One running WireGuard device: the engine with its TUN interface, its UDP sockets and its threads
 * (TUN to UDP, UDP to TUN, handshakes and timers). Every function here may be called from any one
 * thread at a time that is not one of the path's own, and is short. */

struct path;

struct path_info {
    struct wg_device_info device;
    uint16_t listen_port; /* as wanted, or last held; 0: none yet */
    uint32_t fwmark;
    uint32_t mtu;
    bool up;
    uint64_t dropped; /* datagrams that no socket took: full, closed, or refused for good */
    char tun_name[16];
};

/* Makes the device without starting it: no thread and no socket yet. */
int path_create(struct path **out, const struct path_options *options, struct err *err);

/* Starts the threads. From here on the device follows the interface: up and down, MTU. */
int path_start(struct path *path, struct err *err);

/* Ends the threads, closes the sockets; the interface stays until path_destroy. */
void path_stop(struct path *path);

/* After on_closed: makes the removed interface anew, down and without addresses, and starts again,
 * with all peers, on the same port; peers that were in use are sent a handshake once it is up. With
 * an error the path is stopped, and this may be called again. on_closed may be called once more. */
int path_reopen(struct path *path, struct err *err);

/* Stops if needed, closes the interface and wipes every key. */
void path_destroy(struct path *path);

/* Applies the change as a whole or, with an error, nothing of it. A new listen port is opened for
 * IPv4 and IPv6 before the old one is closed; 0 takes a port that is free for both. While the link
 * is down no port is held, but a new one is tried. -EADDRINUSE when the port is taken: the text
 * names the port and `--endpoint-port`. */
int path_configure(struct path *path, const struct wg_device_config *config, struct err *err);

/* Of the interface that it runs on; 0: none. */
uint32_t path_ifindex(const struct path *path);

/* Returns 0, or -ENOMEM with `out` empty. Holds secrets: path_info_fini wipes them. */
int path_info(struct path *path, struct path_info *out);
void path_info_fini(struct path_info *info);

#endif
