#ifndef CMD_HCTL_STATUS_H
#define CMD_HCTL_STATUS_H

#include "cmd/hctl_command.h"

/* The status of the network and of one peer. */

enum grpc_code status_show(struct invocation *invocation, struct err *err);
enum grpc_code peers_show(struct invocation *invocation, struct err *err);

#endif
