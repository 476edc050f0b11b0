#include "control/cluster/redis_launch.h"

#include "base/bytes.h"
#include "base/err.h"
#include "base/log.h"
#include "control/host/helper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PASSWORD_BYTES = REDIS_PASSWORD_LEN / 2 };

/* ---- the program and its user */

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

static int find_program(struct redis_launch *launch, const char *given, struct err *err)
{
    if (given != NULL && strchr(given, '/') != NULL)
        launch->program = access(given, X_OK) == 0 ? strdup(given) : NULL;
    else
        launch->program = search_path(getenv("PATH"), given == NULL ? "redis-server" : given);
    if (launch->program == NULL && given == NULL && getenv("PATH") == NULL)
        launch->program = search_path("/usr/local/bin:/usr/bin:/usr/sbin", "redis-server");
    if (launch->program == NULL)
        return err_set(err, -ENOENT,
                       "%s is not there or not executable: install the Debian package redis-server "
                       "(apt-get install redis-server)",
                       given == NULL ? "redis-server" : given);
    return 0;
}

static bool may_change_user(void)
{
    char line[128];
    unsigned long long caps = 0;
    FILE *status = fopen("/proc/self/status", "re");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, "CapEff:", 7) == 0)
            caps = strtoull(line + 7, NULL, 16);
    if (status != NULL)
        fclose(status);
    return geteuid() == 0 && (caps & REDIS_LAUNCH_RIGHTS) == REDIS_LAUNCH_RIGHTS;
}

/* In a child: becomes Redis' user for good. Returns errno. */
static int become_user(const struct redis_launch *launch)
{
    bool done = setgroups(0, NULL) == 0 && setgid(launch->gid) == 0 && setuid(launch->uid) == 0;
    return done ? 0 : errno;
}

/* Finds out in a child whether this user can be had. Capabilities do not say so: a user namespace
 * may lack the user, or refuse the change of groups. 0 or a negative errno. */
static int try_user(const struct redis_launch *launch)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit(become_user(launch));
    if (pid < 0)
        return -errno;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

/* Redis runs as the daemon's own user after all. */
static void keep_user(struct redis_launch *launch, const char *what, int code)
{
    launch->drop = false;
    log_warn("redis-server runs as this program's own user: the user that it should have cannot be "
             "used here (in a container, map its id in /etc/subuid and /etc/subgid)",
             F_STR("failed", what), F_STR("error", strerror(-code)), F_INT("uid", launch->uid));
}

static void choose_user(struct redis_launch *launch, const char *user)
{
    const struct passwd *entry = may_change_user() ? getpwnam(user == NULL ? "redis" : user) : NULL;
    if (entry == NULL)
        return;
    launch->drop = true;
    launch->uid = entry->pw_uid;
    launch->gid = entry->pw_gid;
    int code = try_user(launch);
    if (code < 0)
        keep_user(launch, "setuid", code);
}

/* ---- its version: the first that knows all the settings of redis_keeper.c */

enum { MAJOR_MIN = 7, VERSION_WAIT_MS = 3000 };

static _Noreturn void become_version(const struct redis_launch *launch, int out, int failure)
{
    char *const argv[] = {launch->program, "--version", NULL};
    char *const env[] = {"LC_ALL=C", "PATH=/usr/bin:/bin", NULL};
    int code = dup2(out, 1) < 0 ? errno : 0;
    if (code == 0 && launch->drop)
        code = become_user(launch);
    if (code == 0) {
        execve(launch->program, argv, env);
        code = errno;
    }
    (void)!write(failure, &code, sizeof code);
    _exit(127);
}

/* A program that started closes the pipe of failures. 0 or a negative errno. */
static int await_start(int failure)
{
    int code = 0;
    struct pollfd ready = {.fd = failure, .events = POLLIN};
    if (poll(&ready, 1, VERSION_WAIT_MS) != 1)
        return -ETIMEDOUT;
    return read(failure, &code, sizeof code) == sizeof code ? -code : 0;
}

/* The program's answer within the time limit, with a NUL. A negative errno if it does not start. */
static int read_version(const struct redis_launch *launch, char *text, size_t capacity)
{
    int fds[2];
    int failure[2];
    text[0] = '\0';
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    if (pipe2(failure, O_CLOEXEC) < 0) {
        int code = -errno;
        close(fds[0]);
        close(fds[1]);
        return code;
    }
    pid_t pid = fork();
    if (pid == 0)
        become_version(launch, fds[1], failure[1]);
    close(fds[1]);
    close(failure[1]);
    int rc = pid < 0 ? -EAGAIN : await_start(failure[0]);
    struct pollfd ready = {.fd = fds[0], .events = POLLIN};
    ssize_t n =
        rc == 0 && poll(&ready, 1, VERSION_WAIT_MS) == 1 ? read(fds[0], text, capacity - 1) : 0;
    text[n > 0 ? n : 0] = '\0';
    close(fds[0]);
    close(failure[0]);
    if (pid > 0) {
        kill(pid, SIGKILL);
        (void)helper_reap(pid, VERSION_WAIT_MS);
    }
    return rc;
}

/* "Redis server v=7.0.15 sha=..." */
static int check_version(const struct redis_launch *launch, struct err *err)
{
    char text[256];
    int rc = read_version(launch, text, sizeof text);
    if (rc < 0)
        return launch->drop ? err_set_errno(err, rc, "cannot run %s as the user with id %u",
                                            launch->program, (unsigned)launch->uid)
                            : err_set_errno(err, rc, "cannot run %s", launch->program);
    const char *version = strstr(text, " v=");
    version = version == NULL ? "" : version + sizeof " v=" - 1;
    char *end;
    unsigned long major = strtoul(version, &end, 10);
    if (end == version)
        return err_set(err, -EINVAL,
                       "%s does not say which version it is: install the Debian package "
                       "redis-server, version %d.0 or newer",
                       launch->program, MAJOR_MIN);
    if (major < MAJOR_MIN)
        return err_set(err, -EPROTONOSUPPORT,
                       "%s is too old (%.*s): install version %d.0 or newer of the package "
                       "redis-server",
                       launch->program, (int)strcspn(version, " \n"), version, MAJOR_MIN);
    return 0;
}

/* ---- its folder */

/* Gives a folder and its content, two levels deep, to the child's user. Links are not followed. */
static int hand_over(int dir_fd, const struct redis_launch *launch, int depth)
{
    if (fchown(dir_fd, launch->uid, launch->gid) != 0)
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
            rc = hand_over(sub, launch, depth - 1);
            close(sub);
        } else if (fchownat(dir_fd, entry->d_name, launch->uid, launch->gid, AT_SYMLINK_NOFOLLOW) !=
                   0)
            rc = -errno;
    }
    if (dir != NULL)
        closedir(dir);
    return rc;
}

/* An earlier run had more rights and gave the folder to Redis' user. */
static int refuse_owner(const struct redis_launch *launch, struct err *err)
{
    return err_set(err, -EACCES,
                   "not permitted to use %s: give it to this user (chown -R \"$(id -u)\" %s), "
                   "or start with the rights of the run that made it",
                   launch->dir, launch->dir);
}

/* The daemon's group may enter the folder and owns what is created in it, the socket above all. */
static int open_to_us(int fd, const struct redis_launch *launch)
{
    struct stat info;
    if (fstat(fd, &info) < 0)
        return -errno;
    if (!launch->drop && info.st_uid != geteuid())
        return -EACCES;
    if (!launch->drop)
        return fchmod(fd, 0700) == 0 ? 0 : -errno;
    return fchown(fd, launch->uid, getegid()) == 0 && fchmod(fd, 02750) == 0 ? 0 : -errno;
}

static int make_dir(struct redis_launch *launch, const char *data_dir, struct err *err)
{
    if (asprintf(&launch->dir, "%s/redis", data_dir) < 0) {
        launch->dir = NULL;
        return err_set(err, -ENOMEM, "out of memory");
    }
    int len =
        snprintf(launch->socket, sizeof launch->socket, "%s/%s", launch->dir, REDIS_SOCKET_NAME);
    if (len < 0 || (size_t)len >= sizeof launch->socket)
        return err_set(err, -ENAMETOOLONG,
                       "--data-dir %s is too long for a unix socket: %zu characters at most",
                       data_dir, sizeof launch->socket - sizeof "/redis/" REDIS_SOCKET_NAME);
    if (mkdir(launch->dir, 0700) != 0 && errno != EEXIST)
        return err_set_errno(err, -errno, "cannot make the folder %s", launch->dir);
    int fd = open(launch->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == EACCES)
        return refuse_owner(launch, err);
    if (fd < 0)
        return err_set_errno(err, -errno, "cannot open the folder %s", launch->dir);
    int rc = launch->drop ? hand_over(fd, launch, 1) : 0;
    if (rc == -EINVAL || rc == -EPERM || rc == -EOPNOTSUPP) { /* this disk keeps no such owner */
        keep_user(launch, "chown", rc);
        rc = 0;
    }
    if (rc == 0)
        rc = open_to_us(fd, launch);
    close(fd);
    if (rc == -EACCES)
        return refuse_owner(launch, err);
    return rc == 0 ? 0 : err_set_errno(err, rc, "cannot set the owner of %s", launch->dir);
}

static int make_password(struct redis_launch *launch)
{
    uint8_t random[PASSWORD_BYTES];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return -EIO;
    bytes_to_hex(launch->password, random, sizeof random);
    bytes_wipe(random, sizeof random);
    return 0;
}

int redis_launch_init(struct redis_launch *launch, const struct redis_launch_options *options,
                      struct err *err)
{
    *launch =
        (struct redis_launch){.port = options->port, .must_have_data = options->must_have_data};
    int rc = find_program(launch, options->program, err);
    if (rc != 0)
        return rc;
    launch->bind = options->bind == NULL ? NULL : strdup(options->bind);
    if (options->bind != NULL && launch->bind == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    if (make_password(launch) != 0)
        return err_set(err, -EIO, "no random bytes for the password of redis-server");
    choose_user(launch, options->user);
    rc = check_version(launch, err);
    return rc == 0 ? make_dir(launch, options->data_dir, err) : rc;
}

void redis_launch_fini(struct redis_launch *launch)
{
    free(launch->dir);
    free(launch->program);
    free(launch->bind);
    bytes_wipe(launch, sizeof *launch);
}
