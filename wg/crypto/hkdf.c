#include "wg/crypto/hkdf.h"

#include "base/bytes.h"
#include "wg/crypto/blake2s.h"

#include <string.h>

/* One of HMAC's two hashes: HASH((key ^ pad) || bytes). */
static void pad_and_hash(uint8_t out[HKDF_LEN], const uint8_t key[BLAKE2S_BLOCK_LEN], uint8_t pad,
                         const uint8_t *bytes, size_t len)
{
    uint8_t block[BLAKE2S_BLOCK_LEN];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = key[i] ^ pad;
    blake2s_hash(out, block, sizeof block, bytes, len);
    bytes_wipe(block, sizeof block);
}

void hkdf_hmac(uint8_t out[HKDF_LEN], const uint8_t *key, size_t key_len, const uint8_t *bytes,
               size_t len)
{
    uint8_t block[BLAKE2S_BLOCK_LEN] = {0};
    uint8_t inner[HKDF_LEN];
    if (key_len > sizeof block)
        blake2s_hash(block, key, key_len, NULL, 0);
    else if (key_len > 0)
        memcpy(block, key, key_len);
    pad_and_hash(inner, block, 0x36, bytes, len);
    pad_and_hash(out, block, 0x5c, inner, sizeof inner);
    bytes_wipe(block, sizeof block);
    bytes_wipe(inner, sizeof inner);
}

/* T1 = HMAC(T0, 1), Tn = HMAC(T0, Tn-1 || n) with T0 = HMAC(chaining key, input). */
static void expand(uint8_t *const *outs, uint8_t count, const uint8_t chaining_key[HKDF_LEN],
                   const uint8_t *input, size_t len)
{
    uint8_t t0[HKDF_LEN];
    uint8_t chain[HKDF_LEN + 1];
    size_t chained = 0;
    hkdf_hmac(t0, chaining_key, HKDF_LEN, input, len);
    for (uint8_t n = 1; n <= count; n++) {
        chain[chained] = n;
        hkdf_hmac(outs[n - 1], t0, sizeof t0, chain, chained + 1);
        chained = HKDF_LEN;
        memcpy(chain, outs[n - 1], HKDF_LEN);
    }
    bytes_wipe(t0, sizeof t0);
    bytes_wipe(chain, sizeof chain);
}

void hkdf_kdf1(uint8_t t1[HKDF_LEN], const uint8_t chaining_key[HKDF_LEN], const uint8_t *input,
               size_t len)
{
    expand((uint8_t *const[]){t1}, 1, chaining_key, input, len);
}

void hkdf_kdf2(uint8_t t1[HKDF_LEN], uint8_t t2[HKDF_LEN], const uint8_t chaining_key[HKDF_LEN],
               const uint8_t *input, size_t len)
{
    expand((uint8_t *const[]){t1, t2}, 2, chaining_key, input, len);
}

void hkdf_kdf3(uint8_t t1[HKDF_LEN], uint8_t t2[HKDF_LEN], uint8_t t3[HKDF_LEN],
               const uint8_t chaining_key[HKDF_LEN], const uint8_t *input, size_t len)
{
    expand((uint8_t *const[]){t1, t2, t3}, 3, chaining_key, input, len);
}
