#include "base/bytes.h"
#include "tests/unit.h"
#include "wg/crypto/aead.h"
#include "wg/crypto/crypto.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* Batches drawn from a seed, each variant against libsodium, and what a variant leaves on its
 * stack. */

enum {
    MAX_VARIANTS = 8,
    MAX_OPS = 40,
    MAX_LEN = 9000,
    MAX_ALIGN = 64,
    ROUNDS = 400,
    STACK = 1 << 18,
};

struct packet {
    uint8_t bytes[MAX_ALIGN + MAX_LEN + AEAD_TAG_LEN + 1];
};

static struct packet from[MAX_OPS];
static struct packet to[MAX_OPS];
static uint8_t plain[MAX_OPS][MAX_LEN];
static uint8_t expected[MAX_OPS][MAX_LEN + AEAD_TAG_LEN];
static uint8_t keys[MAX_OPS][AEAD_KEY_LEN];
static uint64_t state;

static uint64_t draw(uint64_t below)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (state >> 33) % below;
}

static void draw_bytes(uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)draw(256);
}

static const struct aead_variant *variant_at(int place)
{
    ck_assert_int_eq(crypto_init(), 0);
    const struct aead_variant *variant = aead_variant_at((size_t)place);
    return variant != NULL && variant->usable() ? variant : NULL;
}

/* --- random batches ---------------------------------------------------------------------------- */

/* Lengths near each other, near nothing, or a few large ones among many small: how lanes are
 * shared and sums aligned depends on it. */
static size_t draw_len(uint64_t style, size_t common)
{
    switch (style) {
    case 0:
        return common;
    case 1:
        return common < MAX_LEN - 40 ? common + draw(40) : common;
    case 2:
        return draw(4) == 0 ? draw(MAX_LEN + 1) : draw(100);
    default:
        return draw(2048);
    }
}

static void prepare(struct aead_op *op, size_t i, size_t len, bool in_place, bool one_key)
{
    uint8_t nonce[AEAD_NONCE_LEN] = {0};
    uint8_t *src = from[i].bytes + draw(MAX_ALIGN);
    uint8_t *dst = in_place ? src : to[i].bytes + draw(MAX_ALIGN);
    if (!one_key || i == 0)
        draw_bytes(keys[i], AEAD_KEY_LEN);
    draw_bytes(plain[i], len);
    memcpy(src, plain[i], len);
    *op = (struct aead_op){
        keys[one_key ? 0 : i], state * UINT64_C(0x9e3779b97f4a7c15), src, len, dst, false};
    store_le64(nonce + 4, op->counter);
    crypto_aead_chacha20poly1305_ietf_encrypt(expected[i], NULL, plain[i], len, NULL, 0, NULL,
                                              nonce, op->key);
    dst[len + AEAD_TAG_LEN] = 0xa5; /* is to stay */
}

START_TEST(random_batches)
{
    const struct aead_variant *variant = variant_at(_i);
    struct aead_op ops[MAX_OPS];
    if (variant == NULL)
        return;
    for (unsigned round = 0; round < ROUNDS; round++) {
        state = round + 1;
        size_t count = 1 + draw(MAX_OPS);
        uint64_t style = draw(4);
        size_t common = draw(2) == 0 ? draw(300) : draw(1600);
        bool in_place = draw(2) == 0;
        bool one_key = draw(2) == 0;
        for (size_t i = 0; i < count; i++)
            prepare(&ops[i], i, draw_len(style, common), in_place, one_key);
        variant->seal(ops, count);
        for (size_t i = 0; i < count; i++) {
            ck_assert_mem_eq(ops[i].dst, expected[i], ops[i].len + AEAD_TAG_LEN);
            ck_assert_uint_eq(ops[i].dst[ops[i].len + AEAD_TAG_LEN], 0xa5);
        }

        size_t authentic = 0;
        bool spoilt[MAX_OPS];
        for (size_t i = 0; i < count; i++) {
            uint8_t *sealed = ops[i].dst;
            spoilt[i] = draw(5) == 0;
            authentic += !spoilt[i];
            if (spoilt[i])
                sealed[draw(ops[i].len + AEAD_TAG_LEN)] ^= (uint8_t)(1U << draw(8));
            ops[i].dst = in_place ? sealed : from[i].bytes + draw(MAX_ALIGN);
            ops[i].src = sealed;
            ops[i].ok = spoilt[i];
        }
        ck_assert_uint_eq(variant->open(ops, count), authentic);
        for (size_t i = 0; i < count; i++) {
            ck_assert(ops[i].ok == !spoilt[i]);
            ck_assert(spoilt[i] || ops[i].len == 0 ||
                      memcmp(ops[i].dst, plain[i], ops[i].len) == 0);
        }
    }
}
END_TEST

/* --- the edges of the MAC's arithmetic --------------------------------------------------------- */

/* Texts that make the ciphertext all ones, all zeros, or ones in single places, so that sums come
 * close to 2^130 - 5; for each of several one-time keys. */
START_TEST(extreme_sums)
{
    const struct aead_variant *variant = variant_at(_i);
    enum { LEN = 1040, KEYS = 64, COUNT = 8 };
    struct aead_op ops[COUNT];
    uint8_t stream[LEN];
    static const uint8_t zeros[LEN];
    if (variant == NULL)
        return;
    for (unsigned k = 0; k < KEYS; k++) {
        uint8_t nonce[AEAD_NONCE_LEN] = {0};
        state = k + 77;
        draw_bytes(keys[0], AEAD_KEY_LEN);
        store_le64(nonce + 4, k);
        crypto_stream_chacha20_ietf_xor_ic(stream, zeros, LEN, nonce, 1, keys[0]);
        for (size_t i = 0; i < COUNT; i++) {
            for (size_t b = 0; b < LEN; b++) {
                static const uint8_t wanted[COUNT] = {0xff, 0x00, 0xfb, 0xff,
                                                      0x80, 0xff, 0x01, 0xff};
                uint8_t text = i % 2 == 0 || b % 16 < 2 * i ? wanted[i] : 0xff;
                plain[i][b] = stream[b] ^ text;
            }
            size_t len = LEN - 16 * i * (k % 3);
            ops[i] = (struct aead_op){keys[0], k, plain[i], len, to[i].bytes, false};
            crypto_aead_chacha20poly1305_ietf_encrypt(expected[i], NULL, plain[i], len, NULL, 0,
                                                      NULL, nonce, keys[0]);
        }
        size_t count = 1 + k % COUNT;
        variant->seal(ops, count);
        for (size_t i = 0; i < count; i++)
            ck_assert_mem_eq(ops[i].dst, expected[i], ops[i].len + AEAD_TAG_LEN);
    }
}
END_TEST

/* --- what stays on the stack ------------------------------------------------------------------- */

struct call {
    const struct aead_variant *variant;
    struct aead_op *ops;
    size_t count;
    bool open;
};

static void *make_call(void *ctx)
{
    struct call *call = ctx;
    if (call->open)
        call->variant->open(call->ops, call->count);
    else
        call->variant->seal(call->ops, call->count);
    return NULL;
}

static void on_stack(uint8_t *stack, struct call *call)
{
    pthread_attr_t attr;
    pthread_t thread;
    memset(stack, 0, STACK);
    ck_assert_int_eq(pthread_attr_init(&attr), 0);
    ck_assert_int_eq(pthread_attr_setstack(&attr, stack, STACK), 0);
    ck_assert_int_eq(pthread_create(&thread, &attr, make_call, call), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attr);
}

static bool holds(const uint8_t *stack, const void *needle, size_t len)
{
    return memmem(stack, STACK, needle, len) != NULL;
}

/* The key, the one-time key and the keystream; also words of the key as a row of equal lanes. */
static void check_stack(const uint8_t *stack, const struct aead_op *op)
{
    static uint8_t stream[MAX_LEN];
    static const uint8_t zeros[MAX_LEN];
    uint8_t nonce[AEAD_NONCE_LEN] = {0};
    store_le64(nonce + 4, op->counter);
    size_t len = 64 + op->len / 16 * 16;
    crypto_stream_chacha20_ietf_xor_ic(stream, zeros, len, nonce, 0, op->key);
    for (size_t i = 0; i < AEAD_KEY_LEN; i += 4) {
        uint8_t row[16];
        for (size_t lane = 0; lane < sizeof row; lane += 4)
            memcpy(row + lane, op->key + i, 4);
        ck_assert_msg(!holds(stack, row, sizeof row), "word %zu of the key in a row", i / 4);
    }
    for (size_t i = 0; i + 16 <= AEAD_KEY_LEN; i += 8)
        ck_assert_msg(!holds(stack, op->key + i, 16), "byte %zu of the key", i);
    for (size_t i = 0; i + 8 <= len; i += 8)
        ck_assert_msg(!holds(stack, stream + i, 8), "byte %zu of the keystream", i);
}

START_TEST(nothing_stays_on_the_stack)
{
    static const struct {
        size_t count;
        size_t len;
    } rows[] = {{1, 16}, {1, 1440}, {2, 700}, {8, 64}, {16, 1440}, {20, 333}};
    const struct aead_variant *variant = variant_at(_i);
    struct aead_op ops[MAX_OPS];
    uint8_t *stack;
#ifdef HEIMDALL_SANITIZED
    return; /* a sanitizer has shadow stacks, and its threads take no stack from outside */
#endif
    if (variant == NULL || strcmp(variant->name, "sodium") == 0)
        return; /* the library's stack is not ours to wipe */
    stack = aligned_alloc(4096, STACK);
    ck_assert(stack != NULL);
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        state = row + 5;
        for (size_t i = 0; i < rows[row].count; i++)
            prepare(&ops[i], i, rows[row].len, true, row % 2 == 0);
        struct call call = {variant, ops, rows[row].count, false};
        on_stack(stack, &call);
        check_stack(stack, &ops[0]);
        check_stack(stack, &ops[rows[row].count - 1]);
        call.open = true;
        on_stack(stack, &call);
        check_stack(stack, &ops[0]);
        check_stack(stack, &ops[rows[row].count - 1]);
    }
    free(stack);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("aead_batch");
    tcase_add_loop_test(tc, random_batches, 0, MAX_VARIANTS);
    tcase_add_loop_test(tc, extreme_sums, 0, MAX_VARIANTS);
    tcase_add_loop_test(tc, nothing_stays_on_the_stack, 0, MAX_VARIANTS);
    return unit_run(tc);
}
