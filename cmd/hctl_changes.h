#ifndef CMD_HCTL_CHANGES_H
#define CMD_HCTL_CHANGES_H

#include "cmd/hctl_command.h"

/* Commands that change the network. They print nothing, and with -o json what they changed. A peer
 * is given by its id, its name or the beginning of its id. `peers_authorize` without an id makes
 * one and prints it. */

enum grpc_code peers_authorize(struct invocation *invocation, struct err *err);
enum grpc_code peers_deauthorize(struct invocation *invocation, struct err *err);
enum grpc_code peers_rename(struct invocation *invocation, struct err *err);
enum grpc_code peers_rekey(struct invocation *invocation, struct err *err);
enum grpc_code routes_create(struct invocation *invocation, struct err *err);
enum grpc_code routes_delete(struct invocation *invocation, struct err *err);

#endif
