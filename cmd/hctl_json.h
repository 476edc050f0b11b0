#ifndef CMD_HCTL_JSON_H
#define CMD_HCTL_JSON_H

#include <protobuf-c/protobuf-c.h>
#include <stdio.h>

/* JSON output for scripts. */

/* Prints any message as a JSON object with the schema's field names and RFC 3339 timestamps. 0 or
 * -ENOMEM. */
int json_print(FILE *file, const ProtobufCMessage *message);

/* Prints one line, {"error":{"code":"NOT_FOUND","message":"...","exit_status":3}}. 0 or -ENOMEM. */
int json_print_error(FILE *file, const char *code, const char *message, int exit_status);

#endif
