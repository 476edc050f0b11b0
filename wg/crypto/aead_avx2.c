#include "wg/crypto/aead_batch.h"

#include <immintrin.h>
#include <string.h>

/* ChaCha20-Poly1305 over many packets with AVX2.
 *
 * ChaCha20 runs in the vector units, eight blocks a pass, and Poly1305 in the scalar ones, which
 * would idle meanwhile: its blocks are woven in between the double rounds, so that both proceed at
 * once. A queue feeds it. When sealing, the MAC follows the cipher: it takes what earlier passes
 * have written. When opening, it leads: a packet is deciphered when its tag is right, and the tags
 * of later packets are computed in the passes that decipher earlier ones. What the passes did not
 * get through is taken alone in the end.
 *
 * Eight operations share a pass that makes their Poly1305 keys. Lanes that the last of these has left
 * over take the first data blocks. */

enum {
    LANES = 8,
    OPS = 16,  /* operations at a time */
    WOVEN = 4, /* blocks of the MAC a double round */
};

typedef __m256i vec;

/* The MACs of some operations, one after another. */
struct queue {
    struct poly1305 mac; /* of the operation at the head */
    const uint8_t *text; /* what it has not absorbed of it, and */
    size_t ready;        /* how many bytes of that are there */
    struct aead_op *const *ops;
    size_t count;
    size_t head;
    bool sealed; /* the text is the source, and there from the start */
    const uint8_t (*keys)[POLY1305_KEY_LEN];
    uint8_t tags[OPS][AEAD_TAG_LEN];
};

struct workspace {
    uint8_t stream[LANES][CHACHA20_BLOCK] __attribute__((aligned(32)));
    uint8_t mac_keys[OPS][POLY1305_KEY_LEN];
    struct queue queue;
};

/* --- Poly1305 ---------------------------------------------------------------------------------- */

static void queue_begin(struct queue *queue)
{
    if (queue->head == queue->count)
        return;
    const struct aead_op *op = queue->ops[queue->head];
    poly1305_init(&queue->mac, queue->keys[queue->head]);
    queue->text = queue->sealed ? op->src : op->dst;
    queue->ready = queue->sealed ? op->len : 0;
}

static void queue_init(struct queue *queue, struct workspace *work, struct aead_op *const *ops,
                       size_t count, bool sealed)
{
    queue->ops = ops;
    queue->count = count;
    queue->head = 0;
    queue->sealed = sealed;
    queue->keys = (const uint8_t(*)[POLY1305_KEY_LEN])work->mac_keys;
    queue_begin(queue);
}

static const uint8_t *text_end(const struct queue *queue)
{
    const struct aead_op *op = queue->ops[queue->head];
    return (queue->sealed ? op->src : op->dst) + op->len;
}

/* Ends the MAC at the head, all of whose text is ready. */
static __attribute__((noinline)) void queue_finish(struct queue *queue)
{
    const struct aead_op *op = queue->ops[queue->head];
    poly1305_padded(&queue->mac, queue->text, queue->ready);
    poly1305_finish(&queue->mac, op->len, queue->tags[queue->head]);
    queue->head++;
    queue_begin(queue);
}

/* Ends the MACs in front of operation `end`. */
static void queue_drain(struct queue *queue, size_t end)
{
    while (queue->head < end) {
        queue->ready = (size_t)(text_end(queue) - queue->text);
        queue_finish(queue);
    }
}

/* Says that the operations in front of the cursor are written, and of its own the blocks in front
 * of its block. */
static void queue_reach(struct queue *queue, const struct batch_cursor *at)
{
    if (queue->sealed || queue->head == queue->count || queue->head > at->op)
        return;
    const struct aead_op *op = queue->ops[queue->head];
    const uint8_t *to = op->dst + (queue->head < at->op ? op->len : at->block * CHACHA20_BLOCK);
    queue->ready = (size_t)(to - queue->text);
}

/* Some blocks, if they are there; the last ones of a packet end it. */
static inline __attribute__((always_inline)) void queue_weave(struct queue *queue,
                                                              const struct batch_cursor *at)
{
    if (__builtin_expect(queue->ready >= WOVEN * POLY1305_BLOCK, 1)) {
        const uint8_t *text = queue->text;
#pragma GCC unroll 4
        for (int i = 0; i < WOVEN; i++)
            poly1305_block(&queue->mac, text + POLY1305_BLOCK * i);
        queue->text = text + WOVEN * POLY1305_BLOCK;
        queue->ready -= WOVEN * POLY1305_BLOCK;
    } else if (queue->head < queue->count && queue->text + queue->ready == text_end(queue)) {
        queue_finish(queue);
        queue_reach(queue, at);
    }
}

/* --- ChaCha20 ---------------------------------------------------------------------------------- */

static inline vec broadcast(const uint8_t *word)
{
    int value;
    memcpy(&value, word, sizeof value);
    return _mm256_set1_epi32(value);
}

static inline __attribute__((always_inline)) vec rotate16(vec x)
{
    return _mm256_shuffle_epi8(x, _mm256_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3,
                                                  2, 13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0,
                                                  3, 2));
}

static inline __attribute__((always_inline)) vec rotate8(vec x)
{
    return _mm256_shuffle_epi8(x, _mm256_set_epi8(14, 13, 12, 15, 10, 9, 8, 11, 6, 5, 4, 7, 2, 1, 0,
                                                  3, 14, 13, 12, 15, 10, 9, 8, 11, 6, 5, 4, 7, 2, 1,
                                                  0, 3));
}

static inline __attribute__((always_inline)) vec rotate(vec x, int bits)
{
    return _mm256_or_si256(_mm256_slli_epi32(x, bits), _mm256_srli_epi32(x, 32 - bits));
}

static inline __attribute__((always_inline)) void quarter(vec *a, vec *b, vec *c, vec *d)
{
    *a = _mm256_add_epi32(*a, *b);
    *d = rotate16(_mm256_xor_si256(*d, *a));
    *c = _mm256_add_epi32(*c, *d);
    *b = rotate(_mm256_xor_si256(*b, *c), 12);
    *a = _mm256_add_epi32(*a, *b);
    *d = rotate8(_mm256_xor_si256(*d, *a));
    *c = _mm256_add_epi32(*c, *d);
    *b = rotate(_mm256_xor_si256(*b, *c), 7);
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
    rows->block = rows->low = rows->high = _mm256_setzero_si256();
    rows->last_key = key;
}

/* Gives the lanes from `lane` on to `op`, whose block `block` is in the first of them. */
static inline void rows_take(struct rows *rows, unsigned lane, const struct aead_op *op,
                             size_t block)
{
    const vec iota = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    vec mask = _mm256_cmpgt_epi32(iota, _mm256_set1_epi32((int)lane - 1));
    vec number = _mm256_add_epi32(iota, _mm256_set1_epi32((int)block - (int)lane));
    vec low = _mm256_set1_epi32((int)(uint32_t)op->counter);
    vec high = _mm256_set1_epi32((int)(uint32_t)(op->counter >> 32));
    rows->block = _mm256_blendv_epi8(rows->block, number, mask);
    rows->low = _mm256_blendv_epi8(rows->low, low, mask);
    rows->high = _mm256_blendv_epi8(rows->high, high, mask);
    if (rows->last_key == op->key)
        return;
    for (size_t i = 0; i < 8; i++)
        rows->key[i] = _mm256_blendv_epi8(rows->key[i], broadcast(op->key + 4 * i), mask);
    rows->last_key = op->key;
}

/* Eight rows of words become eight words of each lane. */
static inline __attribute__((always_inline)) void transpose8(vec out[8], const vec in[8])
{
    vec t[8], u[8];
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_epi32(in[2 * i], in[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_epi32(in[2 * i], in[2 * i + 1]);
    }
#pragma GCC unroll 2
    for (size_t i = 0; i < 2; i++) {
        u[4 * i] = _mm256_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 1] = _mm256_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        u[4 * i + 2] = _mm256_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        u[4 * i + 3] = _mm256_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        out[i] = _mm256_permute2x128_si256(u[i], u[4 + i], 0x20);
        out[4 + i] = _mm256_permute2x128_si256(u[i], u[4 + i], 0x31);
    }
}

/* The keystream block of each lane; meanwhile the queue is served. */
static void make_stream(uint8_t stream[LANES][CHACHA20_BLOCK], const struct rows *rows,
                        struct queue *queue, const struct batch_cursor *at)
{
    vec v[16];
    for (size_t i = 0; i < 4; i++)
        v[i] = _mm256_set1_epi32(batch_sigma[i]);
    for (size_t i = 0; i < 8; i++)
        v[4 + i] = rows->key[i];
    v[12] = rows->block;
    v[13] = _mm256_setzero_si256();
    v[14] = rows->low;
    v[15] = rows->high;
    for (int round = 0; round < 10; round++) {
        double_round(v);
        if (queue != NULL)
            queue_weave(queue, at);
    }
    for (size_t i = 0; i < 4; i++)
        v[i] = _mm256_add_epi32(v[i], _mm256_set1_epi32(batch_sigma[i]));
    for (size_t i = 0; i < 8; i++)
        v[4 + i] = _mm256_add_epi32(v[4 + i], rows->key[i]);
    v[12] = _mm256_add_epi32(v[12], rows->block);
    v[14] = _mm256_add_epi32(v[14], rows->low);
    v[15] = _mm256_add_epi32(v[15], rows->high);
    for (size_t half = 0; half < 2; half++) {
        vec out[8];
        transpose8(out, v + 8 * half);
        for (size_t i = 0; i < LANES; i++)
            _mm256_store_si256((vec *)(void *)(stream[i] + 32 * half), out[i]);
    }
}

/* Nothing past `len` is read or written. */
static void apply(const struct batch_run *run, uint8_t stream[LANES][CHACHA20_BLOCK])
{
    size_t bytes = (size_t)run->count * CHACHA20_BLOCK;
    size_t len = run->len < bytes ? run->len : bytes;
    const uint8_t *pad = stream[run->lane];
    size_t i = 0;
    for (; i + 32 <= len; i += 32) {
        vec text = _mm256_loadu_si256((const vec *)(const void *)(run->src + i));
        vec key = _mm256_load_si256((const vec *)(const void *)(pad + i));
        _mm256_storeu_si256((vec *)(void *)(run->dst + i), _mm256_xor_si256(text, key));
    }
    for (; i + 8 <= len; i += 8)
        store_le64(run->dst + i, poly1305_load(run->src + i) ^ poly1305_load(pad + i));
    for (; i < len; i++)
        run->dst[i] = run->src[i] ^ pad[i];
}

/* --- both -------------------------------------------------------------------------------------- */

static void fill(struct batch_pass *pass, struct rows *rows, struct batch_cursor *at,
                 struct aead_op *const *ops, size_t count)
{
    size_t block;
    const struct batch_run *run;
    while ((run = batch_pass_take(pass, LANES, at, ops, count, &block)) != NULL)
        rows_take(rows, run->lane, ops[run->op], block);
}

/* The first passes: the Poly1305 keys of all, and in the lanes left over the first data blocks,
 * which stay in the stream. */
static void begin(struct workspace *work, struct batch_pass *pass, struct batch_cursor *at,
                  struct aead_op *const *ops, size_t count)
{
    for (size_t done = 0; done < count; done += pass->run_count == 0 ? LANES : count) {
        struct rows rows;
        size_t n = count - done < LANES ? count - done : LANES;
        batch_pass_init(pass);
        rows_init(&rows, ops[done]->key);
        for (; pass->lane < n; pass->lane++)
            rows_take(&rows, pass->lane, ops[done + pass->lane], 0);
        rows.block = _mm256_setzero_si256();
        fill(pass, &rows, at, ops, count);
        make_stream(work->stream, &rows, NULL, at);
        for (size_t i = 0; i < n; i++)
            memcpy(work->mac_keys[done + i], work->stream[i], POLY1305_KEY_LEN);
    }
}

static __attribute__((noinline)) void seal_some(struct workspace *work, struct aead_op **ops,
                                                size_t count)
{
    struct batch_pass pass;
    struct batch_cursor at = {0, 0};
    begin(work, &pass, &at, ops, count);
    queue_init(&work->queue, work, ops, count, false);
    for (;;) {
        for (size_t i = 0; i < pass.run_count; i++)
            apply(&pass.runs[i], work->stream);
        if (at.op == count)
            break;
        struct batch_cursor written = at;
        struct rows rows;
        queue_reach(&work->queue, &written);
        batch_pass_init(&pass);
        rows_init(&rows, ops[at.op]->key);
        fill(&pass, &rows, &at, ops, count);
        make_stream(work->stream, &rows, &work->queue, &written);
    }
    queue_drain(&work->queue, count);
    for (size_t i = 0; i < count; i++)
        memcpy(ops[i]->dst + ops[i]->len, work->queue.tags[i], AEAD_TAG_LEN);
}

/* Compares the tags of operations [first, end). Returns how many are right. */
static size_t check(struct queue *queue, size_t first, size_t end)
{
    size_t authentic = 0;
    queue_drain(queue, end);
    for (size_t i = first; i < end; i++) {
        struct aead_op *op = queue->ops[i];
        op->ok = batch_tags_equal(queue->tags[i], op->src + op->len);
        authentic += op->ok;
    }
    return authentic;
}

static __attribute__((noinline)) size_t open_some(struct workspace *work, struct aead_op **ops,
                                                  size_t count)
{
    struct batch_pass pass;
    struct batch_cursor at = {0, 0};
    size_t checked = 0;
    size_t authentic = 0;
    begin(work, &pass, &at, ops, count);
    queue_init(&work->queue, work, ops, count, true);
    for (;;) {
        for (size_t i = 0; i < pass.run_count; i++) {
            unsigned op = pass.runs[i].op;
            if (checked <= op) {
                authentic += check(&work->queue, checked, op + 1);
                checked = op + 1;
            }
            if (ops[op]->ok)
                apply(&pass.runs[i], work->stream);
        }
        if (at.op == count)
            return authentic + check(&work->queue, checked, count);
        struct rows rows;
        batch_pass_init(&pass);
        rows_init(&rows, ops[at.op]->key);
        fill(&pass, &rows, &at, ops, count);
        make_stream(work->stream, &rows, &work->queue, &at);
    }
}

static bool usable(void)
{
    /* looks at XCR0 too: whether the system keeps the registers */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
}

static void seal(struct aead_op *ops, size_t count)
{
    struct workspace work;
    struct aead_op *some[OPS];
    for (size_t n; count > 0; ops += n, count -= n) {
        n = batch_next(some, OPS, ops, count);
        seal_some(&work, some, n);
    }
    bytes_wipe(&work, sizeof work);
    batch_wipe_stack();
}

static size_t open_all(struct aead_op *ops, size_t count)
{
    struct workspace work;
    struct aead_op *some[OPS];
    size_t authentic = 0;
    for (size_t n; count > 0; ops += n, count -= n) {
        n = batch_next(some, OPS, ops, count);
        authentic += open_some(&work, some, n);
    }
    bytes_wipe(&work, sizeof work);
    batch_wipe_stack();
    return authentic;
}

const struct aead_variant aead_avx2 = {"avx2", usable, seal, open_all};
