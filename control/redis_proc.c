/* The child's life: start() forks and execs, a SIGCHLD watcher reaps it, died() arms the back-off
 * timer, which starts it again. stop() turns that around: SIGTERM, a timer for SIGKILL, and when
 * the child is reaped both handles are closed and everything is freed. The configuration goes to
 * the child's standard input, so that the password is in no file and in no command line. */
#include "control/redis_proc.h"

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    BACK_OFF_FIRST_MS = 100,
    BACK_OFF_MAX_MS = 5000,
    STEADY_MS = 10000, /* up for this long, the next death is the first again */
    STOP_MS = 3000,
    LOG_MAX_BYTES = 1 << 20,
    PASSWORD_BYTES = 24,
};

#define DAEMON_USER "heimdall"
#define SOCKET_NAME "redis.sock"

struct redis_proc {
    uv_loop_t *loop;
    uv_signal_t reaper;
    uv_timer_t timer;
    unsigned open_handles;
    pid_t pid;
    char *dir;
    char *program;
    char *bind;
    uint16_t port;
    char socket[sizeof((struct sockaddr_un *)0)->sun_path];
    char password[2 * PASSWORD_BYTES + 1];
    bool drop; /* run as uid, gid */
    uid_t uid;
    gid_t gid;
    uint64_t back_off_ms;
    uint64_t started_ns;
    void *ctx;
    void (*died)(void *ctx, int status, uint64_t delay_ms);
    bool stopping;
    void (*stopped)(void *ctx);
    void *stopped_ctx;
};

/* ---- the program, the user, the folder */

static char *search_path(const char *path, const char *name)
{
    while (path != NULL && *path != '\0') {
        size_t len = strcspn(path, ":");
        char *file = NULL;
        if (len > 0 && asprintf(&file, "%.*s/%s", (int)len, path, name) < 0)
            return NULL;
        if (file != NULL && access(file, X_OK) == 0)
            return file;
        free(file);
        path += len + (path[len] == ':');
    }
    return NULL;
}

static int find_program(struct redis_proc *proc, const char *given, struct err *err)
{
    if (given != NULL && strchr(given, '/') != NULL)
        proc->program = access(given, X_OK) == 0 ? strdup(given) : NULL;
    else
        proc->program = search_path(getenv("PATH"), given == NULL ? "redis-server" : given);
    if (proc->program == NULL && given == NULL && getenv("PATH") == NULL)
        proc->program = search_path("/usr/local/bin:/usr/bin:/usr/sbin", "redis-server");
    if (proc->program == NULL)
        return err_set(err, -ENOENT,
                       "%s is not there or not executable: install the Debian package redis-server "
                       "(apt-get install redis-server)",
                       given == NULL ? "redis-server" : given);
    return 0;
}

/* What is needed to hand the data to another user, to become it, to signal it, and to go on using
 * its files: CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID. */
static bool may_change_user(void)
{
    static const uint64_t needed = 1u << 0 | 1u << 1 | 1u << 3 | 1u << 5 | 1u << 6 | 1u << 7;
    char line[128];
    unsigned long long caps = 0;
    FILE *status = fopen("/proc/self/status", "re");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, "CapEff:", 7) == 0)
            caps = strtoull(line + 7, NULL, 16);
    if (status != NULL)
        fclose(status);
    return geteuid() == 0 && (caps & needed) == needed;
}

static void choose_user(struct redis_proc *proc, const char *user)
{
    const struct passwd *entry = may_change_user() ? getpwnam(user == NULL ? "redis" : user) : NULL;
    if (entry == NULL)
        return;
    proc->drop = true;
    proc->uid = entry->pw_uid;
    proc->gid = entry->pw_gid;
}

/* Gives a folder and what is in it, two levels deep, to the child's user. Links are not followed.
 */
static int hand_over(int dir_fd, const struct redis_proc *proc, int depth)
{
    if (fchown(dir_fd, proc->uid, proc->gid) != 0)
        return -errno;
    DIR *dir = fdopendir(dup(dir_fd));
    int rc = dir == NULL ? -errno : 0;
    for (struct dirent *entry; dir != NULL && rc == 0 && (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int sub = depth == 0 ? -1
                             : openat(dir_fd, entry->d_name,
                                      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (sub >= 0) {
            rc = hand_over(sub, proc, depth - 1);
            close(sub);
        } else if (fchownat(dir_fd, entry->d_name, proc->uid, proc->gid, AT_SYMLINK_NOFOLLOW) != 0)
            rc = -errno;
    }
    if (dir != NULL)
        closedir(dir);
    return rc;
}

static int make_dir(struct redis_proc *proc, const char *data_dir, struct err *err)
{
    if (asprintf(&proc->dir, "%s/redis", data_dir) < 0) {
        proc->dir = NULL;
        return err_set(err, -ENOMEM, "out of memory");
    }
    int len = snprintf(proc->socket, sizeof proc->socket, "%s/%s", proc->dir, SOCKET_NAME);
    if (len < 0 || (size_t)len >= sizeof proc->socket)
        return err_set(err, -ENAMETOOLONG,
                       "--data-dir %s is too long for a unix socket: %zu characters at most",
                       data_dir, sizeof proc->socket - sizeof "/redis/" SOCKET_NAME);
    if (mkdir(proc->dir, 0700) != 0 && errno != EEXIST)
        return err_set_errno(err, -errno, "cannot make the folder %s", proc->dir);
    int fd = open(proc->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == EACCES) /* an earlier run had more rights, and gave it to Redis' user */
        return err_set(err, -EACCES,
                       "not permitted to use %s: give it to this user (chown -R \"$(id -u)\" %s), "
                       "or start with the rights of the run that made it",
                       proc->dir, proc->dir);
    if (fd < 0)
        return err_set_errno(err, -errno, "cannot open the folder %s", proc->dir);
    int rc = fchmod(fd, 0700) == 0 ? 0 : -errno;
    if (rc == 0 && proc->drop)
        rc = hand_over(fd, proc, 1);
    close(fd);
    return rc == 0 ? 0 : err_set_errno(err, rc, "cannot set the owner of %s", proc->dir);
}

/* ---- the child */

/* The settings that data need to survive. Nobody can log in as the default user, but it keeps its
 * rights: the append-only file is replayed in its name, and without them every transaction in it,
 * which is every change of ours, would be dropped at a restart. */
static void write_config(const struct redis_proc *proc, struct buffer *out)
{
    buffer_append_string(out, "daemonize no\n"
                              "supervised no\n"
                              "dir .\n"
                              "unixsocket " SOCKET_NAME "\n"
                              "unixsocketperm 600\n"
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
                              "replicaof 127.0.0.1 1\n"
                              "user default off resetpass ~* &* +@all\n");
    if (proc->bind == NULL)
        buffer_append_string(out, "port 0\n");
    else /* "-": starts also while the tunnel's address is not there yet */
        buffer_printf(out, "port %u\nbind -%s\n", (unsigned)proc->port, proc->bind);
    buffer_printf(out, "user " DAEMON_USER " on >%s ~* &* +@all\n", proc->password);
}

/* Kept small: the last two runs' worth. */
static int open_log(const struct redis_proc *proc)
{
    char path[PATH_MAX];
    char old[PATH_MAX];
    struct stat info;
    snprintf(path, sizeof path, "%s/redis.log", proc->dir);
    snprintf(old, sizeof old, "%s/redis.log.1", proc->dir);
    if (stat(path, &info) == 0 && info.st_size > LOG_MAX_BYTES)
        rename(path, old);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 ? -errno : fd;
}

/* In the child, between fork and exec: async-signal-safe calls only. Returns errno. */
static int become_redis(const struct redis_proc *proc, pid_t parent, int in, int log)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    umask(077);
    if (dup2(in, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0 || chdir(proc->dir) != 0)
        return errno;
    setpgid(0, 0); /* a terminal's Ctrl-C is for the daemon, which then stops us in order */
    if (proc->drop && (setgroups(0, NULL) != 0 || setgid(proc->gid) != 0 || setuid(proc->uid) != 0))
        return errno;
    /* After setuid, which clears it. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return errno;
    if (getppid() != parent)
        return ESRCH;
    char *const argv[] = {proc->program, "-", NULL};
    char *const env[] = {"LC_ALL=C", "PATH=/usr/bin:/bin", NULL};
    execve(proc->program, argv, env);
    return errno;
}

/* Forks; the child's failure to become redis-server comes back through a pipe that exec closes. */
static int spawn(struct redis_proc *proc, int in, int log)
{
    int report[2];
    int child_errno = 0;
    if (pipe2(report, O_CLOEXEC) != 0)
        return -errno;
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        child_errno = become_redis(proc, parent, in, log);
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
        proc->pid = pid;
    return rc;
}

static int start(struct redis_proc *proc)
{
    struct buffer config;
    int in[2] = {-1, -1};
    int log = -1;
    int rc = 0;
    buffer_init(&config);
    write_config(proc, &config);
    if (buffer_failed(&config))
        rc = -ENOMEM;
    if (rc == 0 && pipe2(in, O_CLOEXEC) != 0)
        rc = -errno;
    if (rc == 0 && (log = open_log(proc)) < 0)
        rc = log;
    if (rc == 0 && proc->drop && fchown(log, proc->uid, proc->gid) != 0)
        rc = -errno;
    unlink(proc->socket); /* left by a killed one */
    /* A pipe holds 64 KiB: the configuration fits before anyone reads. */
    if (rc == 0 &&
        write(in[1], buffer_data(&config), buffer_len(&config)) != (ssize_t)buffer_len(&config))
        rc = -EIO;
    if (rc == 0)
        rc = spawn(proc, in[0], log);
    if (rc == 0)
        proc->started_ns = clock_boottime_ns();
    for (int i = 0; i < 2; i++)
        if (in[i] >= 0)
            close(in[i]);
    if (log >= 0)
        close(log);
    bytes_wipe(config.bytes, config.end);
    buffer_fini(&config);
    return rc;
}

/* ---- death and back-off */

static void on_restart(uv_timer_t *timer);

static void plan_restart(struct redis_proc *proc, int status)
{
    uint64_t up_ms = (clock_boottime_ns() - proc->started_ns) / NS_PER_MS;
    uint64_t delay =
        up_ms >= STEADY_MS || proc->back_off_ms == 0 ? BACK_OFF_FIRST_MS : proc->back_off_ms * 2;
    proc->back_off_ms = delay < BACK_OFF_MAX_MS ? delay : BACK_OFF_MAX_MS;
    uv_timer_start(&proc->timer, on_restart, proc->back_off_ms, 0);
    log_warn("redis-server died, it is started again",
             F_INT(WIFSIGNALED(status) ? "signal" : "status",
                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)),
             F_INT("delay_ms", proc->back_off_ms), F_STR("log", proc->dir));
    if (proc->died != NULL)
        proc->died(proc->ctx, status, proc->back_off_ms);
}

static void on_restart(uv_timer_t *timer)
{
    struct redis_proc *proc = timer->data;
    int rc = start(proc);
    if (rc == 0)
        return;
    log_error("cannot start redis-server", F_STR("error", strerror(-rc)));
    proc->started_ns = clock_boottime_ns();
    plan_restart(proc, 127 << 8);
}

static void free_proc(struct redis_proc *proc)
{
    if (proc == NULL)
        return;
    free(proc->dir);
    free(proc->program);
    free(proc->bind);
    bytes_wipe(proc, sizeof *proc);
    free(proc);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct redis_proc *proc = handle->data;
    if (--proc->open_handles > 0)
        return;
    void (*stopped)(void *ctx) = proc->stopped;
    void *ctx = proc->stopped_ctx;
    free_proc(proc);
    if (stopped != NULL)
        stopped(ctx);
}

static void close_handles(struct redis_proc *proc)
{
    unlink(proc->socket);
    uv_close((uv_handle_t *)&proc->reaper, on_handle_closed);
    uv_close((uv_handle_t *)&proc->timer, on_handle_closed);
}

static void on_child(uv_signal_t *reaper, int number)
{
    struct redis_proc *proc = reaper->data;
    int status;
    (void)number;
    if (proc->pid == 0 || waitpid(proc->pid, &status, WNOHANG) != proc->pid)
        return;
    proc->pid = 0;
    if (proc->stopping)
        close_handles(proc);
    else
        plan_restart(proc, status);
}

static void on_stop_timeout(uv_timer_t *timer)
{
    redis_proc_kill(timer->data);
}

/* ---- the public side */

static int make_password(struct redis_proc *proc)
{
    uint8_t random[PASSWORD_BYTES];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return -EIO;
    bytes_to_hex(proc->password, random, sizeof random);
    bytes_wipe(random, sizeof random);
    return 0;
}

static int prepare(struct redis_proc *proc, const struct redis_proc_options *options,
                   struct err *err)
{
    int rc = find_program(proc, options->program, err);
    if (rc != 0)
        return rc;
    proc->port = options->port;
    proc->ctx = options->ctx;
    proc->died = options->died;
    proc->bind = options->bind == NULL ? NULL : strdup(options->bind);
    if (options->bind != NULL && proc->bind == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    if (make_password(proc) != 0)
        return err_set(err, -EIO, "no random bytes for the password of redis-server");
    choose_user(proc, options->user);
    return make_dir(proc, options->data_dir, err);
}

int redis_proc_start(struct redis_proc **out, uv_loop_t *loop,
                     const struct redis_proc_options *options, struct err *err)
{
    struct redis_proc *proc = calloc(1, sizeof *proc);
    if (proc == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    int rc = prepare(proc, options, err);
    if (rc == 0 && (rc = start(proc)) != 0)
        err_set_errno(err, rc, "cannot start %s", proc->program);
    if (rc != 0) {
        free_proc(proc);
        return rc;
    }
    proc->loop = loop;
    uv_signal_init(loop, &proc->reaper);
    uv_timer_init(loop, &proc->timer);
    proc->open_handles = 2;
    proc->reaper.data = proc;
    proc->timer.data = proc;
    uv_signal_start(&proc->reaper, on_child, SIGCHLD);
    on_child(&proc->reaper, SIGCHLD); /* it may have died before anybody watched */
    *out = proc;
    return 0;
}

const char *redis_proc_socket(const struct redis_proc *proc)
{
    return proc->socket;
}

const char *redis_proc_user(const struct redis_proc *proc)
{
    (void)proc;
    return DAEMON_USER;
}

const char *redis_proc_password(const struct redis_proc *proc)
{
    return proc->password;
}

pid_t redis_proc_pid(const struct redis_proc *proc)
{
    return proc->pid;
}

void redis_proc_kill(struct redis_proc *proc)
{
    if (proc->pid != 0)
        kill(proc->pid, SIGKILL);
}

void redis_proc_stop(struct redis_proc *proc, void (*stopped)(void *ctx), void *ctx)
{
    proc->stopping = true;
    proc->stopped = stopped;
    proc->stopped_ctx = ctx;
    uv_timer_stop(&proc->timer);
    if (proc->pid == 0) {
        close_handles(proc);
        return;
    }
    kill(proc->pid, SIGTERM);
    uv_timer_start(&proc->timer, on_stop_timeout, STOP_MS, 0);
}
