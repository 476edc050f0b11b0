#ifndef WG_PATH_PATH_OPTIONS_H
#define WG_PATH_PATH_OPTIONS_H

#include <stdbool.h>

struct tun;

struct path_options {
    struct tun *tun; /* owned by the path after path_create has succeeded */
    /* The interface is gone or cannot be read any more. Called at most once a start, from one of
     * the path's threads: notify a loop of your own, and call path_destroy or path_reopen from
     * there. */
    void (*on_closed)(void *ctx, const char *reason);
    void *ctx;
    bool portable_udp; /* use recvmsg and sendmsg instead of this system's best */
};

#endif
