#include "base/bytes.h"
#include "wg/crypto/aead.h"

#include <assert.h>
#include <sodium.h>

/* Seals and opens one packet after another with libsodium: the reference for every other
 * variant. */

static_assert(AEAD_KEY_LEN == crypto_aead_chacha20poly1305_ietf_KEYBYTES, "key");
static_assert(AEAD_TAG_LEN == crypto_aead_chacha20poly1305_ietf_ABYTES, "tag");

struct nonce {
    uint8_t bytes[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
};

static struct nonce nonce_from_counter(uint64_t counter)
{
    struct nonce nonce = {{0}};
    store_le64(nonce.bytes + 4, counter);
    return nonce;
}

static bool usable(void)
{
    return true;
}

static void seal(struct aead_op *ops, size_t count)
{
    for (struct aead_op *op = ops; op < ops + count; op++) {
        struct nonce nonce = nonce_from_counter(op->counter);
        crypto_aead_chacha20poly1305_ietf_encrypt_detached(op->dst, op->dst + op->len, NULL,
                                                           op->src, op->len, NULL, 0, NULL,
                                                           nonce.bytes, op->key);
    }
}

static size_t open_all(struct aead_op *ops, size_t count)
{
    size_t authentic = 0;
    for (struct aead_op *op = ops; op < ops + count; op++) {
        struct nonce nonce = nonce_from_counter(op->counter);
        op->ok = crypto_aead_chacha20poly1305_ietf_decrypt_detached(op->dst, NULL, op->src, op->len,
                                                                    op->src + op->len, NULL, 0,
                                                                    nonce.bytes, op->key) == 0;
        authentic += op->ok;
    }
    return authentic;
}

const struct aead_variant aead_sodium = {"sodium", usable, seal, open_all};
