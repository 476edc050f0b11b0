#include "wg/crypto/aead_batch.h"

#include <immintrin.h>
#include <string.h>

/* ChaCha20-Poly1305 over many packets with AVX-512 and IFMA.
 *
 * Sixteen operations at a time. One ChaCha20 pass makes their sixteen Poly1305 keys, a lane an
 * operation; then their data blocks, flattened into one list over all of them, go sixteen to a
 * pass. The MAC takes eight packets side by side, a lane each, in limbs of 44, 44 and 42 bits,
 * 64 bytes of each packet a step: h = (h + m0) r^4 + m1 r^3 + m2 r^2 + m3 r. Their ends are
 * aligned, so that a shorter packet begins with blocks that are nothing (zero, without the high
 * bit), which leave its h at zero. Few or small packets take the scalar MAC, and where keys and
 * data fit into one pass, they share it.
 *
 * Opening checks the tags first and deciphers only what is authentic. All of a call's secrets lie
 * in one struct, which is wiped, and in the frames of functions called below it, which are
 * overwritten at the end. */

enum {
    LANES = 16,
    GROUP = 8,         /* packets whose MACs are computed side by side */
    GROUP_WORTH = 3,   /* so many packets are worth the vector MAC */
    ALONE_WORTH = 512, /* and so many bytes of one packet */
};

typedef __m512i vec;

struct workspace {
    vec stream[LANES];  /* the keystream of a pass, a block each */
    vec mac_keys[2][4]; /* r (low, high), s (low, high): 8 lanes of 64 bits, twice */
    uint8_t tags[LANES][AEAD_TAG_LEN];
};

static inline vec broadcast(const uint8_t *word)
{
    int value;
    memcpy(&value, word, sizeof value);
    return _mm512_set1_epi32(value);
}

static inline __attribute__((always_inline)) void quarter(vec *a, vec *b, vec *c, vec *d)
{
    *a = _mm512_add_epi32(*a, *b);
    *d = _mm512_rol_epi32(_mm512_xor_si512(*d, *a), 16);
    *c = _mm512_add_epi32(*c, *d);
    *b = _mm512_rol_epi32(_mm512_xor_si512(*b, *c), 12);
    *a = _mm512_add_epi32(*a, *b);
    *d = _mm512_rol_epi32(_mm512_xor_si512(*d, *a), 8);
    *c = _mm512_add_epi32(*c, *d);
    *b = _mm512_rol_epi32(_mm512_xor_si512(*b, *c), 7);
}

static inline __attribute__((always_inline)) void double_round(vec v[16])
{
    quarter(&v[0], &v[4], &v[8], &v[12]);
    quarter(&v[1], &v[5], &v[9], &v[13]);
    quarter(&v[2], &v[6], &v[10], &v[14]);
    quarter(&v[3], &v[7], &v[11], &v[15]);
    quarter(&v[0], &v[5], &v[10], &v[15]);
    quarter(&v[1], &v[6], &v[11], &v[12]);
    quarter(&v[2], &v[7], &v[8], &v[13]);
    quarter(&v[3], &v[4], &v[9], &v[14]);
}

/* The inputs of a pass that differ between lanes. Row 13, the nonce's first word, is zero. */
struct rows {
    vec key[8];
    vec block; /* the block's number */
    vec low;   /* the packet's counter */
    vec high;
    const uint8_t *last_key; /* in the lanes taken last */
};

static void rows_init(struct rows *rows, const uint8_t *key)
{
    for (size_t i = 0; i < 8; i++)
        rows->key[i] = broadcast(key + 4 * i);
    rows->block = rows->low = rows->high = _mm512_setzero_si512();
    rows->last_key = key;
}

/* Gives the lanes from `lane` on to `op`, whose block `block` is in the first of them. */
static inline void rows_take(struct rows *rows, unsigned lane, const struct aead_op *op,
                             size_t block)
{
    const vec iota = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __mmask16 mask = (__mmask16)(0xffffU << lane);
    vec first = _mm512_set1_epi32((int)block - (int)lane);
    rows->block = _mm512_mask_add_epi32(rows->block, mask, iota, first);
    rows->low = _mm512_mask_set1_epi32(rows->low, mask, (int)(uint32_t)op->counter);
    rows->high = _mm512_mask_set1_epi32(rows->high, mask, (int)(uint32_t)(op->counter >> 32));
    if (rows->last_key == op->key)
        return;
    for (size_t i = 0; i < 8; i++)
        rows->key[i] = _mm512_mask_mov_epi32(rows->key[i], mask, broadcast(op->key + 4 * i));
    rows->last_key = op->key;
}

/* Adds the inputs to what the rounds made of them. */
static inline __attribute__((always_inline)) void chacha20(vec v[16], const struct rows *rows)
{
    for (size_t i = 0; i < 4; i++)
        v[i] = _mm512_set1_epi32(batch_sigma[i]);
    for (size_t i = 0; i < 8; i++)
        v[4 + i] = rows->key[i];
    v[12] = rows->block;
    v[13] = _mm512_setzero_si512();
    v[14] = rows->low;
    v[15] = rows->high;
    for (int round = 0; round < 10; round++)
        double_round(v);
    for (size_t i = 0; i < 4; i++)
        v[i] = _mm512_add_epi32(v[i], _mm512_set1_epi32(batch_sigma[i]));
    for (size_t i = 0; i < 8; i++)
        v[4 + i] = _mm512_add_epi32(v[4 + i], rows->key[i]);
    v[12] = _mm512_add_epi32(v[12], rows->block);
    v[14] = _mm512_add_epi32(v[14], rows->low);
    v[15] = _mm512_add_epi32(v[15], rows->high);
}

/* Four rows of words become, in each 128-bit part, four words of one lane. */
static inline __attribute__((always_inline)) void transpose4(vec out[4], const vec in[4])
{
    vec a = _mm512_unpacklo_epi32(in[0], in[1]);
    vec b = _mm512_unpackhi_epi32(in[0], in[1]);
    vec c = _mm512_unpacklo_epi32(in[2], in[3]);
    vec d = _mm512_unpackhi_epi32(in[2], in[3]);
    out[0] = _mm512_unpacklo_epi64(a, c);
    out[1] = _mm512_unpackhi_epi64(a, c);
    out[2] = _mm512_unpacklo_epi64(b, d);
    out[3] = _mm512_unpackhi_epi64(b, d);
}

/* The 4 x 4 transposition of 128-bit parts. */
static inline __attribute__((always_inline)) void transpose_parts(vec out[4], vec a, vec b, vec c,
                                                                  vec d)
{
    vec ab_low = _mm512_shuffle_i64x2(a, b, 0x44);
    vec ab_high = _mm512_shuffle_i64x2(a, b, 0xee);
    vec cd_low = _mm512_shuffle_i64x2(c, d, 0x44);
    vec cd_high = _mm512_shuffle_i64x2(c, d, 0xee);
    out[0] = _mm512_shuffle_i64x2(ab_low, cd_low, 0x88);
    out[1] = _mm512_shuffle_i64x2(ab_low, cd_low, 0xdd);
    out[2] = _mm512_shuffle_i64x2(ab_high, cd_high, 0x88);
    out[3] = _mm512_shuffle_i64x2(ab_high, cd_high, 0xdd);
}

/* The keystream block of each lane, from the rows of a pass. */
static inline __attribute__((always_inline)) void make_stream(vec stream[LANES], const vec v[16])
{
    vec t[4][4];
    for (size_t i = 0; i < 4; i++)
        transpose4(t[i], v + 4 * i);
    for (size_t i = 0; i < 4; i++) {
        /* t[j][i], part p: words 4j to 4j + 3 of lane 4p + i */
        vec out[4];
        transpose_parts(out, t[0][i], t[1][i], t[2][i], t[3][i]);
        for (size_t p = 0; p < 4; p++)
            stream[4 * p + i] = out[p];
    }
}

static inline __mmask64 first_bytes(size_t len)
{
    return len >= CHACHA20_BLOCK ? ~(__mmask64)0 : ((__mmask64)1 << len) - 1;
}

/* Nothing past `len` is read or written. */
static void apply(const struct batch_run *run, const vec stream[LANES])
{
    size_t len = run->len;
    for (unsigned i = 0; i < run->count; i++) {
        const uint8_t *src = run->src + (size_t)i * CHACHA20_BLOCK;
        uint8_t *dst = run->dst + (size_t)i * CHACHA20_BLOCK;
        vec pad = stream[run->lane + i];
        if (len >= CHACHA20_BLOCK) {
            _mm512_storeu_si512(dst, _mm512_xor_si512(pad, _mm512_loadu_si512(src)));
            len -= CHACHA20_BLOCK;
        } else {
            __mmask64 mask = first_bytes(len);
            vec text = _mm512_maskz_loadu_epi8(mask, src);
            _mm512_mask_storeu_epi8(dst, mask, _mm512_xor_si512(pad, text));
        }
    }
}

/* Fills the pass' free lanes with data blocks, from the cursor on. */
static void fill(struct batch_pass *pass, struct rows *rows, struct batch_cursor *at,
                 struct aead_op *const *ops, size_t count)
{
    size_t block;
    const struct batch_run *run;
    while ((run = batch_pass_take(pass, LANES, at, ops, count, &block)) != NULL)
        rows_take(rows, run->lane, ops[run->op], block);
}

/* Enciphers, or deciphers, the data blocks from the cursor on. */
static void cipher(struct workspace *work, struct batch_cursor at, struct aead_op *const *ops,
                   size_t count)
{
    while (at.op < count) {
        struct batch_pass pass;
        struct rows rows;
        batch_pass_init(&pass);
        vec v[16];
        rows_init(&rows, ops[at.op]->key);
        fill(&pass, &rows, &at, ops, count);
        if (pass.run_count == 0)
            return; /* operations without data */
        chacha20(v, &rows);
        make_stream(work->stream, v);
        for (size_t i = 0; i < pass.run_count; i++)
            apply(&pass.runs[i], work->stream);
    }
}

/* Eight lanes of two rows of words as words of 64 bits. */
static inline vec widen(vec low, vec high, bool upper)
{
    __m256i a = upper ? _mm512_extracti64x4_epi64(low, 1) : _mm512_castsi512_si256(low);
    __m256i b = upper ? _mm512_extracti64x4_epi64(high, 1) : _mm512_castsi512_si256(high);
    return _mm512_or_si512(_mm512_cvtepu32_epi64(a),
                           _mm512_slli_epi64(_mm512_cvtepu32_epi64(b), 32));
}

/* The first pass: the Poly1305 keys of all in its first lanes, and in those left over the first
 * data blocks, which stay in the stream. */
static void begin(struct workspace *work, struct batch_pass *pass, struct batch_cursor *at,
                  struct aead_op *const *ops, size_t count)
{
    struct rows rows;
    vec v[16];
    batch_pass_init(pass);
    rows_init(&rows, ops[0]->key);
    for (; pass->lane < count; pass->lane++)
        rows_take(&rows, pass->lane, ops[pass->lane], 0);
    rows.block = _mm512_setzero_si512();
    fill(pass, &rows, at, ops, count);
    chacha20(v, &rows);
    for (size_t i = 0; i < 4; i++) {
        work->mac_keys[0][i] = widen(v[2 * i], v[2 * i + 1], false);
        work->mac_keys[1][i] = widen(v[2 * i], v[2 * i + 1], true);
    }
    if (pass->run_count > 0)
        make_stream(work->stream, v);
}

/* A number modulo 2^130 - 5 in each lane: limbs of 44, 44 and 42 bits, a little more between
 * steps. `w1` and `w2` are 20 times the limbs, for what passes 2^132. */
struct power {
    vec l0, l1, l2, w1, w2;
};

static inline __attribute__((always_inline)) vec mask44(void)
{
    return _mm512_set1_epi64((1LL << 44) - 1);
}

static inline __attribute__((always_inline)) vec mask42(void)
{
    return _mm512_set1_epi64((1LL << 42) - 1);
}

static inline vec times20(vec x)
{
    return _mm512_slli_epi64(_mm512_add_epi64(x, _mm512_slli_epi64(x, 2)), 2);
}

static struct power power_of(vec l0, vec l1, vec l2)
{
    return (struct power){l0, l1, l2, times20(l1), times20(l2)};
}

/* Sums of products, low and high 52 bits apart. */
struct products {
    vec low[3];
    vec high[3];
};

static inline __attribute__((always_inline)) void multiply(struct products *sum, vec a0, vec a1,
                                                           vec a2, const struct power *b)
{
    sum->low[0] = _mm512_madd52lo_epu64(sum->low[0], a0, b->l0);
    sum->high[0] = _mm512_madd52hi_epu64(sum->high[0], a0, b->l0);
    sum->low[1] = _mm512_madd52lo_epu64(sum->low[1], a0, b->l1);
    sum->high[1] = _mm512_madd52hi_epu64(sum->high[1], a0, b->l1);
    sum->low[2] = _mm512_madd52lo_epu64(sum->low[2], a0, b->l2);
    sum->high[2] = _mm512_madd52hi_epu64(sum->high[2], a0, b->l2);
    sum->low[0] = _mm512_madd52lo_epu64(sum->low[0], a1, b->w2);
    sum->high[0] = _mm512_madd52hi_epu64(sum->high[0], a1, b->w2);
    sum->low[1] = _mm512_madd52lo_epu64(sum->low[1], a1, b->l0);
    sum->high[1] = _mm512_madd52hi_epu64(sum->high[1], a1, b->l0);
    sum->low[2] = _mm512_madd52lo_epu64(sum->low[2], a1, b->l1);
    sum->high[2] = _mm512_madd52hi_epu64(sum->high[2], a1, b->l1);
    sum->low[0] = _mm512_madd52lo_epu64(sum->low[0], a2, b->w1);
    sum->high[0] = _mm512_madd52hi_epu64(sum->high[0], a2, b->w1);
    sum->low[1] = _mm512_madd52lo_epu64(sum->low[1], a2, b->w2);
    sum->high[1] = _mm512_madd52hi_epu64(sum->high[1], a2, b->w2);
    sum->low[2] = _mm512_madd52lo_epu64(sum->low[2], a2, b->l0);
    sum->high[2] = _mm512_madd52hi_epu64(sum->high[2], a2, b->l0);
}

/* Brings sums back into limbs: 44 bits, 45 bits, 42 bits. */
static inline __attribute__((always_inline)) void reduce(vec *h0, vec *h1, vec *h2,
                                                         const struct products *sum)
{
    vec d0 = sum->low[0];
    vec d1 = _mm512_add_epi64(sum->low[1], _mm512_slli_epi64(sum->high[0], 8));
    vec d2 = _mm512_add_epi64(sum->low[2], _mm512_slli_epi64(sum->high[1], 8));
    vec d3 = _mm512_slli_epi64(sum->high[2], 10); /* times 2^130, with what passes 42 bits of d2 */
    d1 = _mm512_add_epi64(d1, _mm512_srli_epi64(d0, 44));
    d0 = _mm512_and_si512(d0, mask44());
    d2 = _mm512_add_epi64(d2, _mm512_srli_epi64(d1, 44));
    d1 = _mm512_and_si512(d1, mask44());
    d3 = _mm512_add_epi64(d3, _mm512_srli_epi64(d2, 42));
    d2 = _mm512_and_si512(d2, mask42());
    d0 = _mm512_add_epi64(d0, _mm512_add_epi64(d3, _mm512_slli_epi64(d3, 2)));
    d1 = _mm512_add_epi64(d1, _mm512_srli_epi64(d0, 44));
    *h0 = _mm512_and_si512(d0, mask44());
    *h1 = d1;
    *h2 = d2;
}

static struct power power_multiply(const struct power *a, const struct power *b)
{
    struct products sum;
    vec l0, l1, l2;
    memset(&sum, 0, sizeof sum);
    multiply(&sum, a->l0, a->l1, a->l2, b);
    reduce(&l0, &l1, &l2, &sum);
    return power_of(l0, l1, l2);
}

/* Eight packets side by side, their ends aligned. */
struct group {
    const uint8_t *text[GROUP];
    size_t len[GROUP];
    ptrdiff_t before[GROUP]; /* bytes of nothing in front of the text */
    size_t steps;
    ptrdiff_t whole_from; /* steps in [whole_from, whole_to) are text in every lane */
    ptrdiff_t whole_to;
};

static size_t blocks_of_mac(size_t len)
{
    return (len + POLY1305_BLOCK - 1) / POLY1305_BLOCK;
}

static void group_find_whole(struct group *group)
{
    group->whole_from = 0;
    group->whole_to = (ptrdiff_t)group->steps;
    for (size_t i = 0; i < GROUP; i++) {
        ptrdiff_t from = (group->before[i] + CHACHA20_BLOCK - 1) / CHACHA20_BLOCK;
        ptrdiff_t to = (group->before[i] + (ptrdiff_t)group->len[i]) / CHACHA20_BLOCK;
        group->whole_from = from > group->whole_from ? from : group->whole_from;
        group->whole_to = to < group->whole_to ? to : group->whole_to;
    }
}

/* Lanes that are not needed repeat the last packet. */
static void group_init(struct group *group, struct aead_op *const *ops, size_t count, bool sealed)
{
    size_t longest = 0;
    for (size_t i = 0; i < count; i++)
        longest = ops[i]->len > longest ? ops[i]->len : longest;
    group->steps = (longest + CHACHA20_BLOCK - 1) / CHACHA20_BLOCK;
    for (size_t i = 0; i < GROUP; i++) {
        const struct aead_op *op = ops[i < count ? i : count - 1];
        group->text[i] = sealed ? op->src : op->dst;
        group->len[i] = op->len;
        group->before[i] =
            (ptrdiff_t)(group->steps * CHACHA20_BLOCK - blocks_of_mac(op->len) * POLY1305_BLOCK);
    }
    group_find_whole(group);
}

/* The 64 bytes of each packet at a step, and in which of its four blocks there is a high bit. */
static inline void group_load_ragged(const struct group *group, size_t step, vec rows[GROUP],
                                     __mmask8 high[4])
{
    high[0] = high[1] = high[2] = high[3] = 0;
    for (unsigned i = 0; i < GROUP; i++) {
        ptrdiff_t at = (ptrdiff_t)(step * CHACHA20_BLOCK) - group->before[i];
        ptrdiff_t left = (ptrdiff_t)group->len[i] - at;
        __mmask64 mask = left <= 0 ? 0 : first_bytes((size_t)left);
        if (at < 0)
            mask = at <= -CHACHA20_BLOCK ? 0 : mask & (~(__mmask64)0 << -at);
        uintptr_t address = (uintptr_t)group->text[i] + (uintptr_t)at;
        rows[i] = _mm512_maskz_loadu_epi8(mask, (const void *)address);
        for (unsigned b = 0; b < 4; b++) {
            if (at + POLY1305_BLOCK * (ptrdiff_t)b >= 0)
                high[b] |= (__mmask8)(1U << i);
        }
    }
}

static inline __attribute__((always_inline)) void group_load(const struct group *group, size_t step,
                                                             vec rows[GROUP])
{
    for (unsigned i = 0; i < GROUP; i++)
        rows[i] = _mm512_loadu_si512(group->text[i] +
                                     ((ptrdiff_t)(step * CHACHA20_BLOCK) - group->before[i]));
}

/* A block's two words in each lane as limbs. */
static inline __attribute__((always_inline)) void limbs(vec m[3], vec low, vec high, vec high_bit)
{
    m[0] = _mm512_and_si512(low, mask44());
    m[1] = _mm512_and_si512(_mm512_shrdi_epi64(low, high, 44), mask44());
    m[2] = _mm512_or_si512(_mm512_srli_epi64(high, 24), high_bit);
}

struct sum {
    vec h0, h1, h2;
};

static inline __attribute__((always_inline)) void group_step(struct sum *h, const vec rows[GROUP],
                                                             const vec high_bits[4],
                                                             const struct power powers[4])
{
    vec low[4], high[4];
    transpose_parts(
        low, _mm512_unpacklo_epi64(rows[0], rows[1]), _mm512_unpacklo_epi64(rows[2], rows[3]),
        _mm512_unpacklo_epi64(rows[4], rows[5]), _mm512_unpacklo_epi64(rows[6], rows[7]));
    transpose_parts(
        high, _mm512_unpackhi_epi64(rows[0], rows[1]), _mm512_unpackhi_epi64(rows[2], rows[3]),
        _mm512_unpackhi_epi64(rows[4], rows[5]), _mm512_unpackhi_epi64(rows[6], rows[7]));
    struct products sum;
    vec m[3];
    const vec zero = _mm512_setzero_si512();
    for (size_t i = 0; i < 3; i++)
        sum.low[i] = sum.high[i] = zero;
#pragma GCC unroll 3
    for (size_t b = 3; b > 0; b--) {
        limbs(m, low[b], high[b], high_bits[b]);
        multiply(&sum, m[0], m[1], m[2], &powers[3 - b]);
    }
    limbs(m, low[0], high[0], high_bits[0]);
    multiply(&sum, _mm512_add_epi64(m[0], h->h0), _mm512_add_epi64(m[1], h->h1),
             _mm512_add_epi64(m[2], h->h2), &powers[3]);
    reduce(&h->h0, &h->h1, &h->h2, &sum);
}

/* The length block, the full reduction and s: the tags. */
static void group_finish(uint8_t tags[][AEAD_TAG_LEN], size_t count, struct sum *h,
                         const size_t len[GROUP], const struct power *r, const vec key[4])
{
    struct products sum;
    vec low[2];
    memset(&sum, 0, sizeof sum);
    /* 8 bytes of zero (no associated data), 8 bytes of length, little endian, and the high bit */
    vec bytes = _mm512_loadu_si512(len);
    vec m[3];
    limbs(m, _mm512_setzero_si512(), bytes, _mm512_set1_epi64(1LL << 40));
    multiply(&sum, _mm512_add_epi64(m[0], h->h0), _mm512_add_epi64(m[1], h->h1),
             _mm512_add_epi64(m[2], h->h2), r);
    vec h0, h1, h2;
    reduce(&h0, &h1, &h2, &sum);
    for (int twice = 0; twice < 2; twice++) {
        h2 = _mm512_add_epi64(h2, _mm512_srli_epi64(h1, 44));
        h1 = _mm512_and_si512(h1, mask44());
        vec carry = _mm512_srli_epi64(h2, 42);
        h2 = _mm512_and_si512(h2, mask42());
        h0 = _mm512_add_epi64(h0, _mm512_add_epi64(carry, _mm512_slli_epi64(carry, 2)));
        h1 = _mm512_add_epi64(h1, _mm512_srli_epi64(h0, 44));
        h0 = _mm512_and_si512(h0, mask44());
    }
    /* h - p where it is not negative */
    vec g0 = _mm512_add_epi64(h0, _mm512_set1_epi64(5));
    vec g1 = _mm512_add_epi64(h1, _mm512_srli_epi64(g0, 44));
    vec g2 = _mm512_add_epi64(h2, _mm512_srli_epi64(g1, 44));
    __mmask8 take = _mm512_test_epi64_mask(g2, _mm512_set1_epi64(1LL << 42));
    h0 = _mm512_mask_and_epi64(h0, take, g0, mask44());
    h1 = _mm512_mask_and_epi64(h1, take, g1, mask44());
    h2 = _mm512_mask_and_epi64(h2, take, g2, mask42());
    low[0] = _mm512_or_si512(h0, _mm512_slli_epi64(h1, 44));
    low[1] = _mm512_or_si512(_mm512_srli_epi64(h1, 20), _mm512_slli_epi64(h2, 24));
    low[0] = _mm512_add_epi64(low[0], key[2]);
    __mmask8 carries = _mm512_cmplt_epu64_mask(low[0], key[2]);
    low[1] = _mm512_add_epi64(low[1], key[3]);
    low[1] = _mm512_mask_add_epi64(low[1], carries, low[1], _mm512_set1_epi64(1));
    uint64_t out[2][GROUP];
    _mm512_storeu_si512(out[0], low[0]);
    _mm512_storeu_si512(out[1], low[1]);
    for (size_t i = 0; i < count; i++) {
        memcpy(tags[i], &out[0][i], 8);
        memcpy(tags[i] + 8, &out[1][i], 8);
    }
}

/* r, r^2, r^3 and r^4 of each lane. */
static void make_powers(struct power powers[4], const vec key[2])
{
    vec r0 = _mm512_and_si512(key[0], _mm512_set1_epi64(0x0ffffffc0fffffff));
    vec r1 = _mm512_and_si512(key[1], _mm512_set1_epi64(0x0ffffffc0ffffffc));
    vec m[3];
    limbs(m, r0, r1, _mm512_setzero_si512());
    powers[0] = power_of(m[0], m[1], m[2]);
    for (size_t i = 1; i < 4; i++)
        powers[i] = power_multiply(&powers[i - 1], &powers[0]);
}

/* What the text of each lane adds up to. */
static struct sum group_sum(const struct group *group, const struct power powers[4])
{
    struct sum h = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    const vec bit = _mm512_set1_epi64(1LL << 40);
    const vec all_bits[4] = {bit, bit, bit, bit};
    for (size_t step = 0; step < group->steps; step++) {
        vec rows[GROUP];
        if ((ptrdiff_t)step >= group->whole_from && (ptrdiff_t)step < group->whole_to) {
            group_load(group, step, rows);
            group_step(&h, rows, all_bits, powers);
        } else {
            __mmask8 high[4];
            vec bits[4];
            group_load_ragged(group, step, rows, high);
            for (size_t b = 0; b < 4; b++)
                bits[b] = _mm512_maskz_mov_epi64(high[b], bit);
            group_step(&h, rows, bits, powers);
        }
    }
    return h;
}

/* The tags of at most eight packets. */
static void mac_group(uint8_t tags[][AEAD_TAG_LEN], struct aead_op *const *ops, size_t count,
                      bool sealed, const vec key[4])
{
    struct group group;
    struct power powers[4];
    group_init(&group, ops, count, sealed);
    make_powers(powers, key);
    struct sum h = group_sum(&group, powers);
    group_finish(tags, count, &h, group.len, &powers[0], key);
}

/* One packet as eight parts of `blocks` blocks; the first may be shorter, or nothing. */
static void group_init_alone(struct group *group, const struct aead_op *op, size_t blocks,
                             bool sealed)
{
    const uint8_t *text = sealed ? op->src : op->dst;
    ptrdiff_t part = (ptrdiff_t)(blocks * POLY1305_BLOCK);
    ptrdiff_t all = (ptrdiff_t)blocks_of_mac(op->len) * POLY1305_BLOCK;
    group->steps = (blocks * POLY1305_BLOCK + CHACHA20_BLOCK - 1) / CHACHA20_BLOCK;
    for (ptrdiff_t i = 0; i < GROUP; i++) {
        ptrdiff_t to = all - (GROUP - 1 - i) * part;
        ptrdiff_t from = to - part > 0 ? to - part : 0;
        to = to > 0 ? to : 0;
        group->text[i] = text + from;
        group->len[i] = (size_t)((to < (ptrdiff_t)op->len ? to : (ptrdiff_t)op->len) - from);
        group->before[i] = (ptrdiff_t)(group->steps * CHACHA20_BLOCK) - (to - from);
    }
    group_find_whole(group);
}

/* Numbers modulo 2^130 - 5 in limbs of 44, 44 and 42 bits, one at a time. */
struct number {
    uint64_t l0, l1, l2;
};

static struct number number_multiply(struct number a, struct number b)
{
    typedef unsigned __int128 wide;
    const uint64_t low44 = (UINT64_C(1) << 44) - 1;
    const uint64_t low42 = (UINT64_C(1) << 42) - 1;
    wide d0 = (wide)a.l0 * b.l0 + (wide)a.l1 * (b.l2 * 20) + (wide)a.l2 * (b.l1 * 20);
    wide d1 = (wide)a.l0 * b.l1 + (wide)a.l1 * b.l0 + (wide)a.l2 * (b.l2 * 20);
    wide d2 = (wide)a.l0 * b.l2 + (wide)a.l1 * b.l1 + (wide)a.l2 * b.l0;
    d1 += (uint64_t)(d0 >> 44);
    d2 += (uint64_t)(d1 >> 44);
    uint64_t l0 = ((uint64_t)d0 & low44) + (uint64_t)(d2 >> 42) * 5;
    uint64_t l1 = ((uint64_t)d1 & low44) + (l0 >> 44);
    return (struct number){l0 & low44, l1, (uint64_t)d2 & low42};
}

static struct number number_power(struct number base, size_t exponent)
{
    struct number result = base;
    for (int bit = 62 - __builtin_clzll(exponent); bit >= 0; bit--) {
        result = number_multiply(result, result);
        if (exponent >> bit & 1)
            result = number_multiply(result, base);
    }
    return result;
}

/* The tag of one long packet: sum = (h[0] r^blocks + h[1]) r^blocks + ... + h[7]. */
static void mac_alone(uint8_t tag[AEAD_TAG_LEN], const struct aead_op *op, bool sealed,
                      const uint8_t key[POLY1305_KEY_LEN])
{
    struct poly1305 mac;
    struct group group;
    struct power powers[4];
    uint64_t parts[3][GROUP];
    size_t blocks = (blocks_of_mac(op->len) + GROUP - 1) / GROUP;
    poly1305_init(&mac, key);
    vec halves[2] = {_mm512_set1_epi64((long long)mac.r0), _mm512_set1_epi64((long long)mac.r1)};
    group_init_alone(&group, op, blocks, sealed);
    make_powers(powers, halves);
    struct sum h = group_sum(&group, powers);
    _mm512_storeu_si512(parts[0], h.h0);
    _mm512_storeu_si512(parts[1], h.h1);
    _mm512_storeu_si512(parts[2], h.h2);

    struct number r = {mac.r0 & ((UINT64_C(1) << 44) - 1),
                       (mac.r0 >> 44 | mac.r1 << 20) & ((UINT64_C(1) << 44) - 1), mac.r1 >> 24};
    struct number factor = number_power(r, blocks);
    struct number sum = {0, 0, 0};
    for (size_t i = 0; i < GROUP; i++) {
        sum = number_multiply(sum, factor);
        sum.l0 += parts[0][i];
        sum.l1 += parts[1][i];
        sum.l2 += parts[2][i];
    }
    poly1305_set(&mac, sum.l0, sum.l1, sum.l2);
    poly1305_finish(&mac, op->len, tag);
}

/* The tag of one packet. */
static void mac_one(uint8_t tag[AEAD_TAG_LEN], const struct aead_op *op, bool sealed,
                    const uint8_t key[POLY1305_KEY_LEN])
{
    if (op->len >= ALONE_WORTH) {
        mac_alone(tag, op, sealed, key);
        return;
    }
    struct poly1305 mac;
    poly1305_init(&mac, key);
    poly1305_padded(&mac, sealed ? op->src : op->dst, op->len);
    poly1305_finish(&mac, op->len, tag);
}

static void make_tags(struct workspace *work, struct aead_op *const *ops, size_t count, bool sealed)
{
    for (size_t first = 0; first < count; first += GROUP) {
        size_t n = count - first < GROUP ? count - first : GROUP;
        const vec *keys = work->mac_keys[first / GROUP];
        if (n >= GROUP_WORTH) {
            mac_group(work->tags + first, ops + first, n, sealed, keys);
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            uint64_t key[4];
            for (size_t word = 0; word < 4; word++)
                memcpy(&key[word], (const uint8_t *)&keys[word] + 8 * i, 8);
            mac_one(work->tags[first + i], ops[first + i], sealed, (const uint8_t *)key);
        }
    }
}

static __attribute__((noinline)) void seal_some(struct workspace *work, struct aead_op **ops,
                                                size_t count)
{
    struct batch_pass pass;
    struct batch_cursor at = {0, 0};
    begin(work, &pass, &at, ops, count);
    for (size_t i = 0; i < pass.run_count; i++)
        apply(&pass.runs[i], work->stream);
    cipher(work, at, ops, count);
    make_tags(work, ops, count, false);
    for (size_t i = 0; i < count; i++)
        memcpy(ops[i]->dst + ops[i]->len, work->tags[i], AEAD_TAG_LEN);
}

static __attribute__((noinline)) size_t open_some(struct workspace *work, struct aead_op **ops,
                                                  size_t count)
{
    struct batch_pass pass;
    struct batch_cursor at = {0, 0};
    struct batch_cursor rest = {0, 0};
    struct aead_op *authentic[LANES];
    unsigned n = 0;
    begin(work, &pass, &at, ops, count);
    make_tags(work, ops, count, true);
    for (size_t i = 0; i < count; i++)
        ops[i]->ok = batch_tags_equal(work->tags[i], ops[i]->src + ops[i]->len);
    for (size_t i = 0; i < pass.run_count; i++) {
        if (ops[pass.runs[i].op]->ok)
            apply(&pass.runs[i], work->stream);
    }
    size_t authentic_count = 0;
    for (unsigned i = 0; i < count; i++) {
        authentic_count += ops[i]->ok;
        if (!ops[i]->ok || i < at.op)
            continue;
        if (i == at.op)
            rest.block = at.block;
        authentic[n++] = ops[i];
    }
    cipher(work, rest, authentic, n);
    return authentic_count;
}

static bool usable(void)
{
    /* these look at XCR0 too: whether the system keeps the registers */
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512ifma") && __builtin_cpu_supports("avx512vbmi2") &&
           __builtin_cpu_supports("bmi2");
}

static void seal(struct aead_op *ops, size_t count)
{
    struct workspace work;
    struct aead_op *some[LANES];
    for (size_t n; count > 0; ops += n, count -= n) {
        n = batch_next(some, LANES, ops, count);
        seal_some(&work, some, n);
    }
    bytes_wipe(&work, sizeof work);
    batch_wipe_stack();
}

static size_t open_all(struct aead_op *ops, size_t count)
{
    struct workspace work;
    struct aead_op *some[LANES];
    size_t authentic = 0;
    for (size_t n; count > 0; ops += n, count -= n) {
        n = batch_next(some, LANES, ops, count);
        authentic += open_some(&work, some, n);
    }
    bytes_wipe(&work, sizeof work);
    batch_wipe_stack();
    return authentic;
}

const struct aead_variant aead_avx512 = {"avx512", usable, seal, open_all};
