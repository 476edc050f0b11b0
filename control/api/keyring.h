#ifndef CONTROL_API_KEYRING_H
#define CONTROL_API_KEYRING_H

#include "control/rpc/transport_tls.h"

#include <stdint.h>

/* Who may open a connection without a certificate: holders of the cluster key, and every authorized
 * peer id. Looked up by the hash that stands for the secret on the wire. */

struct keyring;
struct state;

/* Keeps a copy of the cluster key, wiped by destroy. `seed` is random. 0 or -ENOMEM. */
int keyring_create(struct keyring **out, const char *cluster_key, const uint8_t seed[16]);
void keyring_destroy(struct keyring *keyring);

/* Follows the state's authorizations. `removed` runs for each id that is authorized no more. 0, or
 * -ENOMEM with the keyring as before. */
int keyring_update(struct keyring *keyring, const struct state *state,
                   void (*removed)(void *ctx, const char *id), void *ctx);

/* The same for one id whose authorization may have changed. */
int keyring_update_id(struct keyring *keyring, const struct state *state, const char *id,
                      void (*removed)(void *ctx, const char *id), void *ctx);

/* For transport_tls_create_psk_server; the keyring must outlive what uses it. */
struct transport_secrets keyring_secrets(struct keyring *keyring);

#endif
