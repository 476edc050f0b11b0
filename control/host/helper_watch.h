#ifndef CONTROL_HOST_HELPER_WATCH_H
#define CONTROL_HOST_HELPER_WATCH_H

#include <uv.h>

struct helper;

/* Reports the end of a helper that nobody asked to end: without it a daemon that gave up its rights
 * can change nothing of the host any more. */
struct helper_watch {
    uv_poll_t poll;
    int fd; /* a process descriptor; 0: not watched */
    void *ctx;
    void (*ended)(void *ctx);
};

/* Calls `ended` once, on the loop's thread. Before rights are given up; `watch` is zeroed. A kernel
 * before 5.3 has no process descriptors: then nothing is watched. */
void helper_watch_open(struct helper_watch *watch, uv_loop_t *loop, const struct helper *helper,
                       void (*ended)(void *ctx), void *ctx);

/* The loop must run once more. Takes one that was never opened. */
void helper_watch_close(struct helper_watch *watch);

#endif
