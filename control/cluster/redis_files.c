#include "control/cluster/redis_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MANIFEST "appendonly.aof.manifest"

enum {
    BLOCK = 64 * 1024,
    NAME_BYTES = 256,
    EMPTY_SNAPSHOT =
        160, /* an empty data set takes 88 bytes, the record of a cluster alone more than this */
};

/* Redis' user owns the folder: a link that it plants is not followed. -ENOENT without a folder. */
static int open_aof_dir(const char *dir)
{
    int parent = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (parent < 0)
        return -errno;
    int fd = openat(parent, "appendonlydir", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int rc = fd < 0 ? -errno : fd;
    close(parent);
    return rc;
}

static int open_file(int dir, const char *name, int mode)
{
    struct stat info;
    int fd = openat(dir, name, mode | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_nlink == 1)
        return fd;
    close(fd);
    return -EINVAL;
}

/* ---- the manifest ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text);
    size_t end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static bool holds_data(int aof_dir, const char *name)
{
    struct stat info;
    off_t empty = ends_with(name, ".aof") ? 0 : EMPTY_SNAPSHOT;
    if (!ends_with(name, ".aof") && !ends_with(name, ".rdb"))
        return false;
    return fstatat(aof_dir, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && info.st_size > empty;
}

/* Whether the folder holds commands, or a snapshot of anything: a Redis that was killed amid its
 * first start leaves an empty one of each. */
static int has_data(int aof_dir, bool *found)
{
    int copy = dup(aof_dir);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    *found = false;
    if (dir == NULL)
        return -errno;
    for (struct dirent *entry; !*found && (entry = readdir(dir)) != NULL;)
        *found = holds_data(aof_dir, entry->d_name);
    closedir(dir);
    return 0;
}

int redis_files_check(const char *dir, bool must_exist)
{
    struct stat info;
    bool found = false;
    int aof_dir = open_aof_dir(dir);
    if (aof_dir == -ENOENT)
        return must_exist ? -ENODATA : 0;
    if (aof_dir < 0)
        return aof_dir;
    int rc = 0;
    if (fstatat(aof_dir, MANIFEST, &info, AT_SYMLINK_NOFOLLOW) == 0)
        rc = info.st_size > 0 ? 0 : -ENODATA;
    else if (errno != ENOENT)
        rc = -errno;
    else if ((rc = has_data(aof_dir, &found)) == 0 && (found || must_exist))
        rc = -ENODATA;
    close(aof_dir);
    return rc;
}

/* ---- the end of the last file ---- */

/* The last file with commands, of lines "file NAME seq N type i". False if there is none. */
static bool last_file(int aof_dir, char name[NAME_BYTES])
{
    char line[NAME_BYTES + 64];
    char candidate[NAME_BYTES];
    char kind;
    int fd = open_file(aof_dir, MANIFEST, O_RDONLY);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    name[0] = '\0';
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "file %255s seq %*u type %c", candidate, &kind) == 2 && kind == 'i' &&
            strchr(candidate, '/') == NULL)
            memcpy(name, candidate, strlen(candidate) + 1);
    if (file != NULL)
        fclose(file);
    return name[0] != '\0';
}

/* The length without zeros at the end, or a negative errno. */
static off_t used_length(int fd, off_t len)
{
    char block[BLOCK];
    while (len > 0) {
        size_t part = len < BLOCK ? (size_t)len : BLOCK;
        ssize_t n = pread(fd, block, part, len - (off_t)part);
        if (n != (ssize_t)part)
            return n < 0 ? -errno : -EIO;
        size_t used = part;
        while (used > 0 && block[used - 1] == '\0')
            used--;
        len -= (off_t)(part - used);
        if (used > 0)
            break;
    }
    return len;
}

static int drop_zeros(int fd, uint64_t *removed)
{
    struct stat info;
    if (fstat(fd, &info) < 0)
        return -errno;
    off_t used = used_length(fd, info.st_size);
    if (used < 0)
        return (int)used;
    if (used < info.st_size && (ftruncate(fd, used) < 0 || fsync(fd) < 0))
        return -errno;
    *removed = (uint64_t)(info.st_size - used);
    return 0;
}

int redis_files_heal(const char *dir, uint64_t *removed)
{
    char name[NAME_BYTES];
    *removed = 0;
    int aof_dir = open_aof_dir(dir);
    if (aof_dir < 0)
        return aof_dir == -ENOENT ? 0 : aof_dir;
    int fd = last_file(aof_dir, name) ? open_file(aof_dir, name, O_RDWR) : -ENOENT;
    int rc = fd == -ENOENT ? 0 : fd;
    if (fd >= 0) {
        rc = drop_zeros(fd, removed);
        close(fd);
    }
    close(aof_dir);
    return rc;
}
