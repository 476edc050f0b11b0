#include "control/host/confine.h"

#include "tests/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The filter exists in builds without sanitizers only. */
#ifdef HEIMDALL_SANITIZED
static const bool filtered = false;
#else
static const bool filtered = true;
#endif

/* Runs `body` in a confined child; returns its wait status. Its log goes to `log`. */
static int confined(int (*body)(void), char *log, size_t capacity)
{
    int fds[2];
    int status = 0;
    ck_assert_int_eq(pipe(fds), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        confine_self();
        _exit(body());
    }
    close(fds[1]);
    ssize_t n = read(fds[0], log, capacity - 1);
    log[n > 0 ? n : 0] = '\0';
    close(fds[0]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static unsigned long long status_field(const char *name)
{
    char line[128];
    unsigned long long value = ~0ull;
    FILE *file = fopen("/proc/thread-self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtoull(line + strlen(name), NULL, 16);
    if (file != NULL)
        fclose(file);
    return value;
}

static bool rights_are_few(void)
{
    static const unsigned long long kept = 1ull << 12 | 1ull << 10; /* NET_ADMIN, BIND_SERVICE */
    return (status_field("CapEff:") & ~kept) == 0 && (status_field("CapPrm:") & ~kept) == 0 &&
           (status_field("CapBnd:") & ~kept) == 0 && status_field("CapAmb:") == 0 &&
           status_field("CapInh:") == 0 && status_field("NoNewPrivs:") == 1 &&
           status_field("Seccomp:") == (filtered ? 2 : 0);
}

static void *in_thread(void *out)
{
    *(bool *)out = rights_are_few();
    return NULL;
}

static int check_rights(void)
{
    bool same = false;
    pthread_t thread;
    if (!rights_are_few())
        return 1;
    if (pthread_create(&thread, NULL, in_thread, &same) != 0)
        return 2;
    pthread_join(thread, NULL);
    return same ? 0 : 3;
}

START_TEST(rights)
{
    char log[512];
    ck_assert_int_eq(geteuid(), 0);
    ck_assert_int_eq(confined(check_rights, log, sizeof log), 0);
    ck_assert_str_eq(filtered ? log : "", "");
}
END_TEST

/* A daemon's everyday calls. */
static int work(void)
{
    char path[] = "/tmp/heimdall-test-XXXXXX";
    int file = mkstemp(path);
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    int netlink = socket(AF_NETLINK, SOCK_RAW, 0);
    return file >= 0 && udp >= 0 && netlink >= 0 && fsync(file) == 0 && unlink(path) == 0 ? 0 : 1;
}

/* Calls that fail without ending the program: the code has alternatives. */
static int refused_quietly(void)
{
    char letter = 'x';
    return mount("none", "/mnt", "tmpfs", 0, NULL) == -1 && errno == EPERM &&
                   unshare(CLONE_NEWNET) == -1 && errno == EPERM && setuid(1) == -1 &&
                   errno == EPERM && chroot("/") == -1 && errno == EPERM &&
                   ioctl(0, TIOCSTI, &letter) == -1 && kill(getppid(), 0) == -1
               ? 0
               : 1;
}

START_TEST(calls)
{
    char log[512];
    ck_assert_int_eq(confined(work, log, sizeof log), 0);
    if (filtered)
        ck_assert_int_eq(confined(refused_quietly, log, sizeof log), 0);
}
END_TEST

static int exec_shell(void)
{
    execl("/bin/true", "true", NULL);
    return 1;
}

static int make_process(void)
{
    return fork() < 0 ? 1 : 2;
}

static const struct {
    int (*body)(void);
    const char *call;
} fatal[] = {{exec_shell, "call=execve"}, {make_process, "call=clone"}};

START_TEST(ended)
{
    char log[512];
    if (!filtered)
        return;
    int status = confined(fatal[_i].body, log, sizeof log);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
    ck_assert_ptr_nonnull(strstr(log, fatal[_i].call));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("confine");
    if (unit_is_root())
        tcase_add_test(tc, rights);
    tcase_add_test(tc, calls);
    tcase_add_loop_test(tc, ended, 0, ARRAY_LEN(fatal));
    return unit_run(tc);
}
