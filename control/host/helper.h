#ifndef CONTROL_HOST_HELPER_H
#define CONTROL_HOST_HELPER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A process of our own that does one thing for us with rights that we give up ourselves. It is
 * forked before there are threads, keeps nothing open but one end of a socket pair and standard
 * error, and ends when the other end closes. Each message is one packet of a fixed form. */

struct helper {
    int fd;    /* our end, SOCK_SEQPACKET; -1: there is none */
    pid_t pid; /* 0: there is none */
};

struct helper_options {
    const char *name; /* what `ps` shows, 15 characters at most */
    uint64_t rights;  /* bits 1 << CAP_X: what it keeps of what we have */
    /* Also those whom it starts have them, whatever their user. */
    bool passes_on;
    /* The helper's whole life; it ends on return. `ctx` is its own copy. */
    void (*serve)(int fd, const void *ctx);
    const void *ctx;
};

/* On the main thread (the helper dies with the thread that made it). */
int helper_start(struct helper *out, const struct helper_options *options);

/* Closes our end and waits until it has ended. Takes one that never started. */
void helper_end(struct helper *helper);

#endif
