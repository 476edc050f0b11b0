/* One loop over two descriptors: the daemon's words, and the deaths of children. The configuration
 * goes to redis-server's standard input, so that the password is in no file and on no command line.
 * Redis dies with the keeper, and the keeper with the daemon. */
#include "control/cluster/redis_keeper.h"

#include "base/buffer.h"
#include "base/bytes.h"
#include "control/cluster/redis_files.h"
#include "control/cluster/redis_launch.h"
#include "control/host/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LOG_MAX_BYTES = 1 << 20,
    REAP_MS = 1000, /* for a Redis that was killed; its disk may hang */
};

struct keeper {
    const struct redis_launch *launch;
    int fd;
    pid_t pid; /* 0: not running */
    uint64_t healed;
};

/* ---- the child */

/* The settings that data need to survive. Nobody can log in as the default user, but it keeps its
 * rights: Redis replays the append-only file in its name, and without them a restart would drop
 * every transaction in it, which is every change of the store. */
static void write_config(const struct redis_launch *launch, struct buffer *out)
{
    buffer_append_string(out, "daemonize no\n"
                              "supervised no\n"
                              "dir .\n"
                              "unixsocket " REDIS_SOCKET_NAME "\n"
                              "unixsocketperm 660\n"
                              "appendonly yes\n"
                              "appendfsync always\n"
                              "no-appendfsync-on-rewrite no\n"
                              "auto-aof-rewrite-percentage 0\n"
                              "save \"\"\n"
                              "repl-diskless-load disabled\n"
                              "repl-backlog-size 16mb\n"
                              "repl-backlog-ttl 0\n"
                              "repl-timeout 5\n"
                              "repl-ping-replica-period 1\n"
                              "replica-serve-stale-data yes\n"
                              "replica-read-only yes\n"
                              "io-threads 1\n"
                              "maxclients 64\n"
                              "maxmemory-policy noeviction\n"
                              "shutdown-timeout 1\n"
                              "replicaof " REDIS_PARKED "\n"
                              "user default off resetpass ~* &* +@all\n");
    if (launch->bind == NULL)
        buffer_append_string(out, "port 0\n");
    else /* "-": starts also while the tunnel's address is not there yet */
        buffer_printf(out, "port %u\nbind -%s\n", (unsigned)launch->port, launch->bind);
    buffer_printf(out, "user " REDIS_KEEPER_USER " on >%s ~* &* +@all\n", launch->password);
}

/* At most two files of about LOG_MAX_BYTES. */
static int open_log(const struct redis_launch *launch)
{
    char path[PATH_MAX];
    char old[PATH_MAX];
    struct stat info;
    snprintf(path, sizeof path, "%s/redis.log", launch->dir);
    snprintf(old, sizeof old, "%s/redis.log.1", launch->dir);
    if (stat(path, &info) == 0 && info.st_size > LOG_MAX_BYTES)
        rename(path, old);
    /* Anything else by that name could hold up whoever opens it or writes to it. */
    if (lstat(path, &info) == 0 && !S_ISREG(info.st_mode) && unlink(path) < 0)
        return -errno;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    return fd < 0 ? -errno : fd;
}

/* Avoids the C library's setuid, which first asks all threads that it knows of: a sanitizer's are
 * among them, and they do not exist in this process. */
static long become_user(const struct redis_launch *launch)
{
    long rc = syscall(SYS_setgroups, 0, NULL);
    rc = rc != 0 ? rc : syscall(SYS_setgid, launch->gid);
    return rc != 0 ? rc : syscall(SYS_setuid, launch->uid);
}

/* In the child, between fork and exec: async-signal-safe calls only. Returns errno. */
static int become_redis(const struct redis_launch *launch, pid_t parent, int in, int log)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int number = 1; number < SIGSYS; number++)
        (void)signal(number, SIG_DFL);
    umask(077);
    if (dup2(in, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0 || chdir(launch->dir) != 0)
        return errno;
    setpgid(0, 0); /* a terminal's Ctrl-C is for the daemon, which then stops Redis in order */
    if (launch->drop && become_user(launch) != 0)
        return errno;
    /* After setuid, which clears it. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return errno;
    if (getppid() != parent)
        return ESRCH;
    char *const argv[] = {launch->program, "-", NULL};
    char *const env[] = {"LC_ALL=C", "PATH=/usr/bin:/bin", NULL};
    execve(launch->program, argv, env);
    return errno;
}

/* Forks; the child's failure to become redis-server comes back through a pipe that exec closes. */
static int spawn(struct keeper *keeper, int in, int log)
{
    int report[2];
    int child_errno = 0;
    if (pipe2(report, O_CLOEXEC) != 0)
        return -errno;
    pid_t parent = getpid();
    pid_t pid = _Fork(); /* fork() would run libuv's handler, which closes reused descriptors */
    if (pid == 0) {
        child_errno = become_redis(keeper->launch, parent, in, log);
        (void)!write(report[1], &child_errno, sizeof child_errno);
        _exit(127);
    }
    int rc = pid < 0 ? -errno : 0;
    close(report[1]);
    if (rc == 0 && read(report[0], &child_errno, sizeof child_errno) == sizeof child_errno) {
        waitpid(pid, NULL, 0);
        rc = child_errno == 0 ? -EIO : -child_errno;
    }
    close(report[0]);
    if (rc == 0)
        keeper->pid = pid;
    return rc;
}

static int start(struct keeper *keeper)
{
    const struct redis_launch *launch = keeper->launch;
    struct buffer config;
    int in[2] = {-1, -1};
    int log = -1;
    int rc = 0;
    buffer_init(&config);
    write_config(launch, &config);
    if (buffer_failed(&config))
        rc = -ENOMEM;
    if (rc == 0)
        rc = redis_files_check(launch->dir, launch->must_have_data);
    if (rc == 0)
        rc = redis_files_heal(launch->dir, &keeper->healed);
    if (rc == 0 && pipe2(in, O_CLOEXEC) != 0)
        rc = -errno;
    if (rc == 0 && (log = open_log(launch)) < 0)
        rc = log;
    if (rc == 0 && launch->drop && fchown(log, launch->uid, launch->gid) != 0)
        rc = -errno;
    unlink(launch->socket); /* left by a Redis that was killed */
    /* A pipe holds 64 KiB: the configuration fits before anyone reads. */
    if (rc == 0 &&
        write(in[1], buffer_data(&config), buffer_len(&config)) != (ssize_t)buffer_len(&config))
        rc = -EIO;
    if (rc == 0)
        rc = spawn(keeper, in[0], log);
    for (int i = 0; i < 2; i++)
        if (in[i] >= 0)
            close(in[i]);
    if (log >= 0)
        close(log);
    bytes_wipe(config.bytes, config.end);
    buffer_fini(&config);
    return rc;
}

/* ---- the loop */

static void report(const struct keeper *keeper, enum redis_keeper_news news, int value)
{
    struct redis_keeper_report packet = {
        .news = (int32_t)news, .value = value, .healed = keeper->healed};
    (void)!send(keeper->fd, &packet, sizeof packet,
                MSG_NOSIGNAL); /* the loop sees a closed socket */
}

static void on_start(struct keeper *keeper)
{
    int rc = keeper->pid != 0 ? -EALREADY : start(keeper);
    if (rc == 0)
        report(keeper, REDIS_KEEPER_STARTED, keeper->pid);
    else
        report(keeper, REDIS_KEEPER_FAILED, -rc);
}

/* False when the daemon is gone. */
static bool on_word(struct keeper *keeper)
{
    uint8_t word[2];
    ssize_t n = recv(keeper->fd, word, sizeof word, 0);
    if (n < 0)
        return errno == EINTR;
    if (n == 0)
        return false;
    if (n != 1)
        return true;
    if (word[0] == REDIS_KEEPER_START)
        on_start(keeper);
    else if (word[0] == REDIS_KEEPER_TERM && keeper->pid != 0)
        kill(keeper->pid, SIGTERM);
    else if (word[0] == REDIS_KEEPER_KILL && keeper->pid != 0)
        kill(keeper->pid, SIGKILL);
    return true;
}

static void on_death(struct keeper *keeper)
{
    int status;
    if (keeper->pid == 0 || waitpid(keeper->pid, &status, WNOHANG) != keeper->pid)
        return;
    keeper->pid = 0;
    report(keeper, REDIS_KEEPER_DIED, status);
}

static void keeper_run(struct keeper *keeper, int deaths)
{
    struct signalfd_siginfo info;
    struct pollfd fds[2] = {{.fd = keeper->fd, .events = POLLIN}, {.fd = deaths, .events = POLLIN}};
    for (;;) {
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[1].revents != 0) {
            (void)!read(deaths, &info, sizeof info);
            on_death(keeper);
        }
        if (fds[0].revents != 0 && !on_word(keeper))
            return;
    }
}

static void serve(int fd, const void *ctx)
{
    struct keeper keeper = {.launch = ctx, .fd = fd};
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &child, NULL) < 0)
        return;
    int deaths = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    if (deaths < 0)
        return;
    keeper_run(&keeper, deaths);
    if (keeper.pid != 0) {
        kill(keeper.pid, SIGKILL);
        (void)helper_reap(keeper.pid, REAP_MS);
    }
    unlink(keeper.launch->socket);
}

int redis_keeper_start(struct helper *helper, const struct redis_launch *launch)
{
    struct helper_options options = {
        .name = "heimdall-redis",
        .rights = launch->drop ? REDIS_LAUNCH_RIGHTS : 0,
        .serve = serve,
        .ctx = launch,
    };
    return helper_start(helper, &options);
}
