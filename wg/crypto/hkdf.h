#ifndef WG_CRYPTO_HKDF_H
#define WG_CRYPTO_HKDF_H

#include <stddef.h>
#include <stdint.h>

enum { HKDF_LEN = 32 };

/* HMAC-BLAKE2s (RFC 2104) with any key length. */
void hkdf_hmac(uint8_t out[HKDF_LEN], const uint8_t *key, size_t key_len, const uint8_t *bytes,
               size_t len);

/* KDF1, KDF2 and KDF3 of the WireGuard paper, section 5.4. An output may be the chaining key
 * itself; outputs are otherwise apart from one another and from the input. */
void hkdf_kdf1(uint8_t t1[HKDF_LEN], const uint8_t chaining_key[HKDF_LEN], const uint8_t *input,
               size_t len);
void hkdf_kdf2(uint8_t t1[HKDF_LEN], uint8_t t2[HKDF_LEN], const uint8_t chaining_key[HKDF_LEN],
               const uint8_t *input, size_t len);
void hkdf_kdf3(uint8_t t1[HKDF_LEN], uint8_t t2[HKDF_LEN], uint8_t t3[HKDF_LEN],
               const uint8_t chaining_key[HKDF_LEN], const uint8_t *input, size_t len);

#endif
