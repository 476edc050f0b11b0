#include "control/host/datadir.h"

#include "base/bytes.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct datadir {
    char *path;
    int fd;
    int lock_fd;
};

/* The folder gets mode 0700; missing parents get the usual mode. */
static int make_folders(const char *path)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof part)
        return len == 0 ? -ENOENT : -ENAMETOOLONG;
    memcpy(part, path, len + 1);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* The folder holds keys, so that nobody else may read it, whoever created it. */
static int close_to_others(int fd, const char *path, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_set_errno(err, -errno, "data dir %s", path);
    if (st.st_uid != geteuid())
        return err_set(err, -EPERM,
                       "data dir %s belongs to uid %u, but this program runs as uid %u", path,
                       (unsigned)st.st_uid, (unsigned)geteuid());
    if ((st.st_mode & 0077) != 0 && fchmod(fd, 0700) < 0)
        return err_set_errno(
            err, -errno, "data dir %s is readable by others and cannot be closed to them", path);
    return 0;
}

/* A record lock names its holder and is not inherited by children. */
static int take_lock(struct datadir *dir, struct err *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    dir->lock_fd = openat(dir->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (dir->lock_fd < 0)
        return err_set_errno(err, -errno, "cannot write data dir %s", dir->path);
    if (fcntl(dir->lock_fd, F_SETLK, &lock) < 0) {
        int code = errno;
        if (code != EACCES && code != EAGAIN)
            return err_set_errno(err, -code, "cannot lock data dir %s", dir->path);
        if (fcntl(dir->lock_fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0)
            return err_set(err, -EBUSY, "data dir %s is in use by process %ld", dir->path,
                           (long)lock.l_pid);
        return err_set(err, -EBUSY, "data dir %s is in use by another process", dir->path);
    }
    return 0;
}

int datadir_open(struct datadir **out, const char *path, struct err *err)
{
    int code = make_folders(path);
    *out = NULL;
    if (code < 0)
        return err_set_errno(err, code, "cannot create data dir %s", path);
    struct datadir *dir = calloc(1, sizeof *dir);
    if (dir == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    dir->lock_fd = -1;
    dir->fd = -1;
    dir->path = realpath(path, NULL);
    if (dir->path == NULL) {
        code = err_set_errno(err, -errno, "data dir %s", path);
        goto fail;
    }
    dir->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir->fd < 0) {
        code = err_set_errno(err, -errno, "data dir %s", path);
        goto fail;
    }
    code = close_to_others(dir->fd, path, err);
    if (code == 0)
        code = take_lock(dir, err);
    if (code < 0)
        goto fail;
    *out = dir;
    return 0;
fail:
    datadir_close(dir);
    return code;
}

void datadir_close(struct datadir *dir)
{
    if (dir == NULL)
        return;
    if (dir->lock_fd >= 0)
        close(dir->lock_fd);
    if (dir->fd >= 0)
        close(dir->fd);
    free(dir->path);
    free(dir);
}

const char *datadir_path(const struct datadir *dir)
{
    return dir->path;
}

static int read_whole(int fd, char *out, size_t capacity)
{
    size_t len = 0;
    while (len < capacity) {
        ssize_t n = read(fd, out + len, capacity - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return (int)len;
        len += (size_t)n;
    }
    return -EFBIG;
}

/* Accepts one line without control characters. Its end may be missing; nothing may follow it. */
static int cut_line(char *text, size_t len)
{
    if (len > 0 && text[len - 1] == '\n')
        len--;
    if (len > 0 && text[len - 1] == '\r')
        len--;
    text[len] = '\0';
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20)
            return -EINVAL;
    return len == 0 ? -EINVAL : 0;
}

/* The words for what went wrong with a file of one line. 0 when nothing did. */
static int line_outcome(int code, const char *folder, const char *name, char *out, size_t capacity,
                        struct err *err)
{
    if (code == 0)
        return 0;
    bytes_wipe(out, capacity);
    if (code == -EINVAL || code == -EFBIG)
        return err_set(err, -EINVAL,
                       "file %s%s is malformed: expects one line of at most %zu characters", folder,
                       name, capacity - 2);
    return err_set_errno(err, code, "file %s%s", folder, name);
}

int datadir_read(const struct datadir *dir, const char *name, char *out, size_t capacity,
                 struct err *err)
{
    char folder[PATH_MAX + 2];
    snprintf(folder, sizeof folder, "%s/", dir->path);
    int fd = openat(dir->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? -ENOENT : err_set_errno(err, -errno, "file %s%s", folder, name);
    int code = read_whole(fd, out, capacity);
    close(fd);
    if (code >= 0)
        code = cut_line(out, (size_t)code);
    return line_outcome(code, folder, name, out, capacity, err);
}

int datadir_read_file(const char *path, char *out, size_t capacity, struct err *err)
{
    char text[512];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, -errno, "file %s", path);
    int code = read_whole(fd, text, sizeof text);
    close(fd);
    if (code >= 0) {
        text[code] = '\0';
        char *line = text_trim(text_skip_mark(text));
        size_t len = strlen(line);
        code = len < capacity ? 0 : -EFBIG;
        memcpy(out, line, code == 0 ? len : 0);
        if (code == 0)
            code = cut_line(out, len);
    }
    bytes_wipe(text, sizeof text);
    return line_outcome(code, "", path, out, capacity, err);
}

static int write_whole(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

static int fill_beside(int fd, const char *line)
{
    int code = write_whole(fd, line, strlen(line));
    if (code == 0)
        code = write_whole(fd, "\n", 1);
    if (code == 0 && fsync(fd) < 0)
        code = -errno;
    if (close(fd) < 0 && code == 0)
        code = -errno;
    return code;
}

int datadir_write(struct datadir *dir, const char *name, const char *line, struct err *err)
{
    char beside[NAME_MAX + 1];
    snprintf(beside, sizeof beside, "%s.new", name);
    int fd = openat(dir->fd, beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int code = fd < 0 ? -errno : fill_beside(fd, line);
    if (code == 0 && renameat(dir->fd, beside, dir->fd, name) < 0)
        code = -errno;
    if (code < 0 && fd >= 0)
        (void)unlinkat(dir->fd, beside, 0);
    if (code == 0 && fsync(dir->fd) < 0)
        code = -errno;
    if (code < 0)
        return err_set_errno(err, code, "cannot write file %s/%s", dir->path, name);
    return 0;
}
