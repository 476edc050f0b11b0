#ifndef CONTROL_API_KEYRING_H
#define CONTROL_API_KEYRING_H

#include "control/rpc/transport_tls.h"

#include <stdint.h>
#include <uv.h>

/* The secrets that open a connection without a certificate: the cluster key and every authorized
 * peer id, looked up by the hash that stands for them on the wire. */

struct keyring;
struct state;

/* Copies the cluster key, which destroy wipes, and stretches it, which may take 0.1 s. `seed` is
 * random. 0, -ENOMEM or -EIO. */
int keyring_create(struct keyring **out, const char *cluster_key, const uint8_t seed[16]);
void keyring_destroy(struct keyring *keyring);

/* Peers whose stretched secret is not in the store (older versions wrote none) can connect once it
 * is computed, on the loop's thread pool. Without this they never can, except by the name that
 * programs before 0.2 use. */
void keyring_complete(struct keyring *keyring, uv_loop_t *loop);

/* Follows the state's authorizations. `removed` runs for each id that lost its authorization. 0, or
 * -ENOMEM with the keyring unchanged. */
int keyring_update(struct keyring *keyring, const struct state *state,
                   void (*removed)(void *ctx, const char *id), void *ctx);

/* The same, for one id whose authorization may have changed. */
int keyring_update_id(struct keyring *keyring, const struct state *state, const char *id,
                      void (*removed)(void *ctx, const char *id), void *ctx);

/* For transport_tls_create_psk_server; the keyring must outlive what uses it. */
struct transport_secrets keyring_secrets(struct keyring *keyring);

#endif
