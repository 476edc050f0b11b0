#ifndef WG_CRYPTO_POLY1305_H
#define WG_CRYPTO_POLY1305_H

#include "base/bytes.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Poly1305 (RFC 8439, section 2.5) in the scalar integer unit, for the AEAD variants: the sum is
 * h2 * 2^128 + h1 * 2^64 + h0. Inline, because one variant runs it between the steps of another
 * unit. The struct holds a key: its owner wipes it. */

struct poly1305 {
    uint64_t h0, h1, h2;
    uint64_t r0, r1;
    uint64_t s1; /* r1 * 5 / 4: r1 is a multiple of 4 */
    uint64_t pad0, pad1;
};

enum { POLY1305_BLOCK = 16, POLY1305_KEY_LEN = 32 };

static inline uint64_t poly1305_load(const uint8_t *in)
{
    uint64_t value;
    memcpy(&value, in, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

/* `key` is r (clamped here) and then s, 16 bytes each. */
static inline void poly1305_init(struct poly1305 *mac, const uint8_t key[POLY1305_KEY_LEN])
{
    mac->h0 = mac->h1 = mac->h2 = 0;
    mac->r0 = poly1305_load(key) & UINT64_C(0x0ffffffc0fffffff);
    mac->r1 = poly1305_load(key + 8) & UINT64_C(0x0ffffffc0ffffffc);
    mac->s1 = mac->r1 + (mac->r1 >> 2);
    mac->pad0 = poly1305_load(key + 16);
    mac->pad1 = poly1305_load(key + 24);
}

/* Adds c1 * 2^64 + c0 to the three words of `h`, and c2 on top. In assembly where it can be: a
 * compiler makes twice as many instructions of the carries, and the chain of them is what bounds
 * the speed. */
static inline __attribute__((always_inline)) void
poly1305_add(uint64_t *h0, uint64_t *h1, uint64_t *h2, uint64_t c0, uint64_t c1, uint64_t c2)
{
#ifdef __x86_64__
    __asm__("add %3, %0\n\tadc %4, %1\n\tadc %5, %2"
            : "+&r"(*h0), "+&r"(*h1), "+&r"(*h2)
            : "rm"(c0), "rme"(c1), "rme"(c2)
            : "cc");
#else
    typedef unsigned __int128 wide;
    wide sum = (wide)*h0 + c0;
    *h0 = (uint64_t)sum;
    sum = (wide)*h1 + c1 + (uint64_t)(sum >> 64);
    *h1 = (uint64_t)sum;
    *h2 += c2 + (uint64_t)(sum >> 64);
#endif
}

/* The same for two words. */
static inline __attribute__((always_inline)) void poly1305_add_two(uint64_t *h0, uint64_t *h1,
                                                                   uint64_t c0, uint64_t c1)
{
#ifdef __x86_64__
    __asm__("add %2, %0\n\tadc %3, %1" : "+&r"(*h0), "+&r"(*h1) : "rm"(c0), "rme"(c1) : "cc");
#else
    unsigned __int128 sum = (unsigned __int128)*h0 + c0;
    *h0 = (uint64_t)sum;
    *h1 += c1 + (uint64_t)(sum >> 64);
#endif
}

/* Absorbs the block m1 * 2^64 + m0 with its high bit: h = (h + m) * r, not fully reduced (h2 is at
 * most 4). */
static inline __attribute__((always_inline)) void poly1305_absorb(struct poly1305 *mac, uint64_t m0,
                                                                  uint64_t m1)
{
    typedef unsigned __int128 wide;
    uint64_t h0 = mac->h0;
    uint64_t h1 = mac->h1;
    uint64_t h2 = mac->h2;
    poly1305_add(&h0, &h1, &h2, m0, m1, 1);

    wide d0 = (wide)h0 * mac->r0 + (wide)h1 * mac->s1;
    wide d1 = (wide)h0 * mac->r1 + (wide)h1 * mac->r0;
    uint64_t l0 = (uint64_t)d0;
    uint64_t l1 = (uint64_t)d1;
    uint64_t l2 = h2 * mac->r0;
    poly1305_add_two(&l1, &l2, (uint64_t)(d0 >> 64), (uint64_t)(d1 >> 64));
    poly1305_add_two(&l1, &l2, h2 * mac->s1, 0);

    uint64_t high = (l2 >> 2) + (l2 & ~UINT64_C(3));
    l2 &= 3;
    poly1305_add(&l0, &l1, &l2, high, 0, 0);
    mac->h0 = l0;
    mac->h1 = l1;
    mac->h2 = l2;
}

static inline __attribute__((always_inline)) void poly1305_block(struct poly1305 *mac,
                                                                 const uint8_t *in)
{
    poly1305_absorb(mac, poly1305_load(in), poly1305_load(in + 8));
}

/* Absorbs `len` bytes, the last block padded with zeros as the AEAD does (RFC 8439, section
 * 2.8). */
static inline void poly1305_padded(struct poly1305 *mac, const uint8_t *in, size_t len)
{
    struct poly1305 local = *mac;
    for (; len >= POLY1305_BLOCK; in += POLY1305_BLOCK, len -= POLY1305_BLOCK)
        poly1305_block(&local, in);
    if (len > 0) {
        uint8_t last[POLY1305_BLOCK] = {0};
        memcpy(last, in, len);
        poly1305_block(&local, last);
    }
    *mac = local;
}

/* Takes the sum l2 * 2^88 + l1 * 2^44 + l0, limbs of at most 46 bits, that another unit made. */
static inline void poly1305_set(struct poly1305 *mac, uint64_t l0, uint64_t l1, uint64_t l2)
{
    typedef unsigned __int128 wide;
    wide sum = (wide)l0 + ((wide)l1 << 44);
    mac->h0 = (uint64_t)sum;
    sum = (sum >> 64) + ((wide)l2 << 24);
    mac->h1 = (uint64_t)sum;
    mac->h2 = (uint64_t)(sum >> 64);
}

/* The tag of an AEAD message without associated data whose text was absorbed. */
static inline void poly1305_finish(struct poly1305 *mac, size_t len, uint8_t tag[16])
{
    typedef unsigned __int128 wide;
    poly1305_absorb(mac, 0, len);
    /* h - p, which is taken when it is not negative: h + 5 reaches 2^130 */
    wide sum = (wide)mac->h0 + 5;
    uint64_t g0 = (uint64_t)sum;
    sum = (wide)mac->h1 + (uint64_t)(sum >> 64);
    uint64_t g1 = (uint64_t)sum;
    uint64_t take = 0 - ((mac->h2 + (uint64_t)(sum >> 64)) >> 2);
    uint64_t h0 = (mac->h0 & ~take) | (g0 & take);
    uint64_t h1 = (mac->h1 & ~take) | (g1 & take);
    sum = (wide)h0 + mac->pad0;
    store_le64(tag, (uint64_t)sum);
    store_le64(tag + 8, h1 + mac->pad1 + (uint64_t)(sum >> 64));
}

#endif
