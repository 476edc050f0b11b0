#include "control/state/strength.h"

#include "tests/unit.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { NEEDED = 96 };

/* Words, names, dates and what fingers find on a keyboard. */
static const char *const weak[] = {
    "correct-horse-battery-staple",
    "CorrectHorseBatteryStaple",
    "correcthorsebatterystaple2024",
    "passwordpasswordpasswordABC",
    "iloveyouverymuchmydarling",
    "Heimdall2026Heimdall2027",
    "qwertyuiopasdfghjklzxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "qazwsxedcrfvtgbyhnujmikolp",
    "johnsmith.laptop.example.com",
    "alice-smith-macbook-pro-2023",
    "maria.gonzalez.rodriguez.1985",
    "jean-pierre.dupont.marseille",
    "20261128router20261129",
    "19700101-19991231-20000229-20261128",
    "the-quick-brown-fox-jumps-over",
    "mein-geheimes-passwort-fuer-alle",
    "donaudampfschifffahrtsgesellschaft",
    "my-super-secret-cluster-key-2026",
    "kubernetes-production-cluster-01",
    "raspberrypi-livingroom-media-center",
    "deadbeefdeadbeefdeadbeefdeadbeef",
    "0123456789abcdef0123456789abcdef",
    "THISISMYSECRETANDNOBODYKNOWSIT",
    "abcabcabcabcabcabcabcabcabcabcabcabc",
    "11111111-2222-3333-4444-555555555555",
};

START_TEST(words_are_weak)
{
    unsigned bits = strength_bits(weak[_i]);
    ck_assert_msg(bits < NEEDED, "%s: %u", weak[_i], bits);
}
END_TEST

static const struct {
    const char *text;
    unsigned bits;
} strong[] = {
    {"", 0},
    {"a", 4},
    {"9c76f92d-d55a-46c0-84d6-58c98144283", 124}, /* the original's README */
    {"b66920f5-0256-4694-9be9-1ab0ff8962d0", 128},
    {"01ARZ3NDEKTSV4RRFFQ69G5FAV", 134}, /* a ULID */
    {"V1StGXR8_Z5jdHi6B-myT", 113},      /* a Nano ID */
    {"Zm9vYmFyYmF6cXV4cXV1eA", 130},
    {"aWgEPTl1tmebfsQzFP4bxwgy80V", 160}, /* a KSUID */
};

START_TEST(random_texts_are_strong)
{
    ck_assert_uint_eq(strength_bits(strong[_i].text), strong[_i].bits);
}
END_TEST

/* Random texts of 128 bits, from a seed: how many seem weak. */
static const struct {
    const char *alphabet;
    size_t len;
    unsigned most; /* of 10,000 */
} random_texts[] = {
    {"0123456789abcdef", 32, 0},
    {"0123456789", 39, 0},
    {"0123456789abcdefghijklmnopqrstuvwxyz", 25, 30},
    {"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 26, 30},
    {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 22, 10},
    {"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", 22, 10},
    {"abcdefghijklmnopqrstuvwxyz", 28, 100},
};

static uint64_t next(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

START_TEST(few_random_texts_seem_weak)
{
    uint64_t seed = 1;
    unsigned found = 0;
    size_t letters = strlen(random_texts[_i].alphabet);
    for (int n = 0; n < 10000; n++) {
        char text[64] = "";
        for (size_t i = 0; i < random_texts[_i].len; i++)
            text[i] = random_texts[_i].alphabet[next(&seed) % letters];
        found += strength_bits(text) < NEEDED;
    }
    ck_assert_uint_le(found, random_texts[_i].most);
}
END_TEST

/* No text, however long, makes it read beyond its end. */
START_TEST(long_text)
{
    char text[1001];
    memset(text, 'x', sizeof text);
    for (size_t len = 0; len < sizeof text; len++) {
        text[len] = '\0';
        ck_assert_uint_le(strength_bits(text), 20);
        text[len] = 'x';
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("strength");
    tcase_add_loop_test(tc, words_are_weak, 0, ARRAY_LEN(weak));
    tcase_add_loop_test(tc, random_texts_are_strong, 0, ARRAY_LEN(strong));
    tcase_add_loop_test(tc, few_random_texts_seem_weak, 0, ARRAY_LEN(random_texts));
    tcase_add_test(tc, long_text);
    return unit_run(tc);
}
