#ifndef WG_CRYPTO_BLAKE2S_H
#define WG_CRYPTO_BLAKE2S_H

#include <stddef.h>
#include <stdint.h>

/* BLAKE2s (RFC 7693). The incremental form's verbs differ from the library's, whose names are
 * taken. */

enum {
    BLAKE2S_HASH_LEN = 32,
    BLAKE2S_BLOCK_LEN = 64,
    BLAKE2S_MAC_LEN = 16, /* output of WireGuard's MAC() */
};

struct blake2s {
    uint8_t state[192];
};

/* `key` has 1 to 32 bytes, or is NULL for none. `out_len`, 1 to 32, is part of the hash. */
void blake2s_begin(struct blake2s *hash, size_t out_len, const uint8_t *key, size_t key_len);
void blake2s_absorb(struct blake2s *hash, const void *bytes, size_t len);

/* Writes the `out_len` of begin and wipes the state. */
void blake2s_finish(struct blake2s *hash, uint8_t *out);

/* HASH(a || b) of the paper's section 5.4; either may be empty. */
void blake2s_hash(uint8_t out[BLAKE2S_HASH_LEN], const void *a, size_t a_len, const void *b,
                  size_t b_len);

/* MAC(key, bytes): keyed BLAKE2s with 16 bytes of output. `key_len` is 1 to 32. */
void blake2s_mac(uint8_t out[BLAKE2S_MAC_LEN], const uint8_t *key, size_t key_len,
                 const void *bytes, size_t len);

#endif
