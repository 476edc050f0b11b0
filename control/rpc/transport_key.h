#ifndef CONTROL_RPC_TRANSPORT_KEY_H
#define CONTROL_RPC_TRANSPORT_KEY_H

#include <stddef.h>
#include <stdint.h>

/* Keys and names that are derived from a secret: the cluster key, or a peer's id. */

enum {
    TRANSPORT_HASH_LEN = 32,
    TRANSPORT_SECRET_MAX = 256, /* with its NUL */
};

/* SHA-256("heimdall psk identity" || secret): goes over the wire in place of a secret. */
void transport_secret_hash(uint8_t out[TRANSPORT_HASH_LEN], const char *secret);

/* HKDF-SHA-256 of a secret for a purpose, up to 64 bytes; each purpose has its own label. 0 or
 * -EIO. */
int transport_derive(uint8_t *out, size_t len, const char *secret, const char *label);
void transport_sha256(uint8_t out[32], const void *bytes, size_t len);

#endif
