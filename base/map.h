#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

/* A hash table from byte strings to pointers. Keys are borrowed: they live in the value or outlive
 * the entry. The hash is SipHash-2-4 (Aumasson and Bernstein, 2012) under the caller's seed, so
 * that keys chosen by an attacker do not collide. */
struct map {
    struct map_slot *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
    uint8_t seed[16];
};

void map_init(struct map *map, const uint8_t seed[16]);
void map_fini(struct map *map);

/* The value, or NULL. */
void *map_get(const struct map *map, const void *key, size_t len);

/* Adds or replaces; `value` is not NULL. On replacement the new key is kept. Returns 0 or -ENOMEM
 * with the map unchanged. */
int map_put(struct map *map, const void *key, size_t len, void *value);

/* Removes the entry and returns its value, or NULL. */
void *map_remove(struct map *map, const void *key, size_t len);

/* Walks the values in no particular order: start with *cursor == 0, NULL ends. The map must not
 * change meanwhile. */
void *map_next(const struct map *map, size_t *cursor);

uint64_t map_siphash(const uint8_t seed[16], const void *bytes, size_t len);

#endif
