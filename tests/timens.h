#ifndef TESTS_TIMENS_H
#define TESTS_TIMENS_H

#include "tests/unit.h"

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

/* Calls `check` in a process whose host has slept for 100,000 s, as its clocks tell: a time
 * namespace of its own, for which one must be root. True when `check` is. */
static inline bool timens_run(bool (*check)(void))
{
    static const char offset[] = "boottime 100000 0\n";
    int status = -1;
    pid_t outer = fork(); /* so that only it makes the namespace; its children are in it */
    if (outer == 0) {
        int fd = unshare(CLONE_NEWTIME) == 0 ? open("/proc/self/timens_offsets", O_WRONLY) : -1;
        if (fd < 0 || write(fd, offset, strlen(offset)) != (ssize_t)strlen(offset))
            _exit(2);
        close(fd);
        pid_t inner = fork();
        if (inner == 0)
            _exit(check() ? 0 : 1);
        waitpid(inner, &status, 0);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 3);
    }
    waitpid(outer, &status, 0);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) != 2, "no time namespace");
    return WEXITSTATUS(status) == 0;
}

#endif
