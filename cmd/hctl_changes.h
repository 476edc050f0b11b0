#ifndef CMD_HCTL_CHANGES_H
#define CMD_HCTL_CHANGES_H

#include "cmd/hctl_command.h"

/* Commands that change the network. They print nothing, and with -o json what they did. Peers may
 * be given by id, name or the beginning of their id. `peers_authorize` without an id makes and
 * prints one. */

enum grpc_code peers_authorize(struct invocation *invocation, struct err *err);
enum grpc_code peers_deauthorize(struct invocation *invocation, struct err *err);
enum grpc_code peers_rename(struct invocation *invocation, struct err *err);
enum grpc_code peers_rekey(struct invocation *invocation, struct err *err);
enum grpc_code routes_create(struct invocation *invocation, struct err *err);
enum grpc_code routes_delete(struct invocation *invocation, struct err *err);

#endif
