#ifndef CONTROL_HOST_HELPER_H
#define CONTROL_HOST_HELPER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A helper process does one task with rights that the daemon gives up. It is forked before there
 * are threads, keeps nothing open but one end of a socket pair and standard error, and ends when
 * the other end closes. Each message is one packet of a fixed form. */

struct helper {
    int fd;    /* the daemon's end, SOCK_SEQPACKET; -1: no helper */
    pid_t pid; /* 0: no helper */
};

struct helper_options {
    const char *name; /* what `ps` shows, 15 characters at most */
    uint64_t rights;  /* bits 1 << CAP_X: what it keeps of the daemon's */
    /* Programs that it starts have these rights too, whatever their user. */
    bool passes_on;
    /* Lives on when the daemon dies, until it ends by itself, and does not look like the daemon in a
     * list of processes. Its `ctx` holds no pointer to the command line. */
    bool outlives;
    /* The whole life of the helper, which ends on return. `ctx` is its own copy. */
    void (*serve)(int fd, const void *ctx);
    const void *ctx;
};

/* Call on the main thread: the helper dies with the thread that started it. 0 or a negative errno.
 */
int helper_start(struct helper *out, const struct helper_options *options);

/* Closes the daemon's end and waits until the helper has ended, which is killed after 5 s. Takes one
 * that never started. */
void helper_end(struct helper *helper);

/* Waits until this child has ended, for `ms` at most: waitpid has no time limit, and a process may
 * hang in the kernel also after SIGKILL. False when it has not ended. */
bool helper_reap(pid_t pid, int ms);

#endif
