#ifndef CONTROL_HOST_TEXT_FILE_H
#define CONTROL_HOST_TEXT_FILE_H

#include <stddef.h>

struct buffer;

/* Reads a file of at most 64 KiB into an empty buffer and puts a NUL behind it, also when it fails,
 * so that the buffer's bytes are a string. 0, -EFBIG, -ENOMEM or the system's negative errno. */
int text_file_read(const char *path, struct buffer *out);

/* Replaces the content in place with one write, because a bind mount cannot be renamed over.
 * Creates a missing file, also behind a link. 0 or a negative errno. */
int text_file_write(const char *path, const char *text, size_t len);

/* Replaces the file `name` in the open folder `dir`, mode 0600, synced: whole or not at all. */
int text_file_replace(int dir, const char *name, const char *text, size_t len);

#endif
