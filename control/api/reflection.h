#ifndef CONTROL_API_REFLECTION_H
#define CONTROL_API_REFLECTION_H

/* gRPC server reflection, v1 and v1alpha: the schemas of the API for tools like grpcurl. */

struct rpc_reflection;
struct rpc_server;

/* 0 or -ENOMEM. Outlives the server's calls. */
int rpc_reflection_create(struct rpc_reflection **out, struct rpc_server *server);
void rpc_reflection_destroy(struct rpc_reflection *reflection);

#endif
