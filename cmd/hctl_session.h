#ifndef CMD_HCTL_SESSION_H
#define CMD_HCTL_SESSION_H

#include "base/err.h"
#include "control/config/config.h"
#include "proto/grpc.h"

#include <protobuf-c/protobuf-c.h>

/* One connection to a node. Calls are made one at a time, and each is waited for. Local failures
 * are gRPC codes too: UNAVAILABLE when the node cannot be reached, UNAUTHENTICATED when it rejects
 * the key or certificate or cannot prove its identity. */

#define SESSION_HEIMDALL "/dev.ehazlett.heimdall.api.v1.Heimdall/"
#define SESSION_CLUSTER  "/heimdall.v1.Cluster/"

struct session;

/* Chooses the node (option, else the unix socket in the data dir, else tcp://127.0.0.1:9000) and
 * the secret for it. Nothing is sent yet. */
enum grpc_code session_open(struct session **out, const struct ctl_config *config, struct err *err);
void session_close(struct session *session);

/* Marks later calls as a request of these words, so that the node recognizes one that was made
 * already; NULL ends that. */
void session_repeat_key(struct session *session, const char *const *words, size_t count);

/* Whether the node is called over TCP, and not over its unix socket. */
bool session_is_tcp(const struct session *session);

/* Calls a method by its path. `answer` (may be NULL) sees the response, which is freed afterwards;
 * its return value becomes the call's. When the node refuses, code and text are the node's. */
enum grpc_code
session_call(struct session *session, const char *path, const ProtobufCMessage *request,
             const ProtobufCMessageDescriptor *response,
             enum grpc_code (*answer)(void *ctx, const ProtobufCMessage *response, struct err *err),
             void *ctx, struct err *err);

#endif
