#ifndef CONTROL_API_HEIMDALL_H
#define CONTROL_API_HEIMDALL_H

#include "control/state/record.h"
#include "proto/heimdall.pb-c.h"

#include <stddef.h>
#include <stdint.h>

/* The service Heimdall of heimdall.proto, and RekeyPeer and RenamePeer of heimdall.v1.Cluster
 * (see watch_peer.h for its other calls): requests in, changes through the writer or answers from
 * the state out. */

struct path_info;
struct rpc_server;
struct state;
struct report_host;
struct writer;

/* What the handlers see of their node; all of it outlives them. */
struct api_env {
    const char *node_id;
    const char *cluster_key;
    const char *public_key; /* of the tunnel, base64 */
    uint64_t run;           /* random, for this run of the process */
    struct writer *writer;
    void *ctx;
    const struct state *(*state)(void *ctx); /* NULL: not loaded yet */
    /* Brings the data plane and the watchers up to the state, so that an answer is not ahead. */
    void (*settle)(void *ctx);
    int (*tunnel_info)(void *ctx, struct path_info *out);
    void (*host)(void *ctx, struct report_host *out); /* `out` borrows its strings */
    const char *(*dns_domain)(void *ctx); /* NULL: peers are to ask no resolver of ours */
};

/* `env` is copied. Adds the methods to the server; the server must be destroyed (its calls ended)
 * before the handlers. 0 or -ENOMEM. */
struct heimdall_service;
int heimdall_service_create(struct heimdall_service **out, struct rpc_server *server,
                            const struct api_env *env);

/* What a peer is told now; NULL when there is no such peer or memory is short. Freed by
 * connect_response__free_unpacked. */
Pb__ConnectResponse *api_env_connect_response(const struct api_env *env, const char *peer_id);

/* Changes still under way answer nobody; destroy the writer first. Takes NULL. */
void heimdall_service_destroy(struct heimdall_service *handlers);

#endif
