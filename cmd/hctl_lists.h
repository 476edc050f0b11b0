#ifndef CMD_HCTL_LISTS_H
#define CMD_HCTL_LISTS_H

#include "cmd/hctl_command.h"

/* Commands that print lists, with the original's columns. */

enum grpc_code nodes_list(struct invocation *invocation, struct err *err);
enum grpc_code peers_list(struct invocation *invocation, struct err *err);
enum grpc_code peers_authorized(struct invocation *invocation, struct err *err);
enum grpc_code routes_list(struct invocation *invocation, struct err *err);

#endif
