#include "wg/crypto/hkdf.h"

#include "base/bytes.h"
#include "tests/unit.h"

#include <string.h>

static void check_hex(const uint8_t bytes[HKDF_LEN], const char *expected)
{
    char text[2 * HKDF_LEN + 1];
    bytes_to_hex(text, bytes, HKDF_LEN);
    ck_assert_str_eq(text, expected);
}

/* Expected by Python's hmac over hashlib.blake2s; keys around the block's length. */
static const struct {
    size_t key_len;
    size_t len;
    const char *expected;
} hmacs[] = {
    {0, 0, "eaf4bb25938f4d20e72656bbbc7a9bf63c0c18537333c35bdb67db1402661acd"},
    {32, 1, "9fbb21a0dbaad0e483a088b959e214c2c7c68c7b6d1287e3e3ce2bb861d876c1"},
    {64, 64, "27b03a8508eb96b9cda384da4870e0998199f4f129b235f67a36164e2a638fae"},
    {65, 100, "ddd2f3d49450ae67532009ac885d40a2b1fd37136d1b5eafbcd3351e710653d4"},
    {200, 3, "3a5ea176cc8db42ff663d017e52fd65e6b7d7bb9d1099132400347c05f2e0afe"},
};

START_TEST(hmac)
{
    uint8_t key[200];
    uint8_t in[100];
    uint8_t out[HKDF_LEN];
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)(i * 3);
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i * 5 + 1);
    hkdf_hmac(out, key, hmacs[_i].key_len, in, hmacs[_i].len);
    check_hex(out, hmacs[_i].expected);
}
END_TEST

/* Expected by Python, as above; the chaining key is replaced where it stands. */
START_TEST(kdf)
{
    static const char *const expected[] = {
        "7549292a18924e4650e30782dcb391405bfc457d68825d4b9a61ee88fd12ce98",
        "5d595d32330385e9a64283383320132cc9b5a6974dcda5e1345349fb237f2e87",
        "f90108a6a0ebd35074b39b2fd5d1711d1399f697b47c4013bc3837e55bae320d"};
    const uint8_t *in = (const uint8_t *)"heimdall";
    uint8_t key[HKDF_LEN];
    uint8_t t[4][HKDF_LEN];
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    hkdf_kdf1(t[0], key, in, 8);
    check_hex(t[0], expected[0]);
    hkdf_kdf2(t[0], t[1], key, in, 8);
    check_hex(t[0], expected[0]);
    check_hex(t[1], expected[1]);
    hkdf_kdf2(t[0], t[1], key, NULL, 0);
    check_hex(t[0], "7a38c34bf2b8738d7374ca77c44ecb309a11d2b2528304fa86052c365e722624");
    check_hex(t[1], "1a17621f346abdc520746a9fb64d8eb03231d674fc15687537b0780fd9c060fd");
    hkdf_kdf3(key, t[1], t[2], key, in, 8);
    check_hex(key, expected[0]);
    check_hex(t[1], expected[1]);
    check_hex(t[2], expected[2]);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("hkdf");
    tcase_add_loop_test(tc, hmac, 0, ARRAY_LEN(hmacs));
    tcase_add_test(tc, kdf);
    return unit_run(tc);
}
