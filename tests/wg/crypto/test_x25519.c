#include "wg/crypto/x25519.h"

#include "base/bytes.h"
#include "tests/unit.h"

#include <string.h>

/* RFC 7748, sections 5.2 and 6.1 */
static const struct {
    const char *scalar;
    const char *point;
    const char *expected;
} vectors[] = {
    {"a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
     "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
     "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"},
    {"4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
     "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
     "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"},
    {"5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
     "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
     "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"},
    {"5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
     "0900000000000000000000000000000000000000000000000000000000000000",
     "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"},
};

START_TEST(rfc7748)
{
    uint8_t scalar[32];
    uint8_t point[32];
    uint8_t expected[32];
    uint8_t out[32];
    bytes_from_hex(scalar, 32, vectors[_i].scalar);
    bytes_from_hex(point, 32, vectors[_i].point);
    bytes_from_hex(expected, 32, vectors[_i].expected);
    ck_assert(x25519_shared(out, scalar, point));
    ck_assert_mem_eq(out, expected, 32);
    if (point[0] == 9 && bytes_is_zero_ct(point + 1, 31)) {
        x25519_public(out, scalar);
        ck_assert_mem_eq(out, expected, 32);
    }
}
END_TEST

/* RFC 7748, section 5.2: each result is the next scalar, the scalar the next point. */
START_TEST(rfc7748_iterated)
{
    uint8_t k[32] = {9};
    uint8_t u[32] = {9};
    uint8_t out[32];
    char text[65];
    for (int i = 1; i <= 1000; i++) {
        ck_assert(x25519_shared(out, k, u));
        memcpy(u, k, 32);
        memcpy(k, out, 32);
        bytes_to_hex(text, k, 32);
        if (i == 1)
            ck_assert_str_eq(text,
                             "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
    }
    ck_assert_str_eq(text, "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}
END_TEST

/* The points of order 1, 2, 4 and 8, in every encoding below 2^255 (cr.yp.to/ecdh.html). */
static const char *const low_order[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"};

START_TEST(low_order_refused)
{
    uint8_t scalar[32];
    uint8_t point[32];
    uint8_t out[32];
    memset(scalar, 0x5a, 32);
    bytes_from_hex(point, 32, low_order[_i % 7]);
    point[31] |= (uint8_t)(_i >= 7 ? 0x80 : 0); /* the top bit is ignored */
    memset(out, 1, 32);
    ck_assert(!x25519_shared(out, scalar, point));
    ck_assert(bytes_is_zero_ct(out, 32));
}
END_TEST

START_TEST(clamp)
{
    uint8_t key[32];
    uint8_t clamped[32];
    uint8_t a[32];
    uint8_t b[32];
    memset(key, 0xff, 32);
    memcpy(clamped, key, 32);
    x25519_clamp(clamped);
    ck_assert_uint_eq(clamped[0], 0xf8);
    ck_assert_uint_eq(clamped[31], 0x7f);
    memset(a, 0, 32);
    x25519_clamp(a);
    ck_assert_uint_eq(a[0], 0);
    ck_assert_uint_eq(a[31], 0x40);
    x25519_public(a, key);
    x25519_public(b, clamped);
    ck_assert_mem_eq(a, b, 32);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("x25519");
    tcase_add_loop_test(tc, rfc7748, 0, ARRAY_LEN(vectors));
    tcase_add_test(tc, rfc7748_iterated);
    tcase_add_loop_test(tc, low_order_refused, 0, 14);
    tcase_add_test(tc, clamp);
    return unit_run(tc);
}
