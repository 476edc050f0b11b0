#include "wg/crypto/aead.h"

#include "base/bytes.h"
#include "tests/unit.h"
#include "wg/crypto/blake2s.h"
#include "wg/crypto/crypto.h"

#include <sodium.h>
#include <string.h>

enum { MAX_LEN = 2048, MAX_VARIANTS = 8, BATCH = 40 };

static uint8_t key[AEAD_KEY_LEN];

static void fill(uint8_t *out, size_t len, size_t seed)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(i * 7 + seed);
}

/* Each test runs once a variant; those that this machine cannot run, or that do not exist, are
 * passed over. */
static bool use_variant(int place)
{
    ck_assert_int_eq(crypto_init(), 0);
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)(i + 1);
    const struct aead_variant *variant = aead_variant_at((size_t)place);
    return variant != NULL && variant->usable() && aead_select(variant->name);
}

static void from_hex(uint8_t *out, size_t len, const char *hex)
{
    ck_assert(bytes_from_hex(out, len, hex));
}

START_TEST(selection)
{
    ck_assert_int_eq(crypto_init(), 0);
    ck_assert_int_eq(crypto_init(), 0);
    ck_assert(aead_variant_at(0) != NULL);
    ck_assert(aead_variant_at(MAX_VARIANTS) == NULL);
    ck_assert(aead_select("sodium"));
    ck_assert_str_eq(aead_selected(), "sodium");
    ck_assert(!aead_select("none such"));
    ck_assert_str_eq(aead_selected(), "sodium");
}
END_TEST

/* The BLAKE2s hash of 2049 sealed packets, computed with Python's `cryptography` package. */
START_TEST(every_length_known)
{
    static uint8_t packet[MAX_LEN + AEAD_TAG_LEN];
    struct blake2s hash;
    uint8_t digest[32];
    char text[65];
    if (!use_variant(_i))
        return;
    blake2s_begin(&hash, 32, NULL, 0);
    for (size_t len = 0; len <= MAX_LEN; len++) {
        fill(packet, len, len);
        struct aead_op op = {.key = key,
                             .counter = len * UINT64_C(0x0101010101010101) + 1,
                             .src = packet,
                             .len = len,
                             .dst = packet};
        aead_seal(&op, 1);
        blake2s_absorb(&hash, packet, len + AEAD_TAG_LEN);
    }
    blake2s_finish(&hash, digest);
    bytes_to_hex(text, digest, sizeof digest);
    ck_assert_str_eq(text, "6d3a486b2214f5724e2cb9e270abc98d9aeb3f52497d29bb0769d3de6f32af3a");
}
END_TEST

static void check_one(uint8_t *src, uint8_t *dst, size_t len, const uint8_t *expected)
{
    static uint8_t plain[MAX_LEN];
    fill(plain, len, len);
    memcpy(src, plain, len);
    struct aead_op op = {.key = key, .counter = len, .src = src, .len = len, .dst = dst};
    aead_seal(&op, 1);
    ck_assert_mem_eq(dst, expected, len + AEAD_TAG_LEN);
    op.src = dst;
    op.dst = src;
    ck_assert_uint_eq(aead_open(&op, 1), 1);
    ck_assert(op.ok);
    ck_assert(len == 0 || memcmp(src, plain, len) == 0);
}

START_TEST(every_length_against_libsodium)
{
    static uint8_t a[MAX_LEN + 64];
    static uint8_t b[MAX_LEN + 64];
    static uint8_t expected[MAX_LEN + AEAD_TAG_LEN];
    if (!use_variant(_i))
        return;
    for (size_t len = 0; len <= MAX_LEN; len++) {
        uint8_t nonce[12] = {0};
        store_le64(nonce + 4, len);
        fill(a, len, len);
        crypto_aead_chacha20poly1305_ietf_encrypt(expected, NULL, a, len, NULL, 0, NULL, nonce,
                                                  key);
        size_t align = len % 33;
        check_one(a + align, b + (align * 7) % 33, len, expected);
        check_one(a + align, a + align, len, expected);
    }
}
END_TEST

/* Packets of many lengths, keys and counters in one call; every third is damaged in turn at its
 * first byte, its last byte, its tag, its counter, its key. */
START_TEST(batch)
{
    static uint8_t packets[BATCH][MAX_LEN + AEAD_TAG_LEN];
    static uint8_t keys[BATCH][AEAD_KEY_LEN];
    static uint8_t plain[MAX_LEN];
    struct aead_op ops[BATCH];
    size_t damaged = 0;
    if (!use_variant(_i))
        return;
    for (size_t i = 0; i < BATCH; i++) {
        size_t len = i * i % (MAX_LEN + 1) + (i > 0);
        fill(keys[i], AEAD_KEY_LEN, i);
        fill(packets[i], len, i);
        ops[i] =
            (struct aead_op){keys[i], UINT64_MAX / (i + 1), packets[i], len, packets[i], false};
    }
    aead_seal(ops, BATCH);
    for (size_t i = 1; i < BATCH; i += 3, damaged++) {
        switch (damaged % 5) {
        case 0:
            packets[i][0] ^= 1;
            break;
        case 1:
            packets[i][ops[i].len - 1] ^= 0x80;
            break;
        case 2:
            packets[i][ops[i].len + damaged] ^= 4;
            break;
        case 3:
            ops[i].counter ^= UINT64_C(1) << 40;
            break;
        case 4:
            keys[i][31] ^= 1;
            break;
        }
    }
    ck_assert_uint_eq(aead_open(ops, BATCH), BATCH - damaged);
    for (size_t i = 0; i < BATCH; i++) {
        fill(plain, ops[i].len, i);
        ck_assert(ops[i].ok == (i % 3 != 1));
        bool same = memcmp(packets[i], plain, ops[i].len) == 0;
        ck_assert(same == ops[i].ok || ops[i].len == 0);
    }
}
END_TEST

/* One wrong bit anywhere, tag included, and nothing is released, in place or not. */
START_TEST(every_bit_counts)
{
    enum { LEN = 80 };
    uint8_t plain[LEN];
    uint8_t sealed[LEN + AEAD_TAG_LEN];
    uint8_t out[LEN];
    if (!use_variant(_i))
        return;
    fill(plain, LEN, 1);
    for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
        struct aead_op op = {key, 9, plain, LEN, sealed, false};
        aead_seal(&op, 1);
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        op = (struct aead_op){key, 9, sealed, LEN, bit % 2 ? sealed : out, true};
        ck_assert_uint_eq(aead_open(&op, 1), 0);
        ck_assert(!op.ok);
        for (size_t i = 0; i + 8 <= LEN; i++)
            ck_assert(memcmp(op.dst + i, plain + i, 8) != 0);
    }
}
END_TEST

/* Expected by Python's `cryptography` package. */
START_TEST(fields)
{
    uint8_t plain[48];
    uint8_t aad[32];
    uint8_t sealed[64];
    uint8_t expected[64];
    uint8_t out[48];
    use_variant(0);
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof aad; i++)
        aad[i] = (uint8_t)(100 + i);
    from_hex(
        expected, 64,
        "638bd51563c7af3e93423c5b9bd3a337ebcd9dea4dd17a1b31bb9c17dca5adceeaf775b30faab625d37ba2"
        "a495a61a1a33d750011a2c380351c04b167fbf1779");
    aead_seal_field(sealed, plain, 48, aad, sizeof aad, key);
    ck_assert_mem_eq(sealed, expected, 64);
    ck_assert(aead_open_field(out, sealed, 48, aad, sizeof aad, key));
    ck_assert_mem_eq(out, plain, 48);
    aad[31] ^= 1;
    ck_assert(!aead_open_field(out, sealed, 48, aad, sizeof aad, key));
    ck_assert(bytes_is_zero_ct(out, 48));

    from_hex(expected, 16, "9543187ed82c767988c79a66172d3167");
    aead_seal_field(sealed, NULL, 0, (const uint8_t *)"heimdall", 8, key);
    ck_assert_mem_eq(sealed, expected, 16);
    ck_assert(aead_open_field(out, sealed, 0, (const uint8_t *)"heimdall", 8, key));
    sealed[3] ^= 1;
    ck_assert(!aead_open_field(out, sealed, 0, (const uint8_t *)"heimdall", 8, key));
}
END_TEST

/* draft-irtf-cfrg-xchacha-03, appendix A.3.1 */
START_TEST(xchacha)
{
    static const char text[] = "Ladies and Gentlemen of the class of '99: If I could offer you "
                               "only one tip for the future, sunscreen would be it.";
    enum { LEN = sizeof text - 1 };
    uint8_t long_key[32];
    uint8_t nonce[XAEAD_NONCE_LEN];
    uint8_t aad[12];
    uint8_t sealed[LEN + AEAD_TAG_LEN];
    uint8_t expected[LEN + AEAD_TAG_LEN];
    uint8_t out[LEN];
    use_variant(0);
    for (size_t i = 0; i < sizeof long_key; i++)
        long_key[i] = (uint8_t)(0x80 + i);
    for (size_t i = 0; i < sizeof nonce; i++)
        nonce[i] = (uint8_t)(0x40 + i);
    from_hex(aad, sizeof aad, "50515253c0c1c2c3c4c5c6c7");
    from_hex(
        expected, sizeof expected,
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a8"
        "2f4eda7e39ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369"
        "488f76b2383565d3fff921f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf"
        "49");
    xaead_seal(sealed, (const uint8_t *)text, LEN, aad, sizeof aad, nonce, long_key);
    ck_assert_mem_eq(sealed, expected, sizeof sealed);
    ck_assert(xaead_open(out, sealed, LEN, aad, sizeof aad, nonce, long_key));
    ck_assert_mem_eq(out, text, LEN);
    nonce[0] ^= 1;
    ck_assert(!xaead_open(out, sealed, LEN, aad, sizeof aad, nonce, long_key));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("aead");
    tcase_add_test(tc, selection);
    tcase_add_loop_test(tc, every_length_known, 0, MAX_VARIANTS);
    tcase_add_loop_test(tc, every_length_against_libsodium, 0, MAX_VARIANTS);
    tcase_add_loop_test(tc, batch, 0, MAX_VARIANTS);
    tcase_add_loop_test(tc, every_bit_counts, 0, MAX_VARIANTS);
    tcase_add_test(tc, fields);
    tcase_add_test(tc, xchacha);
    return unit_run(tc);
}
