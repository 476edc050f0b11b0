#include "wg/crypto/blake2s.h"

#include "base/bytes.h"

#include <assert.h>
#include <blake2.h>

/* The library's state is packed bytes, so ours can embed it without including its header. */
static_assert(sizeof(blake2s_state) <= sizeof(struct blake2s), "room for the library's state");
static_assert(_Alignof(blake2s_state) == 1, "no alignment needed");

enum { LIBRARY_STACK = 512 }; /* most bytes of one call */

static blake2s_state *inner(struct blake2s *hash)
{
    return (blake2s_state *)(void *)hash->state;
}

void blake2s_begin(struct blake2s *hash, size_t out_len, const uint8_t *key, size_t key_len)
{
    assert(out_len >= 1 && out_len <= BLAKE2S_HASH_LEN && key_len <= BLAKE2S_KEYBYTES);
    int rc = key_len == 0 ? blake2s_init(inner(hash), out_len)
                          : blake2s_init_key(inner(hash), out_len, key, key_len);
    assert(rc == 0);
    (void)rc;
}

void blake2s_absorb(struct blake2s *hash, const void *bytes, size_t len)
{
    if (len > 0)
        blake2s_update(inner(hash), bytes, len);
}

/* The library leaves a copy of the result, which may be a key, on the stack. */
static __attribute__((noinline)) void wipe_stack_below(void)
{
    uint8_t room[LIBRARY_STACK];
    bytes_wipe(room, sizeof room);
}

void blake2s_finish(struct blake2s *hash, uint8_t *out)
{
    blake2s_final(inner(hash), out, inner(hash)->outlen);
    wipe_stack_below();
    bytes_wipe(hash, sizeof *hash);
}

void blake2s_hash(uint8_t out[BLAKE2S_HASH_LEN], const void *a, size_t a_len, const void *b,
                  size_t b_len)
{
    struct blake2s hash;
    blake2s_begin(&hash, BLAKE2S_HASH_LEN, NULL, 0);
    blake2s_absorb(&hash, a, a_len);
    blake2s_absorb(&hash, b, b_len);
    blake2s_finish(&hash, out);
}

void blake2s_mac(uint8_t out[BLAKE2S_MAC_LEN], const uint8_t *key, size_t key_len,
                 const void *bytes, size_t len)
{
    struct blake2s hash;
    blake2s_begin(&hash, BLAKE2S_MAC_LEN, key, key_len);
    blake2s_absorb(&hash, bytes, len);
    blake2s_finish(&hash, out);
}
