#include "wg/psk.h"

#include "base/bytes.h"
#include "wg/crypto/blake2s.h"
#include "wg/crypto/hkdf.h"

#include <string.h>

/* KDF1(KDF1(HASH(label), secret), lower key || higher key || round), with the functions of the
 * WireGuard paper, section 5.4. */
void wg_psk_derive(uint8_t psk[32], const void *secret, size_t secret_len, const uint8_t a[32],
                   const uint8_t b[32], uint64_t round)
{
    static const char label[] = "Heimdall WireGuard preshared key v1";
    uint8_t chaining_key[HKDF_LEN];
    uint8_t context[32 + 32 + 8];
    bool in_order = memcmp(a, b, 32) <= 0;
    memcpy(context, in_order ? a : b, 32);
    memcpy(context + 32, in_order ? b : a, 32);
    store_be64(context + 64, round);
    blake2s_hash(chaining_key, label, sizeof label - 1, NULL, 0);
    hkdf_kdf1(chaining_key, chaining_key, secret, secret_len);
    hkdf_kdf1(psk, chaining_key, context, sizeof context);
    bytes_wipe(chaining_key, sizeof chaining_key);
}
