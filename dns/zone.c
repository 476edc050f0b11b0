#include "dns/zone.h"

#include "base/map.h"
#include "base/search.h"
#include "dns/reserved.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Forward names are a hash table of nodes. A bare NAME is a node that borrows the records of
 * NAME.DOMAIN. Reverse names are not stored: each is parsed into an address prefix, which is looked
 * up in the sorted array of addresses. */

struct node {
    struct node *same; /* set on a bare name: the node with its records */
    struct zone_record *records;
    struct dns_name name; /* in lower case, the key in the map */
};

struct zone_ptr {
    struct ip_addr addr;
    const struct dns_name *name;
};

struct zone {
    atomic_uint refs;
    struct dns_name domain;
    struct dns_name ns;
    struct dns_name mailbox;
    uint32_t serial;
    uint32_t ttl;
    uint32_t negative_ttl;
    struct map nodes;
    struct zone_ptr *ptrs; /* sorted by address, then name */
    size_t ptr_count;
    struct ip_prefix *networks;
    size_t network_count;
};

struct zone_builder {
    struct zone *zone;
    size_t ptr_capacity;
};

/* A parsed reverse name: the leading bits of an address. */
struct reverse {
    struct ip_prefix prefix;
    size_t labels; /* in front of in-addr.arpa or ip6.arpa */
    bool is_below; /* below a complete address, or malformed */
};

static const struct dns_name in_addr_arpa = {14, "\7in-addr\4arpa"};
static const struct dns_name ip6_arpa = {10, "\3ip6\4arpa"};

static bool is_label_char(uint8_t c, bool underscore)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || (underscore && c == '_');
}

/* Letters, digits and hyphens (RFC 1123 section 2.1); `underscore` allows service labels too. */
static bool name_is_valid(const struct dns_name *name, bool underscore)
{
    if (name->len == 1)
        return false;
    for (size_t at = 0; name->bytes[at] != 0; at += (size_t)name->bytes[at] + 1) {
        const uint8_t *label = name->bytes + at + 1;
        size_t count = name->bytes[at];
        if (label[0] == '-' || label[count - 1] == '-')
            return false;
        for (size_t i = 0; i < count; i++)
            if (!is_label_char(label[i], underscore))
                return false;
    }
    return true;
}

/* A valid name in lower case. */
static bool parse_name(struct dns_name *out, const char *text, bool underscore)
{
    if (!dns_name_from_text(out, text))
        return false;
    dns_name_lower(out);
    return name_is_valid(out, underscore);
}

/* name.domain */
static bool join(struct dns_name *out, const struct dns_name *name, const struct dns_name *domain)
{
    size_t front = (size_t)name->len - 1;
    if (front + domain->len > DNS_NAME_MAX)
        return false;
    memcpy(out->bytes, name->bytes, front);
    memcpy(out->bytes + front, domain->bytes, domain->len);
    out->len = (uint8_t)(front + domain->len);
    return true;
}

static bool name_under_domain(struct dns_name *out, const struct zone *zone, const char *text,
                              bool underscore)
{
    struct dns_name name;
    return parse_name(&name, text, underscore) && join(out, &name, &zone->domain);
}

static void free_records(struct zone_record *record)
{
    while (record != NULL) {
        struct zone_record *next = record->next;
        if (record->type == DNS_TYPE_SRV)
            free(record->srv.target);
        free(record);
        record = next;
    }
}

static void zone_free(struct zone *zone)
{
    size_t cursor = 0;
    for (struct node *node; (node = map_next(&zone->nodes, &cursor)) != NULL;) {
        free_records(node->records);
        free(node);
    }
    map_fini(&zone->nodes);
    free(zone->ptrs);
    free(zone->networks);
    free(zone);
}

/* Finds or creates the node, and the empty nodes between it and the domain (RFC 8020: a name exists
 * when one below it does). */
static struct node *make_node(struct zone *zone, const struct dns_name *name)
{
    struct node *node = map_get(&zone->nodes, name->bytes, name->len);
    if (node != NULL)
        return node;
    node = calloc(1, sizeof *node);
    if (node == NULL)
        return NULL;
    node->name = *name;
    if (map_put(&zone->nodes, node->name.bytes, node->name.len, node) < 0) {
        free(node);
        return NULL;
    }
    size_t skip = (size_t)name->bytes[0] + 1;
    struct dns_name parent = {.len = (uint8_t)(name->len - skip)};
    memcpy(parent.bytes, name->bytes + skip, parent.len);
    if (parent.len > zone->domain.len && make_node(zone, &parent) == NULL)
        return NULL;
    return node;
}

/* Whether a host may be found by its name alone: a single label that nothing else in DNS uses. The
 * domain's own name stays the apex. */
static bool has_bare_name(const struct zone *zone, const struct dns_name *bare)
{
    char label[DNS_LABEL_MAX + 1];
    size_t len = bare->bytes[0];
    if (len + 2 != bare->len || dns_name_equal(bare, &zone->domain))
        return false;
    memcpy(label, bare->bytes + 1, len);
    label[len] = '\0';
    return !reserved_is_bare(label);
}

static int make_bare(struct zone *zone, const struct dns_name *bare, struct node *host)
{
    if (!has_bare_name(zone, bare))
        return 0;
    struct node *node = map_get(&zone->nodes, bare->bytes, bare->len);
    if (node == NULL) {
        node = calloc(1, sizeof *node);
        if (node == NULL)
            return -ENOMEM;
        node->name = *bare;
        if (map_put(&zone->nodes, node->name.bytes, node->name.len, node) < 0) {
            free(node);
            return -ENOMEM;
        }
    }
    node->same = host;
    return 0;
}

struct zone_builder *zone_builder_create(const struct zone_config *config)
{
    static const struct dns_name hostmaster = {12, "\12hostmaster"};
    struct zone_builder *builder = calloc(1, sizeof *builder);
    struct zone *zone = calloc(1, sizeof *zone);
    if (builder == NULL || zone == NULL) {
        free(builder);
        free(zone);
        return NULL;
    }
    builder->zone = zone;
    atomic_init(&zone->refs, 1);
    zone->serial = config->serial;
    zone->ttl = config->ttl;
    zone->negative_ttl = config->negative_ttl;
    map_init(&zone->nodes, config->seed);
    if (!parse_name(&zone->domain, config->domain, false) ||
        !name_under_domain(&zone->ns, zone, config->ns, false) ||
        !join(&zone->mailbox, &hostmaster, &zone->domain) ||
        make_node(zone, &zone->domain) == NULL) {
        zone_builder_destroy(builder);
        return NULL;
    }
    return builder;
}

void zone_builder_destroy(struct zone_builder *builder)
{
    if (builder == NULL)
        return;
    if (builder->zone != NULL)
        zone_free(builder->zone);
    free(builder);
}

static int reserve_ptr(struct zone_builder *builder)
{
    struct zone *zone = builder->zone;
    if (zone->ptr_count < builder->ptr_capacity)
        return 0;
    size_t capacity = builder->ptr_capacity == 0 ? 16 : 2 * builder->ptr_capacity;
    struct zone_ptr *ptrs = realloc(zone->ptrs, capacity * sizeof *ptrs);
    if (ptrs == NULL)
        return -ENOMEM;
    zone->ptrs = ptrs;
    builder->ptr_capacity = capacity;
    return 0;
}

static bool record_equal(const struct zone_record *a, const struct zone_record *b)
{
    if (a->type != b->type)
        return false;
    if (a->type != DNS_TYPE_SRV)
        return memcmp(a->addr, b->addr, sizeof a->addr) == 0;
    return a->srv.priority == b->srv.priority && a->srv.weight == b->srv.weight &&
           a->srv.port == b->srv.port && dns_name_equal(a->srv.target, b->srv.target);
}

/* Takes ownership of the record. Returns 1 when it was new, 0 when it was there already: an RRset
 * has no duplicates (RFC 2181 section 5). */
static int append_record(struct node *node, struct zone_record *record)
{
    struct zone_record **at = &node->records;
    while (*at != NULL && !record_equal(*at, record))
        at = &(*at)->next;
    if (*at != NULL) {
        free_records(record);
        return 0;
    }
    *at = record;
    return 1;
}

int zone_builder_add_host(struct zone_builder *builder, const char *name,
                          const struct ip_addr *addr)
{
    struct zone *zone = builder->zone;
    struct dns_name bare;
    struct dns_name full;
    if (!parse_name(&bare, name, false) || !join(&full, &bare, &zone->domain) ||
        (addr->family != 4 && addr->family != 6))
        return -EINVAL;
    struct zone_record *record = calloc(1, sizeof *record);
    struct node *node = record == NULL ? NULL : make_node(zone, &full);
    if (node == NULL || reserve_ptr(builder) < 0 || make_bare(zone, &bare, node) < 0) {
        free(record);
        return -ENOMEM;
    }
    record->type = addr->family == 4 ? DNS_TYPE_A : DNS_TYPE_AAAA;
    memcpy(record->addr, addr->bytes, sizeof record->addr);
    if (append_record(node, record) == 1)
        zone->ptrs[zone->ptr_count++] = (struct zone_ptr){*addr, &node->name};
    return 0;
}

int zone_builder_add_srv(struct zone_builder *builder, const char *owner, uint16_t priority,
                         uint16_t weight, uint16_t port, const char *target)
{
    struct zone *zone = builder->zone;
    struct dns_name full;
    struct dns_name target_name;
    if (!name_under_domain(&full, zone, owner, true) ||
        !name_under_domain(&target_name, zone, target, false))
        return -EINVAL;
    struct zone_record *record = calloc(1, sizeof *record);
    if (record == NULL)
        return -ENOMEM;
    record->type = DNS_TYPE_SRV;
    record->srv.priority = priority;
    record->srv.weight = weight;
    record->srv.port = port;
    record->srv.target = malloc(sizeof target_name);
    struct node *node = record->srv.target == NULL ? NULL : make_node(zone, &full);
    if (node == NULL) {
        free_records(record);
        return -ENOMEM;
    }
    *record->srv.target = target_name;
    append_record(node, record);
    return 0;
}

int zone_builder_add_network(struct zone_builder *builder, const struct ip_prefix *network)
{
    struct zone *zone = builder->zone;
    if (network->addr.family != 4 && network->addr.family != 6)
        return -EINVAL;
    struct ip_prefix *networks =
        realloc(zone->networks, (zone->network_count + 1) * sizeof *networks);
    if (networks == NULL)
        return -ENOMEM;
    zone->networks = networks;
    networks[zone->network_count] = *network;
    ip_prefix_mask(&networks[zone->network_count++]);
    return 0;
}

static int compare_ptr(const void *a, const void *b)
{
    const struct zone_ptr *x = a;
    const struct zone_ptr *y = b;
    int order = ip_addr_compare(&x->addr, &y->addr);
    if (order != 0)
        return order;
    size_t len = x->name->len < y->name->len ? x->name->len : y->name->len;
    return memcmp(x->name->bytes, y->name->bytes, len);
}

struct zone *zone_build(struct zone_builder *builder)
{
    struct zone *zone = builder->zone;
    if (zone->ptr_count > 0)
        qsort(zone->ptrs, zone->ptr_count, sizeof *zone->ptrs, compare_ptr);
    builder->zone = NULL;
    zone_builder_destroy(builder);
    return zone;
}

struct zone *zone_ref(struct zone *zone)
{
    atomic_fetch_add_explicit(&zone->refs, 1, memory_order_relaxed);
    return zone;
}

void zone_put(struct zone *zone)
{
    if (zone != NULL && atomic_fetch_sub_explicit(&zone->refs, 1, memory_order_acq_rel) == 1)
        zone_free(zone);
}

/* The offset in `name` at which `suffix` begins, or -1. */
static int suffix_at(const struct dns_name *name, const struct dns_name *suffix)
{
    if (name->len < suffix->len)
        return -1;
    size_t want = (size_t)name->len - suffix->len;
    size_t at = 0;
    while (at < want)
        at += (size_t)name->bytes[at] + 1;
    if (at != want || memcmp(name->bytes + at, suffix->bytes, suffix->len) != 0)
        return -1;
    return (int)at;
}

/* One label of a reverse name: a decimal octet without leading zeros, or a nibble. */
static int reverse_label(const uint8_t *label, uint8_t family)
{
    size_t count = label[0];
    if (family == 6) {
        uint8_t c = label[1];
        if (count != 1)
            return -1;
        if (c >= '0' && c <= '9')
            return c - '0';
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    }
    int value = 0;
    if (count > 3 || (count > 1 && label[1] == '0'))
        return -1;
    for (size_t i = 1; i <= count; i++) {
        if (label[i] < '0' || label[i] > '9')
            return -1;
        value = 10 * value + (label[i] - '0');
    }
    return value <= 255 ? value : -1;
}

/* Reads the labels before `arpa_at` from the right, as far as they spell an address. */
static void read_reverse(struct reverse *out, const struct dns_name *name, size_t arpa_at,
                         uint8_t family)
{
    size_t starts[DNS_NAME_MAX / 2];
    size_t count = 0;
    for (size_t at = 0; at < arpa_at; at += (size_t)name->bytes[at] + 1)
        starts[count++] = at;
    *out = (struct reverse){.prefix.addr.family = family, .labels = count};
    uint8_t step = family == 4 ? 8 : 4;
    while (count > 0) {
        int value = reverse_label(name->bytes + starts[count - 1], family);
        uint8_t bits = out->prefix.len;
        if (value < 0 || bits == ip_addr_bits(&out->prefix.addr)) {
            out->is_below = true;
            return;
        }
        uint8_t *byte = &out->prefix.addr.bytes[bits / 8];
        *byte = (uint8_t)(step == 8 || bits % 8 != 0 ? *byte | value : value << 4);
        out->prefix.len = (uint8_t)(bits + step);
        count--;
    }
}

struct sought_ptr {
    const struct zone *zone;
    const struct ip_addr *addr;
};

static bool ptr_is_before(const void *ctx, size_t place)
{
    const struct sought_ptr *sought = ctx;
    return ip_addr_compare(&sought->zone->ptrs[place].addr, sought->addr) < 0;
}

/* Number of labels of the reverse zone's apex that holds this prefix: the widest overlay
 * network around it, rounded up to a label, or the address of a host elsewhere. 0 for none. */
static size_t reverse_apex(const struct zone *zone, const struct ip_prefix *prefix, bool is_host)
{
    uint8_t step = prefix->addr.family == 4 ? 8 : 4;
    size_t best = is_host ? (size_t)(prefix->len / step) : 0;
    for (size_t i = 0; i < zone->network_count; i++) {
        const struct ip_prefix *network = &zone->networks[i];
        size_t labels = ((size_t)network->len + step - 1) / step;
        if (ip_prefix_contains(network, &prefix->addr) && labels * step <= prefix->len &&
            labels > 0 && (best == 0 || labels < best))
            best = labels;
    }
    return best;
}

static void find_reverse(const struct zone *zone, const struct dns_name *name, size_t arpa_at,
                         uint8_t family, struct zone_match *match)
{
    struct reverse reverse;
    read_reverse(&reverse, name, arpa_at, family);
    const struct ip_prefix *prefix = &reverse.prefix;
    size_t first =
        search_place(zone->ptr_count, ptr_is_before, &(struct sought_ptr){zone, &prefix->addr});
    size_t count = 0;
    while (first + count < zone->ptr_count &&
           ip_prefix_contains(prefix, &zone->ptrs[first + count].addr) &&
           (count == 0 || prefix->len == ip_addr_bits(&prefix->addr)))
        count++;
    bool is_host = prefix->len == ip_addr_bits(&prefix->addr) && count > 0;
    size_t apex = reverse_apex(zone, prefix, is_host);
    if (apex == 0)
        return;
    for (size_t skip = reverse.labels - apex; skip > 0; skip--)
        match->apex += (size_t)name->bytes[match->apex] + 1;
    match->kind = !reverse.is_below && (count > 0 || match->apex == 0) ? ZONE_FOUND : ZONE_DENIED;
    if (match->kind == ZONE_FOUND && is_host) {
        match->ptr = &zone->ptrs[first];
        match->ptr_count = count;
    }
}

void zone_find(const struct zone *zone, const struct dns_name *name, struct zone_match *match)
{
    struct dns_name key;
    key.len = name->len;
    memcpy(key.bytes, name->bytes, name->len);
    dns_name_lower(&key);
    *match = (struct zone_match){.kind = ZONE_FOREIGN};
    const struct node *node = map_get(&zone->nodes, key.bytes, key.len);
    int at = suffix_at(&key, &zone->domain);
    if (node != NULL) {
        match->kind = ZONE_FOUND;
        match->apex = at > 0 ? (size_t)at : 0;
        match->records = node->same != NULL ? node->same->records : node->records;
    } else if (at >= 0) {
        match->kind = ZONE_DENIED;
        match->apex = (size_t)at;
    } else if ((at = suffix_at(&key, &in_addr_arpa)) > 0) {
        find_reverse(zone, &key, (size_t)at, 4, match);
    } else if ((at = suffix_at(&key, &ip6_arpa)) > 0) {
        find_reverse(zone, &key, (size_t)at, 6, match);
    }
}

const struct dns_name *zone_ptr_name(const struct zone_match *match, size_t index)
{
    return match->ptr[index].name;
}

const struct dns_name *zone_ns(const struct zone *zone)
{
    return &zone->ns;
}

const struct dns_name *zone_mailbox(const struct zone *zone)
{
    return &zone->mailbox;
}

uint32_t zone_serial(const struct zone *zone)
{
    return zone->serial;
}

uint32_t zone_ttl(const struct zone *zone)
{
    return zone->ttl;
}

uint32_t zone_negative_ttl(const struct zone *zone)
{
    return zone->negative_ttl;
}
