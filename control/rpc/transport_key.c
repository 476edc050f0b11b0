#include "control/rpc/transport_key.h"

#include "base/bytes.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <string.h>

static const char identity_label[] = "heimdall psk identity";
static const char derive_salt[] = "heimdall control v1";
static const char stretch_salt[] = "heimdall secret v2";

enum {
    RANDOM_ROUNDS = 1000,
    SCRYPT_N = 1 << 15,
    SCRYPT_R = 8,
    SCRYPT_MEMORY = 64 << 20,
    UUID_LEN = 36,
    HEX_LEN = 32,
};

void transport_sha256(uint8_t out[32], const void *bytes, size_t len)
{
    SHA256(bytes, len, out);
}

void transport_secret_hash(uint8_t out[TRANSPORT_HASH_LEN], const char *secret)
{
    char text[sizeof identity_label + TRANSPORT_SECRET_MAX];
    size_t label = sizeof identity_label - 1;
    size_t len = strnlen(secret, TRANSPORT_SECRET_MAX);
    memcpy(text, identity_label, label);
    memcpy(text + label, secret, len);
    transport_sha256(out, text, label + len);
    OPENSSL_cleanse(text, sizeof text);
}

/* Forms that programs make of random bytes, not people: nothing but hex digits, or a UUID that is
 * not of one of RFC 9562's versions made of a time, an address or a name. */
static bool is_made_by_program(const char *secret)
{
    size_t len = strlen(secret), hex = strspn(secret, "0123456789abcdef");
    if (hex == len)
        return len >= HEX_LEN;
    if (len != UUID_LEN || (secret[14] != '4' && strchr("89ab", secret[19]) != NULL))
        return false;
    for (size_t i = 0; i < len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? secret[i] != '-' : strchr("0123456789abcdef", secret[i]) == NULL)
            return false;
    }
    return true;
}

int transport_stretch_bytes(uint8_t out[TRANSPORT_STRETCHED_LEN], const char *secret)
{
    const uint8_t *salt = (const uint8_t *)stretch_salt;
    size_t salt_len = sizeof stretch_salt - 1, len = strlen(secret);
    int done = is_made_by_program(secret)
                   ? PKCS5_PBKDF2_HMAC(secret, (int)len, salt, (int)salt_len, RANDOM_ROUNDS,
                                       EVP_sha256(), TRANSPORT_STRETCHED_LEN, out)
                   : EVP_PBE_scrypt(secret, len, salt, salt_len, SCRYPT_N, SCRYPT_R, 1,
                                    SCRYPT_MEMORY, out, TRANSPORT_STRETCHED_LEN);
    return done == 1 ? 0 : -EIO;
}

int transport_stretch(char out[TRANSPORT_STRETCHED], const char *secret)
{
    uint8_t bytes[TRANSPORT_STRETCHED_LEN];
    int rv = transport_stretch_bytes(bytes, secret);
    if (rv == 0)
        bytes_to_hex(out, bytes, sizeof bytes);
    bytes_wipe(bytes, sizeof bytes);
    return rv;
}

int transport_derive(uint8_t *out, size_t len, const char *secret, const char *label)
{
    int rv = -EIO;
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = kdf == NULL ? NULL : EVP_KDF_CTX_new(kdf);
    if (ctx != NULL) {
        OSSL_PARAM params[] = {
            OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t) "SHA256",
                                             0),
            OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)secret,
                                              strlen(secret)),
            OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)derive_salt,
                                              sizeof derive_salt - 1),
            OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)label,
                                              strlen(label)),
            OSSL_PARAM_construct_end(),
        };
        if (EVP_KDF_derive(ctx, out, len, params) == 1)
            rv = 0;
    }
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return rv;
}
