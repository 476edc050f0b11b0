#ifndef WG_UAPI_UAPI_SOCKET_H
#define WG_UAPI_UAPI_SOCKET_H

#include "base/err.h"
#include "wg/uapi/uapi.h"

#include <stdbool.h>

/* The UAPI server: a unix socket on a libuv loop. Clients are served side by side. A client may stay
 * without asking anything; one that sends slowly or takes no answer is cut off. None delays another. */

struct uapi_socket;
struct uv_loop_s;

enum {
    /* At the limit, the process with most connections loses the one that has waited longest. */
    UAPI_CLIENTS_MAX = 64,
    UAPI_REQUEST_TIME_MS = 5000, /* for a request from its first byte on, and to take its answer */
    UAPI_PATH_MAX = 108,         /* of a socket's path, including its NUL */
};

struct uapi_socket_options {
    const char *folder;         /* NULL: /var/run/wireguard; created with mode 0700 when missing */
    const char *interface_name; /* the socket is FOLDER/INTERFACE_NAME.sock, mode 0600 */
    int listen_fd;              /* a listening socket passed in, owned on success; or -1 */
    bool read_only;             /* a set is answered with -EPERM */
    void *ctx;
    /* Fills `out`, which the server frees. Returns 0 or a negative errno. */
    int (*get)(void *ctx, struct uapi_info *out);
    /* Applies the whole change or nothing. Returns 0 or a negative errno. Not called when
     * read_only. */
    int (*set)(void *ctx, const struct wg_device_config *config);
    /* Another program removed or replaced the socket's file: the program should end. May be
     * NULL. */
    void (*on_removed)(void *ctx);
};

/* Starts serving on the loop. Replaces the socket that a dead process left. -EADDRINUSE when a live
 * one answers there. On an error nothing is left behind. */
int uapi_socket_open(struct uapi_socket **out, struct uv_loop_s *loop,
                     const struct uapi_socket_options *options, struct err *err);

/* The path FOLDER/INTERFACE_NAME.sock as opened; empty for a descriptor without a file. */
const char *uapi_socket_path(const struct uapi_socket *socket);

/* Removes the file if it is still ours and cuts off all clients. Later turns of the loop free the
 * memory. NULL does nothing. */
void uapi_socket_close(struct uapi_socket *socket);

#endif
