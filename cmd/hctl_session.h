#ifndef CMD_HCTL_SESSION_H
#define CMD_HCTL_SESSION_H

#include "base/err.h"
#include "control/config/config.h"
#include "proto/grpc.h"

#include <protobuf-c/protobuf-c.h>

/* One connection to a node, on which calls are made one after the other, each waited for. Failures
 * of this side have codes of gRPC as well: UNAVAILABLE when the node cannot be reached,
 * UNAUTHENTICATED when it does not accept the key or certificate, or cannot prove who it is. */

#define SESSION_HEIMDALL "/dev.ehazlett.heimdall.api.v1.Heimdall/"
#define SESSION_CLUSTER  "/heimdall.v1.Cluster/"

struct session;

/* Finds the node (option, else the unix socket in the data dir, else tcp://127.0.0.1:9000) and the
 * secret for it. Nothing is sent yet. */
enum grpc_code session_open(struct session **out, const struct ctl_config *config, struct err *err);
void session_close(struct session *session);

/* Calls a method by its path. `answer` (may be NULL) sees the response, which is freed when it
 * returns; what it returns, the call does. The code and the text are the node's when it refuses. */
enum grpc_code
session_call(struct session *session, const char *path, const ProtobufCMessage *request,
             const ProtobufCMessageDescriptor *response,
             enum grpc_code (*answer)(void *ctx, const ProtobufCMessage *response, struct err *err),
             void *ctx, struct err *err);

#endif
