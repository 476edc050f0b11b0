#ifndef CONTROL_API_REFLECTION_H
#define CONTROL_API_REFLECTION_H

/* gRPC server reflection, v1 and v1alpha: the API's schemas for tools such as grpcurl. */

struct rpc_reflection;
struct rpc_server;

/* Must outlive the server's calls. 0 or -ENOMEM. */
int rpc_reflection_create(struct rpc_reflection **out, struct rpc_server *server);
void rpc_reflection_destroy(struct rpc_reflection *reflection);

#endif
