#include "base/bytes.h"
#include "tests/unit.h"
#include "wg/crypto/aead.h"
#include "wg/crypto/crypto.h"
#include "wg/crypto/x25519.h"

#include <stdio.h>
#include <string.h>

/* Project Wycheproof's vectors, all of them, against what wg/crypto offers. What an entry cannot
 * express is counted and printed. */

enum { LINE = 4096, MAX_LEN = 1024, FIELDS = 8, MAX_VARIANTS = 8 };

struct bytes {
    uint8_t bytes[MAX_LEN];
    size_t len;
};

/* A line of the table, cut into its fields. */
struct row {
    char line[LINE];
    char *fields[FIELDS];
    size_t count;
};

static FILE *open_table(const char *name)
{
    char path[LINE];
    (void)snprintf(path, sizeof path, "%s/%s.txt", WYCHEPROOF_DIR, name);
    ck_assert_int_eq(crypto_init(), 0);
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "no %s", path);
    return file;
}

static bool next_row(FILE *file, struct row *row)
{
    do {
        if (fgets(row->line, sizeof row->line, file) == NULL)
            return false;
    } while (row->line[0] == '#');
    char *rest = row->line;
    row->count = 0;
    for (;;) {
        char *field = strtok_r(NULL, " \n", &rest);
        if (field == NULL)
            return true;
        ck_assert_uint_lt(row->count, FIELDS);
        row->fields[row->count++] = field;
    }
}

static void read_hex(struct bytes *out, const char *hex)
{
    out->len = strcmp(hex, "-") == 0 ? 0 : strlen(hex) / 2;
    ck_assert_uint_le(out->len, sizeof out->bytes);
    if (out->len > 0)
        ck_assert(bytes_from_hex(out->bytes, out->len, hex));
}

/* All 518 apply: those with an all-zero shared secret must be refused, the others have theirs. */
START_TEST(x25519)
{
    struct row row;
    struct bytes private_key;
    struct bytes public_key;
    struct bytes expected;
    uint8_t shared[X25519_LEN];
    unsigned agreed = 0;
    unsigned refused = 0;
    FILE *file = open_table("x25519");
    while (next_row(file, &row)) {
        ck_assert_uint_eq(row.count, 5);
        read_hex(&private_key, row.fields[2]);
        read_hex(&public_key, row.fields[3]);
        read_hex(&expected, row.fields[4]);
        ck_assert(private_key.len == 32 && public_key.len == 32 && expected.len == 32);
        bool want = strcmp(row.fields[1], "shared") == 0;
        bool ok = x25519_shared(shared, private_key.bytes, public_key.bytes);
        ck_assert_msg(ok == want && memcmp(shared, expected.bytes, 32) == 0, "vector %s",
                      row.fields[0]);
        *(ok ? &agreed : &refused) += 1;
    }
    (void)fclose(file);
    printf("x25519: %u shared secrets, %u all-zero ones refused, none passed over\n", agreed,
           refused);
    ck_assert_uint_eq(agreed + refused, 518);
    ck_assert_uint_eq(refused, 31);
}
END_TEST

/* One way to seal and open, with nonces of one length. */
struct cipher {
    const char *name;
    size_t nonce_len;
    unsigned applicable;
    unsigned of_other_nonce_len;
    void (*seal)(uint8_t *sealed, const uint8_t *plain, size_t len, const uint8_t *aad,
                 size_t aad_len, const uint8_t *nonce, const uint8_t *key);
    bool (*open)(uint8_t *plain, const uint8_t *sealed, size_t len, const uint8_t *aad,
                 size_t aad_len, const uint8_t *nonce, const uint8_t *key);
};

static const struct cipher ciphers[] = {
    {"chacha20_poly1305", AEAD_NONCE_LEN, 316, 9, aead_seal_one, aead_open_one},
    {"xchacha20_poly1305", XAEAD_NONCE_LEN, 306, 9, xaead_seal, xaead_open},
};

struct vector {
    bool valid;
    struct bytes key;
    struct bytes nonce;
    struct bytes aad;
    struct bytes message;
    struct bytes sealed; /* with the tag */
};

static void read_vector(struct vector *out, const struct row *row)
{
    struct bytes tag;
    ck_assert_uint_eq(row->count, 8);
    out->valid = strcmp(row->fields[1], "valid") == 0;
    read_hex(&out->key, row->fields[2]);
    read_hex(&out->nonce, row->fields[3]);
    read_hex(&out->aad, row->fields[4]);
    read_hex(&out->message, row->fields[5]);
    read_hex(&out->sealed, row->fields[6]);
    read_hex(&tag, row->fields[7]);
    ck_assert(out->key.len == AEAD_KEY_LEN && (tag.len == AEAD_TAG_LEN || !out->valid));
    ck_assert(out->sealed.len == out->message.len || !out->valid);
    ck_assert_uint_le(out->sealed.len + tag.len, MAX_LEN);
    memcpy(out->sealed.bytes + out->sealed.len, tag.bytes, tag.len);
}

static void check_vector(const struct cipher *cipher, const struct vector *v, const char *number)
{
    static uint8_t sealed[MAX_LEN];
    static uint8_t plain[MAX_LEN];
    size_t len = v->message.len;
    memset(plain, 0xa5, sizeof plain);
    cipher->seal(sealed, v->message.bytes, len, v->aad.bytes, v->aad.len, v->nonce.bytes,
                 v->key.bytes);
    bool same = memcmp(sealed, v->sealed.bytes, len + AEAD_TAG_LEN) == 0;
    bool opened = cipher->open(plain, v->sealed.bytes, len, v->aad.bytes, v->aad.len,
                               v->nonce.bytes, v->key.bytes);
    ck_assert_msg(same == v->valid && opened == v->valid, "%s: vector %s", cipher->name, number);
    if (opened)
        ck_assert_msg(memcmp(plain, v->message.bytes, len) == 0, "%s: plaintext", number);
    else
        ck_assert_msg(bytes_is_zero_ct(plain, len), "%s: plaintext given away", number);
}

START_TEST(aead)
{
    static struct vector vector;
    const struct cipher *cipher = &ciphers[_i];
    struct row row;
    unsigned valid = 0;
    unsigned forged = 0;
    unsigned other_len = 0;
    FILE *file = open_table(cipher->name);
    while (next_row(file, &row)) {
        read_vector(&vector, &row);
        if (vector.nonce.len != cipher->nonce_len) {
            ck_assert(!vector.valid);
            other_len++;
            continue;
        }
        check_vector(cipher, &vector, row.fields[0]);
        *(vector.valid ? &valid : &forged) += 1;
    }
    (void)fclose(file);
    printf("%s: %u valid, %u forged; passed over: %u with a nonce of another length than %zu, "
           "which the interface has no way to pass\n",
           cipher->name, valid, forged, other_len, cipher->nonce_len);
    ck_assert_uint_eq(valid + forged, cipher->applicable);
    ck_assert_uint_eq(other_len, cipher->of_other_nonce_len);
}
END_TEST

/* The batch forms have no associated data and a nonce that begins with 4 zero bytes. No vector is
 * of that kind, so each variant gets the vectors' keys and messages under the rest of the nonce and
 * is held to the form that the vectors have proven. */
START_TEST(batch_variants)
{
    static struct vector vector;
    static uint8_t packet[MAX_LEN];
    static uint8_t expected[MAX_LEN];
    struct row row;
    unsigned count = 0;
    FILE *file = open_table("chacha20_poly1305");
    const struct aead_variant *variant = aead_variant_at((size_t)_i);
    while (variant != NULL && variant->usable() && next_row(file, &row)) {
        uint8_t nonce[AEAD_NONCE_LEN] = {0};
        read_vector(&vector, &row);
        if (vector.nonce.len != AEAD_NONCE_LEN)
            continue;
        memcpy(nonce + 4, vector.nonce.bytes + 4, 8);
        size_t len = vector.message.len;
        struct aead_op op = {
            vector.key.bytes, load_le64(nonce + 4), vector.message.bytes, len, packet, false};
        aead_seal_one(expected, vector.message.bytes, len, NULL, 0, nonce, vector.key.bytes);
        variant->seal(&op, 1);
        ck_assert_mem_eq(packet, expected, len + AEAD_TAG_LEN);
        op.src = packet;
        ck_assert_uint_eq(variant->open(&op, 1), 1);
        ck_assert(op.ok && memcmp(packet, vector.message.bytes, len) == 0);
        count++;
    }
    (void)fclose(file);
    if (count > 0)
        printf("batch variant %s: %u\n", variant->name, count);
}
END_TEST

/* RFC 8439, section 2.8.2 and appendix A.5: the latter's nonce begins with 4 zero bytes. */
START_TEST(rfc8439)
{
    static const char sunscreen[] =
        "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
        "future, sunscreen would be it.";
    static const char drafts[] =
        "Internet-Drafts are draft documents valid for a maximum of six months and may be updated, "
        "replaced, or obsoleted by other documents at any time. It is inappropriate to use "
        "Internet-Drafts as reference material or to cite them other than as /\xe2\x80\x9cwork "
        "in progress./\xe2\x80\x9d";
    static const char *const table[][6] = {
        {"808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
         "070000004041424344454647", "50515253c0c1c2c3c4c5c6c7", sunscreen,
         "1ae10b594f09e26a7e902ecbd0600691", "d31a8d34648e60db7b86afbc53ef7ec2"},
        {"1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0",
         "000000000102030405060708", "f33388860000000000004e91", drafts,
         "eead9d67890cbb22392336fea1851f38", "64a0861575861af460f062c79be643bd"},
    };
    const char *const *row = table[_i];
    const uint8_t *text = (const uint8_t *)row[3];
    size_t len = strlen(row[3]);
    struct bytes key;
    struct bytes nonce;
    struct bytes aad;
    struct bytes tag;
    struct bytes first_block;
    uint8_t sealed[MAX_LEN];
    uint8_t plain[MAX_LEN];
    read_hex(&key, row[0]);
    read_hex(&nonce, row[1]);
    read_hex(&aad, row[2]);
    read_hex(&tag, row[4]);
    read_hex(&first_block, row[5]);
    ck_assert_int_eq(crypto_init(), 0);
    aead_seal_one(sealed, text, len, aad.bytes, aad.len, nonce.bytes, key.bytes);
    ck_assert_mem_eq(sealed, first_block.bytes, first_block.len);
    ck_assert_mem_eq(sealed + len, tag.bytes, tag.len);
    ck_assert(aead_open_one(plain, sealed, len, aad.bytes, aad.len, nonce.bytes, key.bytes));
    ck_assert_mem_eq(plain, text, len);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("wycheproof");
    tcase_add_test(tc, x25519);
    tcase_add_loop_test(tc, aead, 0, ARRAY_LEN(ciphers));
    tcase_add_loop_test(tc, batch_variants, 0, MAX_VARIANTS);
    tcase_add_loop_test(tc, rfc8439, 0, 2);
    return unit_run(tc);
}
