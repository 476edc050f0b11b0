#ifndef CONTROL_API_STATUS_H
#define CONTROL_API_STATUS_H

/* Cluster.Status: how this node and its network are. */

struct rpc_env;
struct rpc_server;
struct rpc_status;
struct rpc_watch;

/* `env` and `watch` are borrowed. 0 or -ENOMEM. */
int rpc_status_create(struct rpc_status **out, struct rpc_server *server, const struct rpc_env *env,
                      const struct rpc_watch *watch);
void rpc_status_destroy(struct rpc_status *status);

#endif
