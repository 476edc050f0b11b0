#ifndef WG_CRYPTO_AEAD_H
#define WG_CRYPTO_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ChaCha20-Poly1305 (RFC 8439): many packets a call, and the two single-message forms that
 * handshakes use. */

enum {
    AEAD_KEY_LEN = 32,
    AEAD_TAG_LEN = 16,
    AEAD_NONCE_LEN = 12,
    XAEAD_NONCE_LEN = 24,
};

/* One packet without associated data. The nonce is 4 zero bytes and the counter in little endian
 * (WireGuard paper, section 5.4.6). */
struct aead_op {
    const uint8_t *key; /* AEAD_KEY_LEN bytes */
    uint64_t counter;
    const uint8_t *src; /* seal: len bytes; open: len + AEAD_TAG_LEN bytes */
    size_t len;         /* of the plaintext */
    uint8_t *dst;       /* seal: len + AEAD_TAG_LEN bytes; open: len bytes */
    bool ok;            /* open: the tag is right */
};

/* `dst` is exactly `src` (in place) or does not overlap it, nor any other operation's memory. A
 * seal cannot fail. */
void aead_seal(struct aead_op *ops, size_t count);

/* Sets `ok` of each and returns how many are authentic. Where the tag is wrong, the `len` bytes at
 * `dst` are unspecified, but hold no plaintext. */
size_t aead_open(struct aead_op *ops, size_t count);

/* One implementation of the above. */
struct aead_variant {
    const char *name;
    bool (*usable)(void); /* this processor can run it */
    void (*seal)(struct aead_op *ops, size_t count);
    size_t (*open)(struct aead_op *ops, size_t count);
};

/* Returns the variants of this build, best first; NULL behind the last. */
const struct aead_variant *aead_variant_at(size_t place);

extern const struct aead_variant aead_avx512; /* with IFMA; x86-64 alone, like the next */
extern const struct aead_variant aead_avx2;
extern const struct aead_variant aead_sodium;

/* Forces a variant by name, or with NULL takes the best usable one. False leaves the choice
 * unchanged. No other thread may seal or open meanwhile. */
bool aead_select(const char *name);
const char *aead_selected(void);

/* One message with associated data. `sealed` has len + AEAD_TAG_LEN bytes; `plain` may be NULL when
 * len is 0; neither overlaps the other. Opening returns false, with `plain` zeroed, when the
 * message is not authentic; `len` is that of the plaintext. */
void aead_seal_one(uint8_t *sealed, const uint8_t *plain, size_t len, const uint8_t *aad,
                   size_t aad_len, const uint8_t nonce[AEAD_NONCE_LEN],
                   const uint8_t key[AEAD_KEY_LEN]);
bool aead_open_one(uint8_t *plain, const uint8_t *sealed, size_t len, const uint8_t *aad,
                   size_t aad_len, const uint8_t nonce[AEAD_NONCE_LEN],
                   const uint8_t key[AEAD_KEY_LEN]) __attribute__((warn_unused_result));

/* The same with nonce 0, for a handshake field. */
void aead_seal_field(uint8_t *sealed, const uint8_t *plain, size_t len, const uint8_t *aad,
                     size_t aad_len, const uint8_t key[AEAD_KEY_LEN]);
bool aead_open_field(uint8_t *plain, const uint8_t *sealed, size_t len, const uint8_t *aad,
                     size_t aad_len, const uint8_t key[AEAD_KEY_LEN])
    __attribute__((warn_unused_result));

/* XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), shaped like aead_seal_one. */
void xaead_seal(uint8_t *sealed, const uint8_t *plain, size_t len, const uint8_t *aad,
                size_t aad_len, const uint8_t nonce[XAEAD_NONCE_LEN],
                const uint8_t key[AEAD_KEY_LEN]);
bool xaead_open(uint8_t *plain, const uint8_t *sealed, size_t len, const uint8_t *aad,
                size_t aad_len, const uint8_t nonce[XAEAD_NONCE_LEN],
                const uint8_t key[AEAD_KEY_LEN]) __attribute__((warn_unused_result));

#endif
