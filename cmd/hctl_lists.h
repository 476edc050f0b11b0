#ifndef CMD_HCTL_LISTS_H
#define CMD_HCTL_LISTS_H

#include "cmd/hctl_command.h"

/* Commands that list what there is, with the columns of the original. */

enum grpc_code nodes_list(struct invocation *invocation, struct err *err);
enum grpc_code peers_list(struct invocation *invocation, struct err *err);
enum grpc_code peers_authorized(struct invocation *invocation, struct err *err);
enum grpc_code routes_list(struct invocation *invocation, struct err *err);

#endif
