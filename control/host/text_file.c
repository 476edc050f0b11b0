#include "control/host/text_file.h"

#include "base/buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { FILE_MAX = 64 * 1024, READ_LEN = 4096 };

int text_file_read(const char *path, struct buffer *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int rc = fd < 0 ? -errno : 0;
    ssize_t len = rc < 0 ? 0 : 1;
    while (len > 0 && buffer_len(out) <= FILE_MAX) {
        uint8_t *room = buffer_reserve(out, READ_LEN);
        len = room != NULL ? read(fd, room, READ_LEN) : 0;
        if (len < 0)
            rc = -errno;
        else
            buffer_commit(out, (size_t)len);
    }
    if (len > 0)
        rc = -EFBIG;
    if (fd >= 0)
        close(fd);
    buffer_append(out, "", 1);
    return buffer_failed(out) ? -ENOMEM : rc;
}

static int write_all(int fd, const char *text, size_t len)
{
    ssize_t done = pwrite(fd, text, len, 0);
    if (done < 0)
        return -errno;
    if ((size_t)done != len)
        return -ENOSPC;
    if (ftruncate(fd, (off_t)len) < 0)
        return -errno;
    return fsync(fd) < 0 ? -errno : 0;
}

int text_file_write(const char *path, const char *text, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    int rc = write_all(fd, text, len);
    close(fd);
    return rc;
}

int text_file_replace(int dir, const char *name, const char *text, size_t len)
{
    char temporary[64];
    snprintf(temporary, sizeof temporary, "%s.new", name);
    int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int rc = write_all(fd, text, len);
    close(fd);
    if (rc == 0 && renameat(dir, temporary, dir, name) < 0)
        rc = -errno;
    if (rc == 0 && fsync(dir) < 0)
        rc = -errno;
    if (rc < 0)
        unlinkat(dir, temporary, 0);
    return rc;
}
