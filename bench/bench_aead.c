#include "base/bytes.h"
#include "wg/crypto/aead.h"
#include "wg/crypto/crypto.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What sealing and opening packets costs: each variant of the AEAD that this processor has, and
 * OpenSSL's EVP called once a packet with its key and nonce, as a program without a batch calls
 * it. Rounds are interleaved, so that a ratio compares what ran at the same time; the figures are
 * medians. One core.
 *
 * usage: bench_aead [ROUNDS [BYTES_A_ROUND]] */

enum { MAX_ROUNDS = 99, MAX_VARIANTS = 8, MAX_LEN = 16384, MAX_BATCH = 32, OTHERS = 1 };

static const size_t lengths[] = {16, 64, 512, 1440, 4096, 16384};

static const struct {
    const char *name;
    size_t packets;
    bool keys; /* one for each packet */
} batches[] = {{"single", 1, false}, {"batch of 32", 32, false}, {"32, 32 keys", 32, true}};

static uint8_t plain[MAX_BATCH][MAX_LEN + AEAD_TAG_LEN];
static uint8_t sealed[MAX_BATCH][MAX_LEN + AEAD_TAG_LEN];
static uint8_t keys[MAX_BATCH][AEAD_KEY_LEN];
static size_t rounds = 15;
static size_t bytes_a_round = 4 << 20;

static void die(const char *what)
{
    fprintf(stderr, "bench_aead: %s failed\n", what);
    exit(1);
}

/* --- one way to seal and open ------------------------------------------------------------------ */

struct contender {
    const struct aead_variant *variant; /* NULL: OpenSSL */
    EVP_CIPHER_CTX *evp;
};

static void evp_seal(EVP_CIPHER_CTX *evp, const struct aead_op *op)
{
    uint8_t nonce[AEAD_NONCE_LEN] = {0};
    int len;
    store_le64(nonce + 4, op->counter);
    if (EVP_EncryptInit_ex(evp, NULL, NULL, op->key, nonce) != 1 ||
        EVP_EncryptUpdate(evp, op->dst, &len, op->src, (int)op->len) != 1 ||
        EVP_EncryptFinal_ex(evp, op->dst + len, &len) != 1 ||
        EVP_CIPHER_CTX_ctrl(evp, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_LEN, op->dst + op->len) != 1)
        die("sealing with OpenSSL");
}

static void evp_open(EVP_CIPHER_CTX *evp, const struct aead_op *op)
{
    uint8_t nonce[AEAD_NONCE_LEN] = {0};
    int len;
    store_le64(nonce + 4, op->counter);
    if (EVP_DecryptInit_ex(evp, NULL, NULL, op->key, nonce) != 1 ||
        EVP_CIPHER_CTX_ctrl(evp, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_LEN,
                            (void *)(uintptr_t)(op->src + op->len)) != 1 ||
        EVP_DecryptUpdate(evp, op->dst, &len, op->src, (int)op->len) != 1 ||
        EVP_DecryptFinal_ex(evp, op->dst + len, &len) != 1)
        die("opening with OpenSSL");
}

static void run(const struct contender *who, struct aead_op *ops, size_t count, bool open)
{
    if (who->variant == NULL) {
        for (size_t i = 0; i < count; i++) {
            if (open)
                evp_open(who->evp, &ops[i]);
            else
                evp_seal(who->evp, &ops[i]);
        }
    } else if (!open) {
        who->variant->seal(ops, count);
    } else if (who->variant->open(ops, count) != count) {
        die(who->variant->name);
    }
}

/* --- measuring --------------------------------------------------------------------------------- */

static void prepare(struct aead_op *ops, size_t batch, size_t len, bool open)
{
    for (size_t i = 0; i < batches[batch].packets; i++) {
        ops[i] = (struct aead_op){.key = keys[batches[batch].keys ? i : 0],
                                  .counter = i,
                                  .src = open ? sealed[i] : plain[i],
                                  .len = len,
                                  .dst = open ? plain[i] : sealed[i]};
    }
}

/* Processor time of this thread. */
static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* GB/s. Opens what the same contender has just sealed. */
static double measure(const struct contender *who, size_t batch, size_t len, bool open)
{
    struct aead_op ops[MAX_BATCH];
    size_t count = batches[batch].packets;
    size_t times = bytes_a_round / (len * count);
    times = times > 20000 / count ? 20000 / count : times > 0 ? times : 1;
    prepare(ops, batch, len, false);
    run(who, ops, count, false);
    prepare(ops, batch, len, open);
    uint64_t before = cpu_ns();
    for (size_t i = 0; i < times; i++)
        run(who, ops, count, open);
    uint64_t took = cpu_ns() - before;
    return (double)(len * count * times) / (double)took;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void row(const struct contender *all, size_t count, size_t batch, size_t len, bool open)
{
    static double figures[MAX_VARIANTS + OTHERS][MAX_ROUNDS];
    for (size_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < count; i++)
            figures[i][round] = measure(&all[i], batch, len, open);
    }
    for (size_t i = 0; i < count; i++)
        qsort(figures[i], rounds, sizeof figures[i][0], compare);
    double other = figures[count - 1][rounds / 2];
    printf("%-12s %-5s %6zu", batches[batch].name, open ? "open" : "seal", len);
    for (size_t i = 0; i < count; i++)
        printf("  %6.2f (%4.1f)", figures[i][rounds / 2], figures[i][rounds / 2] / other);
    printf("\n");
    fflush(stdout);
}

static size_t find_contenders(struct contender *all)
{
    size_t count = 0;
    for (size_t i = 0; aead_variant_at(i) != NULL && count < MAX_VARIANTS; i++) {
        if (aead_variant_at(i)->usable())
            all[count++].variant = aead_variant_at(i);
    }
    EVP_CIPHER_CTX *evp = EVP_CIPHER_CTX_new();
    if (evp == NULL || EVP_CipherInit_ex(evp, EVP_chacha20_poly1305(), NULL, NULL, NULL, 1) != 1)
        die("OpenSSL's set-up");
    all[count++].evp = evp;
    return count;
}

static size_t number(const char *text, size_t most)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value == 0 || value > most) {
        fprintf(stderr, "usage: bench_aead [ROUNDS [BYTES_A_ROUND]]\n");
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    struct contender all[MAX_VARIANTS + OTHERS] = {0};
    if (argc > 1)
        rounds = number(argv[1], MAX_ROUNDS);
    if (argc > 2)
        bytes_a_round = number(argv[2], SIZE_MAX);
    if (crypto_init() < 0)
        die("the crypto's set-up");
    for (size_t i = 0; i < MAX_BATCH; i++)
        memset(keys[i], (int)(i + 1), AEAD_KEY_LEN);
    size_t count = find_contenders(all);
    printf("GB/s (times OpenSSL's EVP, called per packet)\n%-25s", "");
    for (size_t i = 0; i < count; i++)
        printf("  %-13s", all[i].variant != NULL ? all[i].variant->name : "openssl");
    printf("\n");
    for (size_t batch = 0; batch < sizeof batches / sizeof batches[0]; batch++) {
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            row(all, count, batch, lengths[i], false);
            row(all, count, batch, lengths[i], true);
        }
    }
    EVP_CIPHER_CTX_free(all[count - 1].evp);
    return 0;
}
