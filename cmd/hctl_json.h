#ifndef CMD_HCTL_JSON_H
#define CMD_HCTL_JSON_H

#include <protobuf-c/protobuf-c.h>
#include <stdio.h>

/* JSON for scripts. */

/* Any message as a JSON object with the names of its fields; timestamps as RFC 3339. 0 or -ENOMEM.
 */
int json_print(FILE *file, const ProtobufCMessage *message);

/* {"error":{"code":"NOT_FOUND","message":"...","exit_status":3}} on one line. 0 or -ENOMEM. */
int json_print_error(FILE *file, const char *code, const char *message, int exit_status);

#endif
