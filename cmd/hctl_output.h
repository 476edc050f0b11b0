#ifndef CMD_HCTL_OUTPUT_H
#define CMD_HCTL_OUTPUT_H

#include "cmd/hctl_command.h"

/* Prints a message as JSON. */
enum grpc_code output_json(const ProtobufCMessage *message, struct err *err);

/* Prints the message with -o json, else nothing. */
enum grpc_code output_change(const struct invocation *invocation, const ProtobufCMessage *message,
                             struct err *err);

/* Prints and frees a table. */
enum grpc_code output_table(const struct invocation *invocation, struct table *table,
                            struct err *err);

/* Calls a method that lists something and prints its answer: as JSON with -o json, else through
 * `print`, whose `ctx` is the invocation. */
enum grpc_code
output_call(struct invocation *invocation, const char *path,
            const ProtobufCMessageDescriptor *request, const ProtobufCMessageDescriptor *response,
            enum grpc_code (*print)(void *ctx, const ProtobufCMessage *response, struct err *err),
            struct err *err);

#endif
