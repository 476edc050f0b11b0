#ifndef CMD_HCTL_DOCTOR_H
#define CMD_HCTL_DOCTOR_H

#include "cmd/hctl_command.h"

/* Every check of the node, and of the way from here to it, with its outcome and a remedy. */
enum grpc_code doctor_run(struct invocation *invocation, struct err *err);

#endif
