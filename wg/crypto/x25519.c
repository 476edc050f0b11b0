#include "wg/crypto/x25519.h"

#include "base/bytes.h"

#include <sodium.h>

void x25519_clamp(uint8_t key[X25519_LEN])
{
    key[0] &= 248;
    key[31] = (uint8_t)((key[31] & 127) | 64);
}

void x25519_public(uint8_t public_key[X25519_LEN], const uint8_t private_key[X25519_LEN])
{
    crypto_scalarmult_curve25519_base(public_key, private_key);
}

bool x25519_shared(uint8_t shared[X25519_LEN], const uint8_t private_key[X25519_LEN],
                   const uint8_t public_key[X25519_LEN])
{
    bool ok = crypto_scalarmult_curve25519(shared, private_key, public_key) == 0;
    if (!ok || bytes_is_zero_ct(shared, X25519_LEN)) {
        bytes_wipe(shared, X25519_LEN);
        return false;
    }
    return true;
}
