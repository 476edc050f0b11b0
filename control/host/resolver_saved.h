#ifndef CONTROL_HOST_RESOLVER_SAVED_H
#define CONTROL_HOST_RESOLVER_SAVED_H

#include <stddef.h>

struct buffer;

/* What was done to the host's resolver, in two files of the state folder: resolver.state, one line
 * "BACKEND DETAIL", and resolv.conf.saved, the former text. Both are on disk before anything
 * changes and go after everything is put back, so that a crash leaves either a host as it was or a
 * line that says what to undo. */

#define SAVED_TEXT_NAME "resolv.conf.saved"

struct saved {
    char backend[16]; /* its name; "" when nothing was done */
    char detail[32];  /* what the back end needs to undo it */
};

/* 0 or a negative errno. -EINVAL when the detail is too long. */
int saved_write(const char *state_dir, const char *backend, const char *detail);
int saved_write_text(const char *state_dir, const char *text, size_t len);

void saved_read(const char *state_dir, struct saved *out);

/* Like text_file_read. */
int saved_read_text(const char *state_dir, struct buffer *out);

/* Removes both files. */
void saved_remove(const char *state_dir);

#endif
