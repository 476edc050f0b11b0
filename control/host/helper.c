#include "control/host/helper.h"

#include "control/host/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    END_MS = 5000,    /* for a helper to finish */
    KILLED_MS = 1000, /* and to go once it is killed */
};

enum { SOCKET_FD = STDERR_FILENO + 1 };

/* A terminal's signals are for the daemon, which then ends its helpers in order. */
static void settle_signals(void)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    sigset_t none;
    sigemptyset(&none);
    (void)signal(SIGCHLD, SIG_DFL);
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        (void)signal(ignored[i], SIG_IGN);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Puts a name without the daemon's where `ps` reads its arguments, so that a signal for all
 * processes of that name (pkill -f) does not end the helper. Nothing may point to the arguments. */
static void hide_arguments(const char *name)
{
    unsigned long start = 0;
    unsigned long end = 0;
    char text[1024];
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (len <= 0)
        return;
    text[len] = '\0';
    const char *at = strrchr(text, ')'); /* the end of field 2; 48 and 49 are wanted */
    for (int field = 2; at != NULL && field < 48; field++)
        at = strchr(at + 1, ' ');
    if (at == NULL || sscanf(at, "%lu %lu", &start, &end) != 2 || start == 0 || end <= start)
        return;
    char *arguments = (char *)(uintptr_t)start;
    memset(arguments, 0, end - start);
    memcpy(arguments, name, strnlen(name, end - start - 1));
}

static _Noreturn void live(const struct helper_options *options, int fd, pid_t parent)
{
    settle_signals();
    (void)prctl(PR_SET_NAME, options->name);
    if (options->outlives)
        hide_arguments("resolver-keeper");
    else
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || (fd != SOCKET_FD && dup2(fd, SOCKET_FD) < 0))
        _exit(1);
    (void)close_range(SOCKET_FD + 1, ~0u, 0);
    (void)confine_rights(options->rights, options->passes_on);
    options->serve(SOCKET_FD, options->ctx);
    _exit(0);
}

int helper_start(struct helper *out, const struct helper_options *options)
{
    int fds[2];
    *out = (struct helper){.fd = -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    pid_t parent = getpid();
    pid_t pid = fork();
    int rc = pid < 0 ? -errno : 0;
    if (pid == 0)
        live(options, fds[1], parent);
    close(fds[1]);
    if (rc < 0) {
        close(fds[0]);
        return rc;
    }
    *out = (struct helper){.fd = fds[0], .pid = pid};
    return 0;
}

bool helper_reap(pid_t pid, int ms)
{
    enum { STEP_MS = 5 };
    const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
    for (int waited = 0; waited <= ms; waited += STEP_MS) {
        pid_t ended = waitpid(pid, NULL, WNOHANG);
        if (ended == pid || (ended < 0 && errno != EINTR))
            return true;
        (void)nanosleep(&step, NULL);
    }
    return false;
}

void helper_end(struct helper *helper)
{
    if (helper->pid == 0)
        return;
    close(helper->fd);
    if (!helper_reap(helper->pid, END_MS)) {
        (void)kill(helper->pid, SIGKILL);
        (void)helper_reap(helper->pid, KILLED_MS);
    }
    *helper = (struct helper){.fd = -1};
}
