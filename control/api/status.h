#ifndef CONTROL_API_STATUS_H
#define CONTROL_API_STATUS_H

/* Cluster.Status: the status of this node and its network. */

struct api_env;
struct rpc_server;
struct status;
struct watch_peer;

/* `env` and `watch` are borrowed. 0 or -ENOMEM. */
int status_create(struct status **out, struct rpc_server *server, const struct api_env *env,
                  const struct watch_peer *watch);
void status_destroy(struct status *status);

#endif
