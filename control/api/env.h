#ifndef CONTROL_API_ENV_H
#define CONTROL_API_ENV_H

#include "proto/heimdall.pb-c.h"

#include <stdint.h>

/* What the services see of their node. */

struct path_info;
struct report_host;
struct state;
struct tap;
struct writer;

/* All that it points at outlives the services. */
struct api_env {
    const char *node_id;
    const char *cluster_key;
    const char *public_key; /* of the tunnel, base64 */
    uint64_t run;           /* random, for this run of the process */
    struct writer *writer;
    void *ctx;
    const struct state *(*state)(void *ctx); /* NULL: not loaded yet */
    /* Brings the data plane and the watchers up to the state before a change is answered. */
    void (*settle)(void *ctx);
    /* A peer with this tunnel key has proved who it is: its clock may have gone back since its last
     * handshake. May be NULL. */
    void (*peer_connected)(void *ctx, const uint8_t public_key[32]);
    int (*tunnel_info)(void *ctx, struct path_info *out);
    void (*host)(void *ctx, struct report_host *out); /* `out` borrows its strings */
    /* Tries the host, then calls `done` on the loop, within some seconds; `host` has the results.
     * checkup_forget takes a call back that was not made yet. */
    void (*checkup)(void *ctx, void (*done)(void *ctx), void *done_ctx);
    void (*checkup_forget)(void *ctx, void *done_ctx);
    struct tap *(*tap)(void *ctx);        /* of the node's UDP port */
    const char *(*dns_domain)(void *ctx); /* NULL: peers must not ask our resolver */
};

/* The peer's current configuration. Returns NULL without such a peer or without memory. Freed by
 * pb__connect_response__free_unpacked. */
Pb__ConnectResponse *api_env_connect_response(const struct api_env *env, const char *peer_id);

#endif
