#include "base/bytes.h"

#include "tests/unit.h"

#include <string.h>

START_TEST(hex_round_trip)
{
    uint8_t in[256];
    uint8_t out[256];
    char text[513];
    for (int i = 0; i < 256; i++)
        in[i] = (uint8_t)i;
    bytes_to_hex(text, in, sizeof in);
    ck_assert_str_eq(text + 2 * 0xf8, "f8f9fafbfcfdfeff");
    ck_assert(bytes_from_hex(out, sizeof out, text));
    ck_assert_mem_eq(in, out, sizeof in);
    ck_assert(bytes_from_hex(out, 2, "AbCd"));
    ck_assert_mem_eq(out, "\xab\xcd", 2);
}
END_TEST

START_TEST(hex_refuses)
{
    static const char *const bad[] = {"",     "abc",  "abcde", "zzzz", "ab g",
                                      "ab:d", "ab@d", "ab`d",  "/bcd"};
    uint8_t out[2];
    ck_assert(!bytes_from_hex(out, sizeof out, bad[_i]));
}
END_TEST

/* RFC 4648 section 10 */
static const struct {
    const char *plain;
    const char *text;
} rfc4648[] = {{"", ""},
               {"f", "Zg=="},
               {"fo", "Zm8="},
               {"foo", "Zm9v"},
               {"foob", "Zm9vYg=="},
               {"fooba", "Zm9vYmE="},
               {"foobar", "Zm9vYmFy"}};

START_TEST(base64_rfc4648)
{
    char text[16];
    uint8_t plain[8] = {0};
    size_t len = strlen(rfc4648[_i].plain);
    bytes_to_base64(text, (const uint8_t *)rfc4648[_i].plain, len);
    ck_assert_str_eq(text, rfc4648[_i].text);
    ck_assert(bytes_from_base64(plain, len, text));
    ck_assert_str_eq((char *)plain, rfc4648[_i].plain);
}
END_TEST

START_TEST(base64_every_byte)
{
    for (int i = 0; i < 65536; i += 7) {
        uint8_t in[3] = {(uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(i * 31)};
        uint8_t out[3];
        char text[5];
        bytes_to_base64(text, in, 3);
        ck_assert(bytes_from_base64(out, 3, text));
        ck_assert_mem_eq(in, out, 3);
    }
}
END_TEST

START_TEST(base64_refuses)
{
    /* lengths, alphabet, padding in the wrong place, bits behind the last byte */
    static const char *const bad[] = {
        "Zg=", "Zg===", "Zg", "Z===", "Zh==", "Zm9v", "Z-==", "====", "Zg=A", "Z g="};
    uint8_t out[1];
    ck_assert(!bytes_from_base64(out, sizeof out, bad[_i]));
}
END_TEST

START_TEST(byte_order)
{
    uint8_t b[8];
    store_be64(b, UINT64_C(0x0102030405060708));
    ck_assert_mem_eq(b, "\1\2\3\4\5\6\7\10", 8);
    ck_assert_uint_eq(load_be64(b), UINT64_C(0x0102030405060708));
    ck_assert_uint_eq(load_be32(b), 0x01020304);
    ck_assert_uint_eq(load_be16(b), 0x0102);
    ck_assert_uint_eq(load_le32(b), 0x04030201);
    ck_assert_uint_eq(load_le64(b), UINT64_C(0x0807060504030201));
    store_le64(b, UINT64_C(0x0102030405060708));
    ck_assert_mem_eq(b, "\10\7\6\5\4\3\2\1", 8);
}
END_TEST

START_TEST(comparison)
{
    uint8_t a[33] = {0};
    uint8_t b[33] = {0};
    ck_assert(bytes_equal_ct(a, b, 33));
    ck_assert(bytes_is_zero_ct(a, 33));
    a[32] = 0x80;
    ck_assert(!bytes_equal_ct(a, b, 33));
    ck_assert(!bytes_is_zero_ct(a, 33));
    ck_assert(bytes_equal_ct(a, b, 32));
    bytes_wipe(a, 33);
    ck_assert(bytes_is_zero_ct(a, 33));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("bytes");
    tcase_add_test(tc, hex_round_trip);
    tcase_add_loop_test(tc, hex_refuses, 0, 9);
    tcase_add_loop_test(tc, base64_rfc4648, 0, 7);
    tcase_add_test(tc, base64_every_byte);
    tcase_add_loop_test(tc, base64_refuses, 0, 10);
    tcase_add_test(tc, byte_order);
    tcase_add_test(tc, comparison);
    return unit_run(tc);
}
