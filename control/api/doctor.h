#ifndef CONTROL_API_DOCTOR_H
#define CONTROL_API_DOCTOR_H

/* Cluster.Doctor: every check with its outcome, after probes of the host have run afresh. */

struct api_env;
struct doctor;
struct rpc_server;
struct watch_peer;

/* `env` and `watch` are borrowed. 0 or -ENOMEM. */
int doctor_create(struct doctor **out, struct rpc_server *server, const struct api_env *env,
                  const struct watch_peer *watch);

/* After the server's calls have ended. Takes NULL. */
void doctor_destroy(struct doctor *doctor);

#endif
