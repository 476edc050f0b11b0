#ifndef CMD_HCTL_SESSION_H
#define CMD_HCTL_SESSION_H

#include "base/err.h"
#include "control/config.h"

#include <protobuf-c/protobuf-c.h>

/* One connection to a node, on which calls are made one after the other, each waited for. */

struct session;

/* Finds the node (option, else the unix socket in the data dir, else tcp://127.0.0.1:9000) and the
 * secret for it. Nothing is sent yet. */
int session_open(struct session **out, const struct ctl_config *config, struct err *err);
void session_close(struct session *session);

/* Calls a method of the service Heimdall. `answer` (may be NULL) sees the response, which is freed
 * when it returns. -EREMOTEIO for a refusal by the node; the text is the node's. */
int session_call(struct session *session, const char *method, const ProtobufCMessage *request,
                 const ProtobufCMessageDescriptor *response,
                 void (*answer)(void *ctx, const ProtobufCMessage *response), void *ctx,
                 struct err *err);

#endif
