#ifndef CONTROL_API_HEALTH_H
#define CONTROL_API_HEALTH_H

/* The service grpc.health.v1.Health: a node that answers is serving until it shuts down, with or
 * without its Redis. */

struct rpc_health;
struct rpc_server;

/* 0 or -ENOMEM. Outlives the server's calls. */
int rpc_health_create(struct rpc_health **out, struct rpc_server *server);
void rpc_health_destroy(struct rpc_health *health);

/* Tells those who watch that the node serves no longer. Takes NULL. */
void rpc_health_shut_down(struct rpc_health *health);

#endif
