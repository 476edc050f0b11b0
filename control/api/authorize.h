#ifndef CONTROL_API_AUTHORIZE_H
#define CONTROL_API_AUTHORIZE_H

#include <protobuf-c/protobuf-c.h>

struct api_env;
struct rpc_call;

/* AuthorizePeer: stretches the id on the thread pool, then submits the mutation with its secret. */
void authorize_call(const struct api_env *env, struct rpc_call *call,
                    const ProtobufCMessage *message);

#endif
