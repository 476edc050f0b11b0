#ifndef CONTROL_HOST_DATADIR_H
#define CONTROL_HOST_DATADIR_H

#include "base/err.h"

#include <stddef.h>

/* The folder in which a program keeps what must survive it. Its mode is 0700, that of its files
 * 0600; each file is replaced as a whole or not at all. */

struct datadir;

enum { DATADIR_TEXT_MAX = 4096 }; /* longest text of one file, without NUL */

/* Creates the folder and its parents where missing, and locks it. -EBUSY: the text names the
 * process that holds it. */
int datadir_open(struct datadir **out, const char *path, struct err *err);

/* Releases the lock. Takes NULL. */
void datadir_close(struct datadir *dir);
const char *datadir_path(const struct datadir *dir);

/* Reads a file of one line into `out`, without its line end. -ENOENT, without a text, when the file
 * does not exist; -EINVAL when it is longer than capacity - 1 or is not one line. */
int datadir_read(const struct datadir *dir, const char *name, char *out, size_t capacity,
                 struct err *err);

/* The same for any path, a file that people edit: a byte order mark, blanks and empty lines around
 * the line are cut off. */
int datadir_read_file(const char *path, char *out, size_t capacity, struct err *err);

/* Writes a line to a temporary file, syncs it, renames it, and syncs the folder. */
int datadir_write(struct datadir *dir, const char *name, const char *line, struct err *err);

#endif
