#ifndef CONTROL_HOST_SOCKET_WATCH_H
#define CONTROL_HOST_SOCKET_WATCH_H

#include <stdbool.h>
#include <uv.h>

/* Notices that another program removed or replaced the file of a unix socket, alone or with its
 * folder, and has it recreated, with growing pauses (repair.h). */

struct socket_watch;

struct socket_watch_options {
    uv_loop_t *loop;
    const char *path; /* absolute; copied */
    bool any;         /* another program makes the file: a new one is as good as the old one */
    void *ctx;
    /* The file comes by itself, soon. May be NULL. */
    bool (*busy)(void *ctx);
    /* Recreates the socket, or begins to. 0 or a negative errno: tried again later. */
    int (*restore)(void *ctx);
};

/* Begins to watch; the file is there. 0 or a negative errno. */
int socket_watch_open(struct socket_watch **out, const struct socket_watch_options *options);

/* The path, while the file is not there as it should be; NULL while it is. Takes NULL. */
const char *socket_watch_missing(const struct socket_watch *watch);

/* No call back comes after this; later turns of the loop free the memory. Takes NULL. */
void socket_watch_close(struct socket_watch *watch);

#endif
