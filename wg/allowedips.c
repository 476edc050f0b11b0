#include "wg/allowedips.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

/* A binary trie with compressed paths, one per family. A node stands for a prefix. Its children are
 * longer prefixes of it, distinguished by the first bit behind it. A node without an owner only
 * branches and has two children, so n prefixes take at most 2n - 1 nodes.
 *
 * Three pointers of a node change while readers can see it: owner and children. An insertion builds
 * the new nodes aside and links them with one store. A removal stores NULL as the owner, then
 * bypasses the node and gives it to the garbage. A reader inside a bypassed node continues from it
 * and sees what was true when it arrived. */

enum { MAX_WORDS = 4 };

/* A prefix as the trie wants it: words of 32 bits in our byte order, most significant first. */
struct key {
    uint8_t family;
    uint8_t len;
    uint32_t words[MAX_WORDS];
};

struct allowedips_node {
    _Atomic(struct allowedips_node *) children[2];
    _Atomic(struct wg_peer *) owner;
    union {
        struct list place; /* in its owner's list */
        struct garbage_item garbage;
    };
    uint8_t family;
    uint8_t len;
    uint32_t words[]; /* 1 or 4 */
};

/* A position in the trie: the link to a node, and the node that holds the link. */
struct step {
    _Atomic(struct allowedips_node *) *link;
    struct allowedips_node *node;
};

static uint8_t word_count(uint8_t family)
{
    return family == 4 ? 1 : MAX_WORDS;
}

static void load_words(uint32_t words[MAX_WORDS], uint8_t family, const uint8_t *bytes)
{
    for (uint8_t i = 0; i < word_count(family); i++)
        words[i] = load_be32(bytes + 4 * (size_t)i);
}

static struct key key_from_prefix(const struct ip_prefix *prefix)
{
    struct ip_prefix masked = *prefix;
    struct key key = {.family = prefix->addr.family, .len = prefix->len};
    ip_prefix_mask(&masked);
    load_words(key.words, key.family, masked.addr.bytes);
    return key;
}

static unsigned bit_at(const uint32_t *words, uint8_t place)
{
    return words[place / 32] >> (31 - place % 32) & 1;
}

/* The number of equal leading bits, at most `limit`, which is within both. */
static uint8_t common_bits(const uint32_t *a, const uint32_t *b, uint8_t limit)
{
    for (unsigned i = 0; i * 32 < limit; i++) {
        uint32_t diff = a[i] ^ b[i];
        if (diff != 0) {
            unsigned same = i * 32 + (unsigned)__builtin_clz(diff);
            return same < limit ? (uint8_t)same : limit;
        }
    }
    return limit;
}

static struct allowedips_node *load(const _Atomic(struct allowedips_node *) *link)
{
    return atomic_load_explicit((_Atomic(struct allowedips_node *) *)link, memory_order_acquire);
}

static void publish(_Atomic(struct allowedips_node *) *link, struct allowedips_node *node)
{
    atomic_store_explicit(link, node, memory_order_release);
}

static struct wg_peer *owner_of(const struct allowedips_node *node)
{
    return atomic_load_explicit(&((struct allowedips_node *)node)->owner, memory_order_acquire);
}

void allowedips_init(struct allowedips *table)
{
    atomic_init(&table->roots[0], NULL);
    atomic_init(&table->roots[1], NULL);
    table->count = 0;
}

/* The trie is at most as deep as a prefix is long. */
static void free_tree(struct allowedips_node *node)
{
    if (node == NULL)
        return;
    free_tree(load(&node->children[0]));
    free_tree(load(&node->children[1]));
    free(node);
}

void allowedips_fini(struct allowedips *table)
{
    free_tree(load(&table->roots[0]));
    free_tree(load(&table->roots[1]));
    allowedips_init(table);
}

static void free_node(struct garbage_item *item)
{
    free(container_of(item, struct allowedips_node, garbage));
}

static struct allowedips_node *node_create(const struct key *key, uint8_t len)
{
    uint8_t words = word_count(key->family);
    struct allowedips_node *node = malloc(sizeof *node + words * sizeof node->words[0]);
    if (node == NULL)
        return NULL;
    atomic_init(&node->children[0], NULL);
    atomic_init(&node->children[1], NULL);
    atomic_init(&node->owner, NULL);
    list_init(&node->place);
    node->family = key->family;
    node->len = len;
    for (uint8_t i = 0; i < words; i++)
        node->words[i] = key->words[i];
    return node;
}

static bool covers(const struct allowedips_node *node, const uint32_t *words)
{
    return common_bits(node->words, words, node->len) == node->len;
}

static _Atomic(struct allowedips_node *) *root_of(struct allowedips *table, uint8_t family)
{
    return &table->roots[family == 4 ? 0 : 1];
}

/* Descends while nodes are shorter than the key and cover it. The last step's node is the key's
 * own, or what stands in its place: a node that is longer or beside it, or NULL. `above` keeps the
 * two steps before the last. */
static struct step descend(struct allowedips *table, const struct key *key, struct step *above)
{
    struct step step = {root_of(table, key->family), NULL};
    struct step parent = {NULL, NULL};
    for (;;) {
        step.node = load(step.link);
        if (step.node == NULL || step.node->len >= key->len || !covers(step.node, key->words))
            break;
        parent = step;
        step.link = &step.node->children[bit_at(key->words, step.node->len)];
    }
    if (above != NULL)
        *above = parent;
    return step;
}

static bool is_key(const struct allowedips_node *node, const struct key *key)
{
    return node != NULL && node->len == key->len && covers(node, key->words);
}

/* Links `fresh` where `step` ended. May need another node to branch. */
static int link_node(struct step step, struct allowedips_node *fresh, const struct key *key)
{
    struct allowedips_node *there = step.node;
    if (there == NULL) {
        publish(step.link, fresh);
        return 0;
    }
    uint8_t limit = there->len < key->len ? there->len : key->len;
    uint8_t common = common_bits(there->words, key->words, limit);
    struct allowedips_node *top = fresh;
    if (common < key->len) {
        top = node_create(key, common);
        if (top == NULL)
            return -ENOMEM;
        publish(&top->children[bit_at(key->words, common)], fresh);
    }
    publish(&top->children[bit_at(there->words, common)], there);
    publish(step.link, top);
    return 0;
}

int allowedips_insert(struct allowedips *table, const struct ip_prefix *prefix,
                      struct wg_peer *peer, struct list *owned)
{
    struct key key = key_from_prefix(prefix);
    struct step step = descend(table, &key, NULL);
    struct allowedips_node *node = step.node;
    if (!is_key(node, &key)) {
        node = node_create(&key, key.len);
        if (node == NULL)
            return -ENOMEM;
        /* owned before it is linked, so that one store shows both */
        atomic_init(&node->owner, peer);
        if (link_node(step, node, &key) != 0) {
            free(node);
            return -ENOMEM;
        }
        table->count++;
    } else {
        if (owner_of(node) == NULL)
            table->count++;
        atomic_store_explicit(&node->owner, peer, memory_order_release);
    }
    list_remove(&node->place);
    list_append(owned, &node->place);
    return 0;
}

/* Unlinks a node with at most one child and no owner. */
static void bypass(struct step step, struct garbage *garbage)
{
    struct allowedips_node *child = load(&step.node->children[0]);
    if (child == NULL)
        child = load(&step.node->children[1]);
    publish(step.link, child);
    garbage_push(garbage, &step.node->garbage, free_node);
}

static bool is_needed(const struct allowedips_node *node)
{
    return owner_of(node) != NULL ||
           (load(&node->children[0]) != NULL && load(&node->children[1]) != NULL);
}

static void disown(struct allowedips *table, struct step step, struct step parent,
                   struct garbage *garbage)
{
    atomic_store_explicit(&step.node->owner, NULL, memory_order_release);
    list_remove(&step.node->place);
    table->count--;
    if (!is_needed(step.node))
        bypass(step, garbage);
    if (parent.node != NULL && !is_needed(parent.node))
        bypass(parent, garbage);
}

bool allowedips_remove(struct allowedips *table, const struct ip_prefix *prefix,
                       const struct wg_peer *peer, struct garbage *garbage)
{
    struct key key = key_from_prefix(prefix);
    struct step parent;
    struct step step = descend(table, &key, &parent);
    if (!is_key(step.node, &key) || owner_of(step.node) != peer)
        return false;
    disown(table, step, parent, garbage);
    return true;
}

void allowedips_remove_all(struct allowedips *table, struct list *owned, struct garbage *garbage)
{
    while (!list_empty(owned)) {
        struct allowedips_node *node = list_first(owned, struct allowedips_node, place);
        struct key key = {.family = node->family, .len = node->len};
        for (uint8_t i = 0; i < word_count(key.family); i++)
            key.words[i] = node->words[i];
        struct step parent;
        struct step step = descend(table, &key, &parent);
        disown(table, step, parent, garbage);
    }
}

struct wg_peer *allowedips_owner(const struct allowedips *table, const struct ip_prefix *prefix)
{
    struct key key = key_from_prefix(prefix);
    struct step step = descend((struct allowedips *)table, &key, NULL);
    return is_key(step.node, &key) ? owner_of(step.node) : NULL;
}

void allowedips_prefix(const struct list *pos, struct ip_prefix *out)
{
    const struct allowedips_node *node = container_of(pos, struct allowedips_node, place);
    uint8_t bytes[4 * MAX_WORDS];
    for (uint8_t i = 0; i < word_count(node->family); i++)
        store_be32(bytes + 4 * (size_t)i, node->words[i]);
    ip_addr_from_bytes(&out->addr, node->family, bytes);
    out->len = node->len;
    ip_prefix_mask(out);
}

struct wg_peer *allowedips_lookup(const struct allowedips *table, uint8_t family,
                                  const uint8_t *bytes)
{
    uint32_t words[MAX_WORDS] = {0};
    uint8_t bits = family == 4 ? 32 : 128;
    struct wg_peer *best = NULL;
    if (family != 4 && family != 6)
        return NULL;
    load_words(words, family, bytes);
    const struct allowedips_node *node = load(&table->roots[family == 4 ? 0 : 1]);
    while (node != NULL && covers(node, words)) {
        struct wg_peer *owner = owner_of(node);
        if (owner != NULL)
            best = owner;
        if (node->len == bits)
            break;
        node = load(&node->children[bit_at(words, node->len)]);
    }
    return best;
}
