#include "base/map.h"

#include "base/bytes.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Open addressing with linear probing; a removal moves later entries of its run back, so there are
 * no tombstones. */
struct map_slot {
    const void *key;
    size_t len;
    uint64_t hash;
    void *value; /* NULL: empty */
};

static uint64_t rotl(uint64_t v, int by)
{
    return v << by | v >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] = rotl(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] = rotl(v[2], 32);
}

static void sip_absorb(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

uint64_t map_siphash(const uint8_t seed[16], const void *bytes, size_t len)
{
    uint64_t k0 = load_le64(seed);
    uint64_t k1 = load_le64(seed + 8);
    uint64_t v[4] = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                     k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    const uint8_t *in = bytes;
    size_t left = len;
    for (; left >= 8; left -= 8, in += 8)
        sip_absorb(v, load_le64(in));
    uint8_t last[8] = {0};
    if (left > 0)
        memcpy(last, in, left);
    last[7] = (uint8_t)len;
    sip_absorb(v, load_le64(last));
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void map_init(struct map *map, const uint8_t seed[16])
{
    *map = (struct map){0};
    memcpy(map->seed, seed, sizeof map->seed);
}

void map_fini(struct map *map)
{
    free(map->slots);
    map->slots = NULL;
    map->capacity = 0;
    map->count = 0;
}

/* The slot that holds the key, or the empty slot where it belongs. */
static struct map_slot *find(const struct map *map, const void *key, size_t len, uint64_t hash)
{
    for (size_t i = hash;; i++) {
        struct map_slot *slot = &map->slots[i & (map->capacity - 1)];
        if (slot->value == NULL)
            return slot;
        if (slot->hash == hash && slot->len == len && memcmp(slot->key, key, len) == 0)
            return slot;
    }
}

static int grow(struct map *map)
{
    struct map bigger = *map;
    bigger.capacity = map->capacity > 0 ? map->capacity * 2 : 16;
    bigger.slots = calloc(bigger.capacity, sizeof *bigger.slots);
    if (bigger.slots == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < map->capacity; i++) {
        const struct map_slot *old = &map->slots[i];
        if (old->value != NULL)
            *find(&bigger, old->key, old->len, old->hash) = *old;
    }
    free(map->slots);
    *map = bigger;
    return 0;
}

void *map_get(const struct map *map, const void *key, size_t len)
{
    if (map->count == 0)
        return NULL;
    return find(map, key, len, map_siphash(map->seed, key, len))->value;
}

int map_put(struct map *map, const void *key, size_t len, void *value)
{
    assert(value != NULL);
    if (4 * (map->count + 1) > 3 * map->capacity && grow(map) < 0)
        return -ENOMEM;
    uint64_t hash = map_siphash(map->seed, key, len);
    struct map_slot *slot = find(map, key, len, hash);
    if (slot->value == NULL)
        map->count++;
    *slot = (struct map_slot){.key = key, .len = len, .hash = hash, .value = value};
    return 0;
}

void *map_remove(struct map *map, const void *key, size_t len)
{
    if (map->count == 0)
        return NULL;
    struct map_slot *slot = find(map, key, len, map_siphash(map->seed, key, len));
    void *value = slot->value;
    if (value == NULL)
        return NULL;
    map->count--;
    size_t mask = map->capacity - 1;
    size_t hole = (size_t)(slot - map->slots);
    for (size_t i = (hole + 1) & mask; map->slots[i].value != NULL; i = (i + 1) & mask) {
        size_t home = map->slots[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    map->slots[hole] = (struct map_slot){0};
    return value;
}

void *map_next(const struct map *map, size_t *cursor)
{
    while (*cursor < map->capacity) {
        void *value = map->slots[(*cursor)++].value;
        if (value != NULL)
            return value;
    }
    return NULL;
}
