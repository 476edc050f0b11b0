/* tool_run -> a file in memory for the input, another for the errors -> run_here, or, once there
 * is a helper, a request: "path NUL argv... NUL" with three descriptors beside it, both files and
 * the pipe on which the caller waits for the exit status. The helper checks the request against
 * its table, starts the tool, and goes on to the next request while the tool runs: callers on
 * several threads wait for nobody's tool but their own. */
#include "control/host/tool.h"

#include "base/clock.h"
#include "control/host/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    WAIT_MS = 5000,
    WAIT_STEP_MS = 2,
    GRACE_MS = 1000, /* for the helper's own answer, before it counts as hung */
    ARGS_MAX = 8,
    REQUEST_MAX = 1024,
    RUNNING_MAX = 16, /* tools at one time */
    FDS = 3,
};

/* A program, and what its first argument may be. */
struct tool {
    const char *path;
    const char *name;
    const char *verbs[6];
};

static const struct tool tools[] = {
    {"nft", "nft", {"-j"}},
    {"/usr/bin/resolvectl",
     "resolvectl",
     {"dns", "domain", "default-route", "dnssec", "dnsovertls", "revert"}},
    {"/sbin/resolvconf", "resolvconf", {"-a", "-d"}},
};

static struct helper helper = {.fd = -1};

/* ---- running one */

/* The tool gets descriptors, signals and an environment of its own. */
static int spawn(pid_t *pid, const char *path, char *const argv[], int in_fd, int err_fd)
{
    static char *const env[] = {"PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin",
                                "LC_ALL=C", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    if (posix_spawn_file_actions_init(&actions) != 0)
        return -ENOMEM;
    if (posix_spawnattr_init(&attr) != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return -ENOMEM;
    }
    int rc = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    rc = rc != 0 ? rc : posix_spawn_file_actions_adddup2(&actions, in_fd, STDIN_FILENO);
    rc = rc != 0
             ? rc
             : posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    rc = rc != 0 ? rc : posix_spawn_file_actions_adddup2(&actions, err_fd, STDERR_FILENO);
    rc = rc != 0 ? rc : posix_spawnp(pid, path, &actions, &attr, argv, env);
    if (rc == ENOENT && strcmp(path, "nft") == 0) /* a user's PATH may lack the folder */
        rc = posix_spawn(pid, "/usr/sbin/nft", &actions, &attr, argv, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    return -rc;
}

static int status_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}

/* A tool that hangs in the kernel is left behind. */
static void kill_and_reap(pid_t pid)
{
    kill(pid, SIGKILL);
    (void)helper_reap(pid, GRACE_MS);
}

/* Waits for this child alone: others may be the loop's. */
static int wait_for(pid_t pid)
{
    struct timespec step = {.tv_nsec = WAIT_STEP_MS * 1000000L};
    int status;
    for (int waited = 0; waited < WAIT_MS; waited += WAIT_STEP_MS) {
        pid_t ended = waitpid(pid, &status, WNOHANG);
        if (ended == pid)
            return status_of(status);
        if (ended < 0 && errno != EINTR)
            return -errno;
        nanosleep(&step, NULL);
    }
    kill_and_reap(pid);
    return -ETIMEDOUT;
}

static int run_here(const char *path, char *const argv[], int in_fd, int err_fd)
{
    pid_t pid = -1;
    int rc = spawn(&pid, path, argv, in_fd, err_fd);
    return rc == 0 ? wait_for(pid) : rc;
}

/* ---- the helper's side */

/* Room for one message with its descriptors. */
union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(FDS * sizeof(int))];
};

static bool verb_known(const struct tool *tool, const char *verb)
{
    for (size_t i = 0; i < sizeof tool->verbs / sizeof tool->verbs[0]; i++)
        if (tool->verbs[i] != NULL && strcmp(tool->verbs[i], verb) == 0)
            return true;
    return false;
}

/* Names, numbers and addresses; an option only as the verb, or as nft's own. */
static bool argument_valid(const struct tool *tool, const char *arg)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "_-.:~%@=+,";
    if (tool == &tools[0])
        return strcmp(arg, "-f") == 0 || strcmp(arg, "-") == 0;
    return arg[0] != '\0' && arg[0] != '-' && arg[strspn(arg, letters)] == '\0';
}

static bool request_valid(const char *path, char *const argv[], size_t count)
{
    const struct tool *tool = NULL;
    for (size_t i = 0; i < sizeof tools / sizeof tools[0]; i++)
        if (strcmp(tools[i].path, path) == 0)
            tool = &tools[i];
    if (tool == NULL || count < 2 || strcmp(argv[0], tool->name) != 0 || !verb_known(tool, argv[1]))
        return false;
    for (size_t i = 2; i < count; i++)
        if (!argument_valid(tool, argv[i]))
            return false;
    return true;
}

/* A tool that was started, and the pipe on which its caller waits. */
struct running {
    pid_t pid; /* 0: a free place */
    int answer_fd;
    uint64_t deadline_ns;
};

struct server {
    struct running running[RUNNING_MAX];
    int request_fd;
    int signal_fd;
};

/* Starts what the request names. A negative errno when nothing runs. */
static int start_request(char *text, size_t len, int in_fd, int err_fd, pid_t *pid)
{
    char *argv[ARGS_MAX + 1] = {NULL};
    size_t count = 0;
    if (len == 0 || text[len - 1] != '\0')
        return -EBADMSG;
    for (char *arg = text + strlen(text) + 1; arg < text + len; arg += strlen(arg) + 1) {
        if (count == ARGS_MAX)
            return -E2BIG;
        argv[count++] = arg;
    }
    return request_valid(text, argv, count) ? spawn(pid, text, argv, in_fd, err_fd) : -EPERM;
}

/* The length of a request that came with exactly its descriptors; 0 at the end, negative when it
 * is none. */
static ssize_t receive(int fd, char text[REQUEST_MAX], int fds[FDS])
{
    union control control;
    struct iovec iov = {text, REQUEST_MAX};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t len = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (len <= 0)
        return len < 0 && errno == EINTR ? -EINTR : 0;
    if (header == NULL || header->cmsg_type != SCM_RIGHTS ||
        header->cmsg_len != CMSG_LEN(FDS * sizeof(int)))
        return -EBADMSG;
    memcpy(fds, CMSG_DATA(header), FDS * sizeof(int));
    return (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ? -EBADMSG : len;
}

/* A caller that has left is no concern of the next. */
static void answer(int fd, int32_t code)
{
    if (write(fd, &code, sizeof code) < 0)
        code = -errno;
    close(fd);
}

static void finish(struct running *running, int code)
{
    answer(running->answer_fd, code);
    *running = (struct running){.pid = 0};
}

static struct running *free_place(struct server *server)
{
    for (size_t i = 0; i < RUNNING_MAX; i++)
        if (server->running[i].pid == 0)
            return &server->running[i];
    return NULL;
}

/* False at the end. */
static bool take_request(struct server *server, struct running *place)
{
    char text[REQUEST_MAX];
    int fds[FDS] = {-1, -1, -1};
    ssize_t len = receive(server->request_fd, text, fds);
    int code = (int)len;
    if (len > 0)
        code = start_request(text, (size_t)len, fds[0], fds[1], &place->pid);
    for (size_t i = 0; i < FDS - 1; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    if (fds[FDS - 1] < 0)
        return len != 0;
    if (code == 0 && len > 0) {
        place->answer_fd = fds[FDS - 1];
        place->deadline_ns = clock_boottime_ns() + WAIT_MS * NS_PER_MS;
    } else {
        place->pid = 0;
        answer(fds[FDS - 1], code);
    }
    return true;
}

/* Answers for every tool that has ended or whose time is up. Returns the milliseconds until the
 * next one's is; -1: none runs. */
static int look_after(struct server *server)
{
    uint64_t now = clock_boottime_ns();
    int next_ms = -1;
    for (size_t i = 0; i < RUNNING_MAX; i++) {
        struct running *running = &server->running[i];
        int status = 0;
        if (running->pid == 0)
            continue;
        if (waitpid(running->pid, &status, WNOHANG) == running->pid) {
            finish(running, status_of(status));
        } else if (now >= running->deadline_ns) {
            kill_and_reap(running->pid);
            finish(running, -ETIMEDOUT);
        } else {
            int ms = (int)((running->deadline_ns - now) / NS_PER_MS) + 1;
            next_ms = next_ms < 0 || ms < next_ms ? ms : next_ms;
        }
    }
    return next_ms;
}

static int watch_children(void)
{
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &child, NULL);
    return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Ends with the daemon, and nothing that it started outlives it. */
static void serve(int fd, const void *ctx)
{
    struct server server = {.request_fd = fd, .signal_fd = watch_children()};
    bool open = server.signal_fd >= 0;
    (void)ctx;
    while (open) {
        struct signalfd_siginfo info;
        int wait_ms = look_after(&server);
        struct running *place = free_place(&server);
        struct pollfd polled[] = {{.fd = server.signal_fd, .events = POLLIN},
                                  {.fd = place != NULL ? fd : -1, .events = POLLIN}};
        if (poll(polled, 2, wait_ms) <= 0)
            continue;
        while (read(server.signal_fd, &info, sizeof info) > 0)
            ;
        if (polled[1].revents != 0)
            open = take_request(&server, place);
    }
    for (size_t i = 0; i < RUNNING_MAX; i++)
        if (server.running[i].pid != 0)
            kill_and_reap(server.running[i].pid);
}

int tool_helper_start(void)
{
    static const struct helper_options options = {
        .name = "heimdall-tools",
        .rights = UINT64_C(1) << CAP_NET_ADMIN,
        .passes_on = true,
        .serve = serve,
    };
    return helper_start(&helper, &options);
}

const struct helper *tool_helper(void)
{
    return &helper;
}

void tool_helper_end(void)
{
    helper_end(&helper);
}

/* ---- our side */

static int pack(char text[REQUEST_MAX], const char *path, char *const argv[], size_t *len)
{
    const char *next = path;
    *len = 0;
    for (size_t i = 0; next != NULL; next = argv[i++]) {
        size_t size = strlen(next) + 1;
        if (i > ARGS_MAX || size > REQUEST_MAX - *len)
            return -E2BIG;
        memcpy(text + *len, next, size);
        *len += size;
    }
    return 0;
}

static int send_request(const char *path, char *const argv[], const int fds[FDS])
{
    char text[REQUEST_MAX];
    union control control = {0};
    struct iovec iov = {.iov_base = text};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    int rc = pack(text, path, argv, &iov.iov_len);
    if (rc < 0)
        return rc;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(FDS * sizeof(int));
    memcpy(CMSG_DATA(header), fds, FDS * sizeof(int));
    return sendmsg(helper.fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* The helper did not even answer in time: calls wait less until it does again, so that a daemon that
 * ends is not held up by each of them. */
static atomic_bool hangs;

/* The helper's answer; -EPIPE when it has ended, -ETIMEDOUT when it hangs itself. */
static int await_answer(int fd)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    uint64_t limit_ms = atomic_load(&hangs) ? GRACE_MS : WAIT_MS + GRACE_MS;
    uint64_t deadline_ns = clock_boottime_ns() + limit_ms * NS_PER_MS;
    int32_t code = 0;
    for (;;) {
        uint64_t now = clock_boottime_ns();
        int left_ms = now < deadline_ns ? (int)((deadline_ns - now) / NS_PER_MS) + 1 : 0;
        int ready = poll(&polled, 1, left_ms);
        if (ready >= 0)
            atomic_store(&hangs, ready == 0);
        if (ready > 0)
            return read(fd, &code, sizeof code) == sizeof code ? code : -EPIPE;
        if (ready == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

static int ask_helper(const char *path, char *const argv[], int in_fd, int err_fd)
{
    int answer_fds[2];
    if (pipe2(answer_fds, O_CLOEXEC) < 0)
        return -errno;
    int rc = send_request(path, argv, (const int[FDS]){in_fd, err_fd, answer_fds[1]});
    close(answer_fds[1]);
    if (rc == 0)
        rc = await_answer(answer_fds[0]);
    close(answer_fds[0]);
    return rc;
}

static int write_all(int fd, const char *text)
{
    size_t len = strlen(text);
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
    return lseek(fd, 0, SEEK_SET) < 0 ? -errno : 0;
}

int tool_run(const char *path, char *const argv[], const char *input, char *error, size_t capacity)
{
    /* Files in memory, so that neither side can block the other. */
    int in_fd = memfd_create("input", MFD_CLOEXEC);
    int err_fd = memfd_create("errors", MFD_CLOEXEC);
    int rc = in_fd < 0 || err_fd < 0 ? -errno : write_all(in_fd, input);
    if (rc == 0)
        rc = helper.pid != 0 ? ask_helper(path, argv, in_fd, err_fd)
                             : run_here(path, argv, in_fd, err_fd);
    if (error != NULL) {
        ssize_t n = err_fd < 0 ? 0 : pread(err_fd, error, capacity - 1, 0);
        error[n > 0 ? n : 0] = '\0';
    }
    if (in_fd >= 0)
        close(in_fd);
    if (err_fd >= 0)
        close(err_fd);
    return rc;
}
