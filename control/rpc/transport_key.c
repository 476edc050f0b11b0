#include "control/rpc/transport_key.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/sha.h>
#include <string.h>

static const char identity_label[] = "heimdall psk identity";
static const char derive_salt[] = "heimdall control v1";

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
