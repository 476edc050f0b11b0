#include "wg/crypto/aead.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

static_assert(AEAD_NONCE_LEN == crypto_aead_chacha20poly1305_ietf_NPUBBYTES, "nonce");

static const struct aead_variant *const variants[] = {
#ifdef AEAD_X86
    &aead_avx512,
    &aead_avx2,
#endif
    &aead_sodium,
    NULL,
};
static const struct aead_variant *selected = &aead_sodium;

const struct aead_variant *aead_variant_at(size_t place)
{
    return place < sizeof variants / sizeof variants[0] ? variants[place] : NULL;
}

bool aead_select(const char *name)
{
    for (const struct aead_variant *const *v = variants; *v != NULL; v++) {
        if ((name == NULL || strcmp(name, (*v)->name) == 0) && (*v)->usable()) {
            selected = *v;
            return true;
        }
    }
    return false;
}

const char *aead_selected(void)
{
    return selected->name;
}

void aead_seal(struct aead_op *ops, size_t count)
{
    selected->seal(ops, count);
}

size_t aead_open(struct aead_op *ops, size_t count)
{
    return selected->open(ops, count);
}

void aead_seal_one(uint8_t *sealed, const uint8_t *plain, size_t len, const uint8_t *aad,
                   size_t aad_len, const uint8_t nonce[AEAD_NONCE_LEN],
                   const uint8_t key[AEAD_KEY_LEN])
{
    crypto_aead_chacha20poly1305_ietf_encrypt_detached(sealed, sealed + len, NULL, plain, len, aad,
                                                       aad_len, NULL, nonce, key);
}

bool aead_open_one(uint8_t *plain, const uint8_t *sealed, size_t len, const uint8_t *aad,
                   size_t aad_len, const uint8_t nonce[AEAD_NONCE_LEN],
                   const uint8_t key[AEAD_KEY_LEN])
{
    return crypto_aead_chacha20poly1305_ietf_decrypt_detached(
               plain, NULL, sealed, len, sealed + len, aad, aad_len, nonce, key) == 0;
}

static const uint8_t zero_nonce[AEAD_NONCE_LEN];

void aead_seal_field(uint8_t *sealed, const uint8_t *plain, size_t len, const uint8_t *aad,
                     size_t aad_len, const uint8_t key[AEAD_KEY_LEN])
{
    aead_seal_one(sealed, plain, len, aad, aad_len, zero_nonce, key);
}

bool aead_open_field(uint8_t *plain, const uint8_t *sealed, size_t len, const uint8_t *aad,
                     size_t aad_len, const uint8_t key[AEAD_KEY_LEN])
{
    return aead_open_one(plain, sealed, len, aad, aad_len, zero_nonce, key);
}

void xaead_seal(uint8_t *sealed, const uint8_t *plain, size_t len, const uint8_t *aad,
                size_t aad_len, const uint8_t nonce[XAEAD_NONCE_LEN],
                const uint8_t key[AEAD_KEY_LEN])
{
    crypto_aead_xchacha20poly1305_ietf_encrypt_detached(sealed, sealed + len, NULL, plain, len, aad,
                                                        aad_len, NULL, nonce, key);
}

bool xaead_open(uint8_t *plain, const uint8_t *sealed, size_t len, const uint8_t *aad,
                size_t aad_len, const uint8_t nonce[XAEAD_NONCE_LEN],
                const uint8_t key[AEAD_KEY_LEN])
{
    return crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
               plain, NULL, sealed, len, sealed + len, aad, aad_len, nonce, key) == 0;
}
