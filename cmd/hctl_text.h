#ifndef CMD_HCTL_TEXT_H
#define CMD_HCTL_TEXT_H

#include "proto/heimdall.pb-c.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Numbers and times in words. */

enum { TEXT_AGE = 40, TEXT_BYTES = 24 };

/* Formats "now", "3 seconds ago", "1 hour ago", or "none yet" for NULL. `now` is in seconds since
 * the UNIX epoch. */
const char *text_age(char out[TEXT_AGE], const Google__Protobuf__Timestamp *then, int64_t now);

/* Formats "0 B", "1023 B", "1.0 KiB", "117 MiB". */
const char *text_bytes(char out[TEXT_BYTES], uint64_t bytes);

/* Formats "10.0.0.1:10100" or "[fd00::1]:10100"; "" without an address. */
const char *text_endpoint(char *out, size_t size, const char *ip, uint64_t port);

/* Replaces everything but printable ASCII by '?', so that a node's text cannot control the
 * terminal. */
char text_safe(char letter);
void text_put_line(FILE *file, const char *text);

#endif
