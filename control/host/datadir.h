#ifndef CONTROL_HOST_DATADIR_H
#define CONTROL_HOST_DATADIR_H

#include "base/err.h"

#include <stddef.h>

/* The folder in which a program keeps what must survive it: mode 0700, files 0600, each replaced as
 * a whole or not at all. */

struct datadir;

enum { DATADIR_TEXT_MAX = 4096 }; /* of one file, without NUL */

/* Makes the folder with its parents when missing, and locks it: -EBUSY names the process that holds
 * it. */
int datadir_open(struct datadir **out, const char *path, struct err *err);

/* Gives the lock back. Takes NULL. */
void datadir_close(struct datadir *dir);
const char *datadir_path(const struct datadir *dir);

/* Reads a file of one line into `out`, without its line end. -ENOENT without a text when there is
 * none; -EINVAL when it is longer than capacity - 1 or not one line. */
int datadir_read(const struct datadir *dir, const char *name, char *out, size_t capacity,
                 struct err *err);

/* The same for any path. */
int datadir_read_file(const char *path, char *out, size_t capacity, struct err *err);

/* Writes a line: to a file beside, synced, renamed, folder synced. */
int datadir_write(struct datadir *dir, const char *name, const char *line, struct err *err);

#endif
