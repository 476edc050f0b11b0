#ifndef CONTROL_API_HEALTH_H
#define CONTROL_API_HEALTH_H

/* The service grpc.health.v1.Health. A node serves until it shuts down, with or without its Redis.
 */

struct rpc_health;
struct rpc_server;

/* Must outlive the server's calls. 0 or -ENOMEM. */
int rpc_health_create(struct rpc_health **out, struct rpc_server *server);
void rpc_health_destroy(struct rpc_health *health);

/* Reports NOT_SERVING to every watcher. Takes NULL. */
void rpc_health_shut_down(struct rpc_health *health);

#endif
