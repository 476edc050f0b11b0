#ifndef CMD_HCTL_STATUS_H
#define CMD_HCTL_STATUS_H

#include "cmd/hctl_command.h"

/* How the network is doing, and how one peer of it is. */

enum grpc_code status_show(struct invocation *invocation, struct err *err);
enum grpc_code peers_show(struct invocation *invocation, struct err *err);

#endif
