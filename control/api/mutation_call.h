#ifndef CONTROL_API_MUTATION_CALL_H
#define CONTROL_API_MUTATION_CALL_H

#include <protobuf-c/protobuf-c.h>

/* Calls that change the network. */

struct api_env;
struct mutation_kind;
struct rpc_call;

/* Submits the request as a mutation. When the change is in the state and the data plane, `reply`
 * finishes the call; a refusal finishes it with the writer's code and text. */
void mutation_call(const struct api_env *env, struct rpc_call *call,
                   const struct mutation_kind *kind, const ProtobufCMessage *request,
                   void (*reply)(const struct api_env *env, const ProtobufCMessage *request,
                                 struct rpc_call *call));

/* A `reply` without content. */
void mutation_reply_empty(const struct api_env *env, const ProtobufCMessage *request,
                          struct rpc_call *call);

#endif
