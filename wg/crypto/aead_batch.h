#ifndef WG_CRYPTO_AEAD_BATCH_H
#define WG_CRYPTO_AEAD_BATCH_H

#include "wg/crypto/aead.h"
#include "wg/crypto/poly1305.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the vector variants of the AEAD share: the operations of a batch as one flattened list of
 * ChaCha20 blocks, of which each pass takes as many as it has lanes. Inline, because each variant
 * is compiled for its own instruction set. */

enum {
    CHACHA20_BLOCK = 64,
    BATCH_LANES = 16,   /* the most lanes that a pass can have */
    BATCH_STACK = 8192, /* where the functions of a variant may have left secrets */
};

/* "expand 32-byte k", in words */
static const int batch_sigma[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};

/* Successive lanes of a pass that belong to one operation. */
struct batch_run {
    const uint8_t *src;
    uint8_t *dst;
    size_t len; /* bytes, from the first lane on */
    unsigned op;
    unsigned lane;
    unsigned count;
};

/* Which lanes of a pass are whose. */
struct batch_pass {
    struct batch_run runs[BATCH_LANES];
    size_t run_count;
    unsigned lane; /* the next free one */
};

/* How far the flattened list of data blocks has been taken. */
struct batch_cursor {
    unsigned op;
    size_t block;
};

static inline size_t batch_blocks(const struct aead_op *op)
{
    return (op->len + CHACHA20_BLOCK - 1) / CHACHA20_BLOCK;
}

static inline void batch_pass_init(struct batch_pass *pass)
{
    pass->run_count = 0;
    pass->lane = 0;
}

/* Gives free lanes, of `lanes`, to the next data blocks of the operation at the cursor. Returns
 * the run, whose first block is block number `*block` of ChaCha20; NULL when there is none. */
static inline const struct batch_run *batch_pass_take(struct batch_pass *pass, unsigned lanes,
                                                      struct batch_cursor *at,
                                                      struct aead_op *const *ops, size_t count,
                                                      size_t *block)
{
    while (at->op < count && pass->lane < lanes) {
        const struct aead_op *op = ops[at->op];
        size_t left = batch_blocks(op) - at->block;
        unsigned take = left < lanes - pass->lane ? (unsigned)left : lanes - pass->lane;
        struct batch_run *run = &pass->runs[pass->run_count];
        size_t done = at->block * CHACHA20_BLOCK;
        *run = (struct batch_run){op->src + done, op->dst + done, op->len - done,
                                  at->op,         pass->lane,     take};
        *block = 1 + at->block;
        pass->lane += take;
        at->block += take;
        if (take == left)
            *at = (struct batch_cursor){at->op + 1, 0};
        if (take > 0) {
            pass->run_count++;
            return run;
        }
    }
    return NULL;
}

/* Takes the next operations, at most `most`, the longest first: packets of like length side by
 * side waste the least. */
static inline size_t batch_next(struct aead_op **next, size_t most, struct aead_op *ops,
                                size_t count)
{
    size_t n = count < most ? count : most;
    for (size_t i = 0; i < n; i++) {
        size_t at = i;
        for (; at > 0 && next[at - 1]->len < ops[i].len; at--)
            next[at] = next[at - 1];
        next[at] = ops + i;
    }
    return n;
}

/* In constant time. */
static inline bool batch_tags_equal(const uint8_t *a, const uint8_t *b)
{
    return ((poly1305_load(a) ^ poly1305_load(b)) |
            (poly1305_load(a + 8) ^ poly1305_load(b + 8))) == 0;
}

/* Overwrites what calls before this one left below the caller's frame. */
static __attribute__((noinline)) void batch_wipe_stack(void)
{
    uint8_t room[BATCH_STACK];
    bytes_wipe(room, sizeof room);
}

#endif
