#ifndef TESTS_TUN_NETNS_H
#define TESTS_TUN_NETNS_H

#include "tests/unit.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Tests of this folder run as root, each in a network namespace of its own, which goes away with
 * the process that Check forks for it. */
static inline void netns_enter(void)
{
    ck_assert_msg(unshare(CLONE_NEWNET) == 0, "these tests need root (CAP_SYS_ADMIN)");
    ck_assert_int_eq(system("ip link set lo up"), 0);
}

/* Clears the effective capabilities, until they are taken back (the leak checker needs them too).
 */
static inline void drop_rights(void)
{
    ck_assert_int_eq(seteuid(65534), 0);
}

static inline void regain_rights(void)
{
    ck_assert_int_eq(seteuid(0), 0);
    prctl(PR_SET_DUMPABLE, 1);
}

__attribute__((format(printf, 1, 2))) static inline void run(const char *format, ...)
{
    char command[512];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    ck_assert_msg(system(command) == 0, "failed: %s", command);
}

/* The first `size` - 1 bytes of what the command prints. */
__attribute__((format(printf, 3, 4))) static inline void run_out(char *out, size_t size,
                                                                 const char *format, ...)
{
    char command[512];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    size_t len = fread(out, 1, size - 1, pipe);
    out[len] = '\0';
    ck_assert_msg(pclose(pipe) == 0, "failed: %s", command);
}

#endif
