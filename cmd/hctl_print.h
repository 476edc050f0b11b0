#ifndef CMD_HCTL_PRINT_H
#define CMD_HCTL_PRINT_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What hctl writes: tables for people, JSON for scripts. */

/* Columns as wide as their widest cell, three spaces between them, nothing behind the last. `cells`
 * is `rows` times `columns` strings (NULL: empty). */
void print_table(FILE *file, const char *const *headers, size_t columns, char *const *cells,
                 size_t rows);

/* "now", "3 seconds ago", "1 hour ago"; both in seconds since the UNIX epoch. */
const char *print_age(char *out, size_t size, int64_t then, int64_t now);

/* Any message as a JSON object with the names of its fields; timestamps as RFC 3339. 0 or -ENOMEM.
 */
int print_json(FILE *file, const ProtobufCMessage *message);

#endif
