#include "wg/allowedips.h"

#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

/* The trie against a list that is searched from end to end. */

enum { PEERS = 6, PREFIXES = 256 };

struct entry {
    struct ip_prefix prefix;
    size_t peer;
};

struct model {
    struct entry entries[PREFIXES];
    size_t count;
};

static uint8_t peers[PEERS]; /* their addresses stand for peers, which the table never looks into */

static struct wg_peer *peer_at(size_t number)
{
    return (struct wg_peer *)(void *)&peers[number];
}

/* Few different addresses, so that prefixes meet: a byte of the input gives two bits each to four
 * places, which lie apart by a distance that it chooses. */
static void take_prefix(struct input *input, struct ip_prefix *out)
{
    uint8_t bytes[16] = {0};
    uint8_t shape = input_byte(input);
    uint8_t family = shape & 1 ? 6 : 4;
    if (shape & 2) {
        input_fill(input, bytes, family == 4 ? 4 : 16);
    } else {
        uint8_t bits = input_byte(input);
        size_t stride = family == 4 ? 1 : 1 + (shape >> 2) % 4;
        for (size_t i = 0; i < 4; i++)
            bytes[i * stride] = (uint8_t)((bits >> (2 * i) & 3) << ((shape >> 4) % 7));
    }
    ip_addr_from_bytes(&out->addr, family, bytes);
    out->len = (uint8_t)(input_byte(input) % (ip_addr_bits(&out->addr) + 1));
}

static struct entry *find(struct model *model, const struct ip_prefix *prefix)
{
    struct ip_prefix masked = *prefix;
    ip_prefix_mask(&masked);
    for (size_t i = 0; i < model->count; i++) {
        if (ip_prefix_equal(&model->entries[i].prefix, &masked))
            return &model->entries[i];
    }
    return NULL;
}

static void drop(struct model *model, struct entry *entry)
{
    *entry = model->entries[--model->count];
}

static struct wg_peer *best(const struct model *model, const struct ip_addr *addr)
{
    const struct entry *found = NULL;
    for (size_t i = 0; i < model->count; i++) {
        const struct entry *entry = &model->entries[i];
        if (ip_prefix_contains(&entry->prefix, addr) &&
            (found == NULL || entry->prefix.len > found->prefix.len))
            found = entry;
    }
    return found != NULL ? peer_at(found->peer) : NULL;
}

static void check_lookup(const struct allowedips *table, const struct model *model,
                         const struct ip_addr *addr)
{
    require(allowedips_lookup(table, addr->family, addr->bytes) == best(model, addr));
}

/* The first and the last address of a prefix, and their neighbours outside. */
static void check_edges(const struct allowedips *table, const struct model *model,
                        const struct ip_prefix *prefix)
{
    struct ip_addr addr = prefix->addr;
    check_lookup(table, model, &addr);
    for (size_t i = prefix->len; i < ip_addr_bits(&addr); i++)
        addr.bytes[i / 8] |= (uint8_t)(0x80 >> i % 8);
    check_lookup(table, model, &addr);
    if (ip_addr_add(&addr, 1))
        check_lookup(table, model, &addr);
    if (prefix->len > 0) {
        addr = prefix->addr;
        addr.bytes[(prefix->len - 1) / 8] ^= (uint8_t)(0x80 >> (prefix->len - 1) % 8);
        check_lookup(table, model, &addr);
    }
}

static void check_all(const struct allowedips *table, struct model *model,
                      const struct list owned[PEERS])
{
    size_t listed = 0;
    require(table->count == model->count);
    for (size_t i = 0; i < model->count; i++) {
        const struct entry *entry = &model->entries[i];
        require(allowedips_owner(table, &entry->prefix) == peer_at(entry->peer));
        check_edges(table, model, &entry->prefix);
    }
    for (size_t peer = 0; peer < PEERS; peer++) {
        list_for_each (pos, &owned[peer]) {
            struct ip_prefix prefix;
            allowedips_prefix(pos, &prefix);
            struct entry *entry = find(model, &prefix);
            require(entry != NULL && entry->peer == peer);
            require(ip_prefix_is_masked(&prefix));
            listed++;
        }
    }
    require(listed == model->count);
}

static void insert(struct allowedips *table, struct model *model, struct list owned[PEERS],
                   const struct ip_prefix *prefix, size_t peer)
{
    struct entry *entry = find(model, prefix);
    if (entry == NULL && model->count == PREFIXES)
        return;
    require(allowedips_insert(table, prefix, peer_at(peer), &owned[peer]) == 0);
    if (entry == NULL)
        entry = &model->entries[model->count++];
    entry->prefix = *prefix;
    ip_prefix_mask(&entry->prefix);
    entry->peer = peer;
}

static void remove_one(struct allowedips *table, struct model *model,
                       const struct ip_prefix *prefix, size_t peer, struct garbage *garbage)
{
    struct entry *entry = find(model, prefix);
    bool is_owner = entry != NULL && entry->peer == peer;
    require(allowedips_remove(table, prefix, peer_at(peer), garbage) == is_owner);
    if (is_owner)
        drop(model, entry);
}

static void remove_all(struct allowedips *table, struct model *model, struct list *owned,
                       size_t peer, struct garbage *garbage)
{
    allowedips_remove_all(table, owned, garbage);
    require(list_empty(owned));
    for (size_t i = model->count; i-- > 0;) {
        if (model->entries[i].peer == peer)
            drop(model, &model->entries[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct allowedips table;
    struct garbage garbage;
    struct list owned[PEERS];
    struct model model = {.count = 0};
    allowedips_init(&table);
    garbage_init(&garbage);
    for (size_t i = 0; i < PEERS; i++)
        list_init(&owned[i]);
    while (input_has(&input)) {
        uint8_t what = input_byte(&input);
        size_t peer = what / 16 % PEERS;
        struct ip_prefix prefix;
        switch (what % 16) {
        case 0:
        case 1:
        case 2:
            take_prefix(&input, &prefix);
            remove_one(&table, &model, &prefix, peer, &garbage);
            break;
        case 3:
            remove_all(&table, &model, &owned[peer], peer, &garbage);
            break;
        case 4:
            take_prefix(&input, &prefix);
            check_lookup(&table, &model, &prefix.addr);
            break;
        case 5:
            check_all(&table, &model, owned);
            break;
        case 6: /* a grace period */
            garbage_free(garbage_take(&garbage));
            break;
        default:
            take_prefix(&input, &prefix);
            insert(&table, &model, owned, &prefix, peer);
            break;
        }
        require(table.count == model.count);
    }
    check_all(&table, &model, owned);
    allowedips_fini(&table);
    garbage_free(garbage_take(&garbage));
    return 0;
}
