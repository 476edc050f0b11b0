#ifndef WG_CRYPTO_X25519_H
#define WG_CRYPTO_X25519_H

#include <stdbool.h>
#include <stdint.h>

/* X25519 (RFC 7748). */
enum { X25519_LEN = 32 };

/* Turns 32 random bytes into a private key, in place. Idempotent. */
void x25519_clamp(uint8_t key[X25519_LEN]);

/* Clamps a copy of the private key, so it may be unclamped. */
void x25519_public(uint8_t public_key[X25519_LEN], const uint8_t private_key[X25519_LEN]);

/* False, with `shared` zeroed, when the result is all zero: `public_key` is a low-order point. */
bool x25519_shared(uint8_t shared[X25519_LEN], const uint8_t private_key[X25519_LEN],
                   const uint8_t public_key[X25519_LEN]) __attribute__((warn_unused_result));

#endif
