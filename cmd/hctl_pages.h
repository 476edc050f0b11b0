#ifndef CMD_HCTL_PAGES_H
#define CMD_HCTL_PAGES_H

#include "cmd/hctl_session.h"

/* Calls whose answer is a list, however long. `request` has the fields page_size and page_token,
 * which are set here; pages are read until the list ends and put together. The contract is
 * session_call's. */
enum grpc_code pages_call(struct session *session, const char *path, ProtobufCMessage *request,
                          const ProtobufCMessageDescriptor *response,
                          enum grpc_code (*answer)(void *ctx, const ProtobufCMessage *response,
                                                   struct err *err),
                          void *ctx, struct err *err);

#endif
