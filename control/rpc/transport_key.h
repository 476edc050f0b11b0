#ifndef CONTROL_RPC_TRANSPORT_KEY_H
#define CONTROL_RPC_TRANSPORT_KEY_H

#include <stddef.h>
#include <stdint.h>

/* Keys and names that are derived from a secret: the cluster key, or a peer's id. */

enum {
    TRANSPORT_HASH_LEN = 32,
    TRANSPORT_SECRET_MAX = 256, /* with its NUL */
    TRANSPORT_STRETCHED_LEN = 32,
    TRANSPORT_STRETCHED = 2 * TRANSPORT_STRETCHED_LEN + 1,
};

/* The secret that keys and names are derived from: what a person may have chosen is made costly to
 * guess, because whoever hears a handshake can try one guess after the other. PBKDF2 with 1,000
 * rounds for a random UUID or 32 hex digits and more, else scrypt with 32 MiB (RFC 8018, RFC 7914),
 * which takes about 0.1 s. `out` is text: hex digits. 0 or -EIO. */
int transport_stretch(char out[TRANSPORT_STRETCHED], const char *secret);

/* The same as bytes, and the text of such bytes. */
int transport_stretch_bytes(uint8_t out[TRANSPORT_STRETCHED_LEN], const char *secret);

/* SHA-256("heimdall psk identity" || secret): goes over the wire in place of a stretched secret. */
void transport_secret_hash(uint8_t out[TRANSPORT_HASH_LEN], const char *secret);

/* HKDF-SHA-256 of a stretched secret for a purpose, up to 64 bytes; each purpose has its own label.
 * 0 or -EIO. */
int transport_derive(uint8_t *out, size_t len, const char *secret, const char *label);
void transport_sha256(uint8_t out[32], const void *bytes, size_t len);

#endif
