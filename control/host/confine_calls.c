#include "control/host/confine_calls.h"

#include "base/log.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Names, because the numbers and the set differ between architectures. */
static const char *const allowed[] = {
    /* descriptors */
    "read", "readv", "write", "writev", "pread64", "pwrite64", "preadv", "pwritev", "close",
    "close_range", "dup", "dup2", "dup3", "pipe", "pipe2", "eventfd2", "fcntl", "lseek", "sendfile",
    "poll", "ppoll", "select", "pselect6", "epoll_create1", "epoll_ctl", "epoll_wait",
    "epoll_pwait", "epoll_pwait2", "inotify_init1", "inotify_add_watch", "inotify_rm_watch",
    "signalfd4", "timerfd_create", "timerfd_settime", "timerfd_gettime", "memfd_create",
    /* sockets */
    "socket", "socketpair", "bind", "listen", "accept", "accept4", "connect", "getsockname",
    "getpeername", "getsockopt", "setsockopt", "sendto", "sendmsg", "sendmmsg", "recvfrom",
    "recvmsg", "recvmmsg", "shutdown",
    /* files */
    "open", "openat", "access", "faccessat", "faccessat2", "stat", "lstat", "fstat", "newfstatat",
    "statx", "statfs", "fstatfs", "readlink", "readlinkat", "getdents64", "getcwd", "ftruncate",
    "fallocate", "fadvise64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "unlink",
    "unlinkat", "mkdir", "mkdirat", "rmdir", "chmod", "fchmod", "fchmodat", "fchown", "umask",
    "flock",
    /* memory */
    "brk", "mmap", "mprotect", "munmap", "mremap", "madvise", "mlock", "mlock2", "munlock",
    /* threads, time and signals */
    "futex", "futex_waitv", "set_robust_list", "get_robust_list", "set_tid_address", "rseq",
    "membarrier", "sched_yield", "sched_getaffinity", "sched_setaffinity", "sched_getparam",
    "sched_getscheduler", "getcpu", "arch_prctl", "clock_gettime", "clock_getres",
    "clock_nanosleep", "nanosleep", "gettimeofday", "time", "getitimer", "setitimer",
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait",
    "rt_sigsuspend", "sigaltstack", "restart_syscall", "pause", "exit", "exit_group", "wait4",
    "waitid",
    /* queries about this process and the host */
    "getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getresuid",
    "getresgid", "getgroups", "capget", "prctl", "getrlimit", "prlimit64", "getrusage", "times",
    "uname", "sysinfo", "getrandom"};

/* The C library's substitutes for some of them on 32-bit machines. */
static const char *const allowed32[] = {"mmap2",
                                        "_llseek",
                                        "stat64",
                                        "lstat64",
                                        "fstat64",
                                        "fstatat64",
                                        "statfs64",
                                        "fstatfs64",
                                        "fcntl64",
                                        "ftruncate64",
                                        "fadvise64_64",
                                        "arm_fadvise64_64",
                                        "fchown32",
                                        "_newselect",
                                        "send",
                                        "recv",
                                        "sigreturn",
                                        "getuid32",
                                        "geteuid32",
                                        "getgid32",
                                        "getegid32",
                                        "getresuid32",
                                        "getresgid32",
                                        "getgroups32",
                                        "ugetrlimit",
                                        "set_tls",
                                        "cacheflush",
                                        "set_thread_area",
                                        "clock_gettime64",
                                        "clock_getres_time64",
                                        "clock_nanosleep_time64",
                                        "futex_time64",
                                        "ppoll_time64",
                                        "pselect6_time64",
                                        "recvmmsg_time64",
                                        "timerfd_settime64",
                                        "timerfd_gettime64",
                                        "rt_sigtimedwait_time64"};

static const char *const fatal[] = {"execve",
                                    "execveat",
                                    "fork",
                                    "vfork",
                                    "ptrace",
                                    "process_vm_readv",
                                    "process_vm_writev",
                                    "bpf",
                                    "init_module",
                                    "finit_module",
                                    "delete_module",
                                    "kexec_load",
                                    "kexec_file_load",
                                    "open_by_handle_at",
                                    "pivot_root",
                                    "userfaultfd"};

/* The signal is synchronous: the thread is right behind the refused call. */
static void on_refused(int number, siginfo_t *info, void *context)
{
    (void)context;
    char *name = seccomp_syscall_resolve_num_arch(info->si_arch, info->si_syscall);
    log_error("refused a system call that this program never makes, ending",
              F_STR("call", name != NULL ? name : "?"), F_INT("number", info->si_syscall));
    (void)signal(number, SIG_DFL);
    (void)raise(number); /* delivered on return */
}

static int add_names(scmp_filter_ctx filter, uint32_t action, const char *const *names,
                     size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        if (number < 0) /* not on this architecture, or unknown to this library */
            continue;
        int rc = seccomp_rule_add(filter, action, number, 0);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Rules that depend on an argument allow threads but no processes, signals to this process alone,
 * and no input into a terminal. clone3 keeps its flags in memory, where a filter cannot look:
 * ENOSYS makes the C library fall back to clone. */
static int add_conditions(scmp_filter_ctx filter)
{
    int rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_TRAP, SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                              SCMP_A1_32(SCMP_CMP_NE, TIOCSTI, 0));
    return rc;
}

static int install(scmp_filter_ctx filter)
{
    int rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0); /* is set, or may not be */
    if (rc == 0)
        rc = add_names(filter, SCMP_ACT_ALLOW, allowed, sizeof allowed / sizeof allowed[0]);
    if (rc == 0)
        rc = add_names(filter, SCMP_ACT_ALLOW, allowed32, sizeof allowed32 / sizeof allowed32[0]);
    if (rc == 0)
        rc = add_names(filter, SCMP_ACT_TRAP, fatal, sizeof fatal / sizeof fatal[0]);
    if (rc == 0)
        rc = add_conditions(filter);
    return rc == 0 ? seccomp_load(filter) : rc;
}

int confine_calls(void)
{
    struct sigaction action = {.sa_sigaction = on_refused, .sa_flags = SA_SIGINFO};
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (filter == NULL)
        return -ENOMEM;
    (void)sigaction(SIGSYS, &action, NULL);
    int rc = install(filter);
    seccomp_release(filter);
    return rc;
}
