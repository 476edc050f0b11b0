#ifndef CONTROL_API_KEYRING_H
#define CONTROL_API_KEYRING_H

#include "control/rpc/transport_tls.h"

#include <stdint.h>

/* The secrets that open a connection without a certificate: the cluster key and every authorized
 * peer id, looked up by the hash that stands for them on the wire. */

struct keyring;
struct state;

/* Copies the cluster key; destroy wipes it. `seed` is random. 0 or -ENOMEM. */
int keyring_create(struct keyring **out, const char *cluster_key, const uint8_t seed[16]);
void keyring_destroy(struct keyring *keyring);

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
