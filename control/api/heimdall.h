#ifndef CONTROL_API_HEIMDALL_H
#define CONTROL_API_HEIMDALL_H

/* The service Heimdall of heimdall.proto, and RekeyPeer and RenamePeer of heimdall.v1.Cluster:
 * answers from the state, and requests that change it. */

struct api_env;
struct heimdall_service;
struct rpc_server;
struct watch_peer;

/* `env` and `watch` are borrowed. Adds the methods to the server, whose calls must have ended
 * before heimdall_service_destroy. 0 or -ENOMEM. */
int heimdall_service_create(struct heimdall_service **out, struct rpc_server *server,
                            const struct api_env *env, const struct watch_peer *watch);

/* Destroy the writer first: changes under way still refer to the environment. Takes NULL. */
void heimdall_service_destroy(struct heimdall_service *handlers);

#endif
