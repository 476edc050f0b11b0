#include "wg/crypto/blake2s.h"

#include "base/bytes.h"
#include "tests/unit.h"

#include <string.h>

static void check_hex(const uint8_t *bytes, size_t len, const char *expected)
{
    char text[65];
    bytes_to_hex(text, bytes, len);
    ck_assert_str_eq(text, expected);
}

/* RFC 7693, appendix E: the generator of inputs of its self-test. */
static void generate(uint8_t *out, size_t len, uint32_t seed)
{
    uint32_t a = UINT32_C(0xdead4bad) * seed;
    uint32_t b = 1;
    for (size_t i = 0; i < len; i++) {
        uint32_t t = a + b;
        a = b;
        b = t;
        out[i] = (uint8_t)(t >> 24);
    }
}

/* RFC 7693, appendix E: one hash over the hashes of 6 lengths in 4 sizes, with and without key. */
START_TEST(rfc7693_self_test)
{
    static const size_t out_lens[] = {16, 20, 28, 32};
    static const size_t lens[] = {0, 3, 64, 65, 255, 1024};
    uint8_t in[1024];
    uint8_t key[32];
    uint8_t out[32];
    struct blake2s all;
    struct blake2s one;
    blake2s_begin(&all, 32, NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(out_lens); i++) {
        for (size_t j = 0; j < ARRAY_LEN(lens); j++) {
            generate(in, lens[j], (uint32_t)lens[j]);
            generate(key, out_lens[i], (uint32_t)out_lens[i]);
            blake2s_begin(&one, out_lens[i], NULL, 0);
            blake2s_absorb(&one, in, lens[j]);
            blake2s_finish(&one, out);
            blake2s_absorb(&all, out, out_lens[i]);
            blake2s_begin(&one, out_lens[i], key, out_lens[i]);
            blake2s_absorb(&one, in, lens[j]);
            blake2s_finish(&one, out);
            blake2s_absorb(&all, out, out_lens[i]);
        }
    }
    blake2s_finish(&all, out);
    check_hex(out, 32, "6a411f08ce25adcdfb02aba641451cec53c598b24f4fc787fbdc88797f4c1dfe");
}
END_TEST

/* RFC 7693, appendix B */
START_TEST(rfc7693_abc)
{
    uint8_t out[32];
    blake2s_hash(out, "abc", 3, NULL, 0);
    check_hex(out, 32, "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
    blake2s_hash(out, "a", 1, "bc", 2);
    check_hex(out, 32, "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
}
END_TEST

/* Expected by Python's hashlib. */
START_TEST(mac)
{
    uint8_t in[100];
    uint8_t out[BLAKE2S_MAC_LEN];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)i;
    blake2s_mac(out, (const uint8_t *)"key of 16 bytes!", 16, in, sizeof in);
    check_hex(out, sizeof out, "3e0b561ebd2d484d1bce96f4597f1ec6");
}
END_TEST

START_TEST(pieces_and_wiping)
{
    uint8_t in[300];
    uint8_t whole[32];
    uint8_t out[32];
    struct blake2s hash;
    generate(in, sizeof in, 1);
    blake2s_hash(whole, in, sizeof in, NULL, 0);
    for (size_t piece = 1; piece <= sizeof in; piece++) {
        blake2s_begin(&hash, 32, NULL, 0);
        for (size_t at = 0; at < sizeof in; at += piece)
            blake2s_absorb(&hash, in + at, at + piece < sizeof in ? piece : sizeof in - at);
        blake2s_finish(&hash, out);
        ck_assert_mem_eq(out, whole, 32);
    }
    ck_assert(bytes_is_zero_ct(&hash, sizeof hash));
    /* the output may be an input */
    memcpy(out, in, 32);
    blake2s_hash(out, out, 32, in + 32, sizeof in - 32);
    ck_assert_mem_eq(out, whole, 32);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("blake2s");
    tcase_add_test(tc, rfc7693_self_test);
    tcase_add_test(tc, rfc7693_abc);
    tcase_add_test(tc, mac);
    tcase_add_test(tc, pieces_and_wiping);
    return unit_run(tc);
}
