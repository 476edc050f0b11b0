#include "base/bytes.h"
#include "base/log.h"
#include "control/state/state_entry.h"
#include "control/state/state_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_PEER_OFFSET = 2 };

static int compare_nodes(const void *a, const void *b)
{
    const struct state_node *x = a;
    const struct state_node *y = b;
    if (x->join_seq != y->join_seq)
        return x->join_seq < y->join_seq ? -1 : 1;
    return strcmp(x->id, y->id);
}

static int compare_peers(const void *a, const void *b)
{
    return strcmp(((const struct state_peer *)a)->id, ((const struct state_peer *)b)->id);
}

static int compare_authorizations(const void *a, const void *b)
{
    return strcmp(((const struct state_authorization *)a)->id,
                  ((const struct state_authorization *)b)->id);
}

static int compare_networks(const void *a, const void *b)
{
    return strcmp(((const struct state_network *)a)->node_id,
                  ((const struct state_network *)b)->node_id);
}

static int compare_routes(const void *a, const void *b)
{
    const struct state_route *x = a;
    const struct state_route *y = b;
    int order = ip_addr_compare(&x->network.addr, &y->network.addr);
    return order != 0 ? order : x->network.len - y->network.len;
}

static int compare_requests(const void *a, const void *b)
{
    const struct state_request *x = a;
    const struct state_request *y = b;
    if (x->pb->rev != y->pb->rev)
        return x->pb->rev < y->pb->rev ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* ---- kinds of entries ---- */

int state_create(struct state **out, const uint8_t seed[16])
{
    struct state *state = calloc(1, sizeof *state);
    if (state == NULL)
        return -ENOMEM;
    struct map *const maps[] = {&state->nodes,
                                &state->peers,
                                &state->routes,
                                &state->networks,
                                &state->addresses,
                                &state->node_keys,
                                &state->authorizations,
                                &state->peer_keys,
                                &state->node_names,
                                &state->peer_names,
                                &state->authorization_names,
                                &state->requests};
    for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++)
        map_init(maps[i], seed);
    state->nodes_ordered.compare = compare_nodes;
    state->peers_ordered.compare = compare_peers;
    state->routes_ordered.compare = compare_routes;
    state->networks_ordered.compare = compare_networks;
    state->authorizations_ordered.compare = compare_authorizations;
    state->requests_ordered.compare = compare_requests;
    state->offset_floor = FIRST_PEER_OFFSET;
    *out = state;
    return 0;
}

/* How the entries of one kind are stored and freed. */
struct kind {
    struct map *by_name;
    struct state_table *ordered; /* NULL: none */
    struct map *by_key;          /* NULL: no public keys */
    struct map *by_label;        /* NULL: no names for people */
    void (*free)(void *entry);
};

static void free_node(void *entry)
{
    state_node_free(entry);
}

static void free_peer(void *entry)
{
    state_peer_free(entry);
}

static void free_route(void *entry)
{
    state_route_free(entry);
}

static void free_network(void *entry)
{
    state_network_free(entry);
}

static void free_authorization(void *entry)
{
    state_authorization_free(entry);
}

static void free_address(void *entry)
{
    state_address_free(entry);
}

static void free_request(void *entry)
{
    state_request_free(entry);
}

static struct kind kind_of(struct state *state, enum record_kind kind)
{
    switch (kind) {
    case RECORD_NODE:
        return (struct kind){&state->nodes, &state->nodes_ordered, &state->node_keys,
                             &state->node_names, free_node};
    case RECORD_PEER:
        return (struct kind){&state->peers, &state->peers_ordered, &state->peer_keys,
                             &state->peer_names, free_peer};
    case RECORD_ROUTE:
        return (struct kind){&state->routes, &state->routes_ordered, NULL, NULL, free_route};
    case RECORD_NODENETWORK:
        return (struct kind){&state->networks, &state->networks_ordered, NULL, NULL, free_network};
    case RECORD_AUTHORIZATION:
        return (struct kind){&state->authorizations, &state->authorizations_ordered, NULL,
                             &state->authorization_names, free_authorization};
    case RECORD_PEERIP:
        return (struct kind){&state->addresses, NULL, NULL, NULL, free_address};
    case RECORD_REQUEST:
        return (struct kind){&state->requests, &state->requests_ordered, NULL, NULL, free_request};
    case RECORD_UNKNOWN:
    case RECORD_META:
    case RECORD_MASTER:
        break;
    }
    return (struct kind){0};
}

static void free_all(struct kind kind)
{
    size_t cursor = 0;
    for (void *entry; (entry = map_next(kind.by_name, &cursor)) != NULL;)
        kind.free(entry);
    map_fini(kind.by_name);
    if (kind.ordered != NULL)
        state_table_fini(kind.ordered);
    if (kind.by_key != NULL)
        map_fini(kind.by_key);
    if (kind.by_label != NULL)
        map_fini(kind.by_label);
}

void state_destroy(struct state *state)
{
    if (state == NULL)
        return;
    static const enum record_kind kinds[] = {
        RECORD_NODE,   RECORD_PEER,          RECORD_ROUTE,  RECORD_NODENETWORK,
        RECORD_PEERIP, RECORD_AUTHORIZATION, RECORD_REQUEST};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        free_all(kind_of(state, kinds[i]));
    if (state->master != NULL)
        pb__master__free_unpacked(state->master, NULL);
    free(state);
}

/* The keys of an entry in the maps of its kind. */
struct names {
    const void *name;
    size_t name_len;
    const uint8_t *key;
    const char *label;
};

static struct names names_of(enum record_kind kind, const void *entry)
{
    const struct state_node *node = entry;
    const struct state_peer *peer = entry;
    const struct state_route *route = entry;
    const struct state_network *network = entry;
    const struct state_authorization *authorization = entry;
    const struct state_address *address = entry;
    const struct state_request *request = entry;
    switch (kind) {
    case RECORD_NODE:
        return (struct names){node->id, strlen(node->id), node->public_key, node->name};
    case RECORD_PEER:
        return (struct names){peer->id, strlen(peer->id), peer->public_key, peer->name};
    case RECORD_ROUTE:
        return (struct names){route->pb->network, strlen(route->pb->network), NULL, NULL};
    case RECORD_NODENETWORK:
        return (struct names){network->node_id, strlen(network->node_id), NULL, NULL};
    case RECORD_AUTHORIZATION:
        return (struct names){authorization->id, strlen(authorization->id), NULL,
                              authorization->name};
    case RECORD_PEERIP:
        return (struct names){&address->addr, sizeof address->addr, NULL, NULL};
    case RECORD_REQUEST:
        return (struct names){request->name, strlen(request->name), NULL, NULL};
    case RECORD_UNKNOWN:
    case RECORD_META:
    case RECORD_MASTER:
        break;
    }
    return (struct names){0};
}

/* ---- the floor of free peer addresses ---- */

static struct ip_addr peer_addr(const struct state *state, uint64_t offset)
{
    struct ip_addr addr = state->settings.peer_network.addr;
    ip_addr_add(&addr, offset);
    return addr;
}

static void raise_floor(struct state *state)
{
    if (state->settings.peer_network.addr.family != 4)
        return;
    for (;;) {
        struct ip_addr addr = peer_addr(state, state->offset_floor);
        if (state_address_owner(state, &addr) == NULL)
            return;
        state->offset_floor++;
    }
}

static void address_freed(struct state *state, const struct ip_addr *addr)
{
    const struct ip_prefix *network = &state->settings.peer_network;
    if (network->addr.family != 4 || !ip_prefix_contains(network, addr))
        return;
    uint64_t offset = load_be32(addr->bytes) - load_be32(network->addr.bytes);
    if (offset >= FIRST_PEER_OFFSET && offset < state->offset_floor)
        state->offset_floor = offset;
}

/* ---- adding and removing entries ---- */

static void remove_entry(struct state *state, enum record_kind which, const void *name, size_t len)
{
    struct kind kind = kind_of(state, which);
    void *entry = map_remove(kind.by_name, name, len);
    if (entry == NULL)
        return;
    struct names names = names_of(which, entry);
    if (kind.ordered != NULL)
        state_table_remove(kind.ordered, entry);
    if (kind.by_key != NULL && map_get(kind.by_key, names.key, 32) == entry)
        map_remove(kind.by_key, names.key, 32);
    if (kind.by_label != NULL && map_get(kind.by_label, names.label, strlen(names.label)) == entry)
        map_remove(kind.by_label, names.label, strlen(names.label));
    if (which == RECORD_PEERIP)
        address_freed(state, &((const struct state_address *)entry)->addr);
    kind.free(entry);
}

/* Takes ownership of the entry, which replaces the one of the same name. */
static int add_entry(struct state *state, enum record_kind which, void *entry)
{
    struct kind kind = kind_of(state, which);
    struct names names = names_of(which, entry);
    remove_entry(state, which, names.name, names.name_len);
    if (kind.ordered != NULL && state_table_reserve(kind.ordered) != 0)
        goto no_memory;
    /* A key or name that another entry has (damaged data only) stays with that one. */
    if (kind.by_key != NULL && map_get(kind.by_key, names.key, 32) == NULL &&
        map_put(kind.by_key, names.key, 32, entry) != 0)
        goto no_memory;
    if (kind.by_label != NULL && names.label[0] != '\0' &&
        map_get(kind.by_label, names.label, strlen(names.label)) == NULL &&
        map_put(kind.by_label, names.label, strlen(names.label), entry) != 0)
        goto no_label;
    if (map_put(kind.by_name, names.name, names.name_len, entry) != 0)
        goto no_name;
    if (kind.ordered != NULL)
        state_table_add(kind.ordered, entry);
    if (which == RECORD_PEERIP)
        raise_floor(state);
    return 0;

no_name:
    if (kind.by_label != NULL && map_get(kind.by_label, names.label, strlen(names.label)) == entry)
        map_remove(kind.by_label, names.label, strlen(names.label));
no_label:
    if (kind.by_key != NULL && map_get(kind.by_key, names.key, 32) == entry)
        map_remove(kind.by_key, names.key, 32);
no_memory:
    kind.free(entry);
    return -ENOMEM;
}

/* ---- applying records ---- */

/* The name of a peer's record is a secret: the log gets its first characters. */
static void report_damage(struct state *state, enum record_kind kind, const char *key,
                          const char *name)
{
    char shown[9];
    bool secret = kind == RECORD_PEER || kind == RECORD_AUTHORIZATION;
    state->damaged++;
    log_warn("damaged record skipped", F_STR("key", secret ? "heimdall:peers" : key),
             F_STR("name", name == NULL ? ""
                           : secret     ? log_short_id(shown, name)
                                        : name));
}

static void *parse_entry(enum record_kind kind, const char *name, const struct record_op *op,
                         bool *damaged)
{
    switch (kind) {
    case RECORD_NODE:
        return state_node_parse(name, op->value, op->len, damaged);
    case RECORD_PEER:
        return state_peer_parse(name, op->value, op->len, damaged);
    case RECORD_ROUTE:
        return state_route_parse(name, op->value, op->len, damaged);
    case RECORD_NODENETWORK:
        return state_network_parse(name, op->value, op->len, damaged);
    case RECORD_AUTHORIZATION:
        return state_authorization_parse(name, op->value, op->len, damaged);
    case RECORD_PEERIP:
        return state_address_parse(name, op->value, op->len, damaged);
    case RECORD_REQUEST:
        return state_request_parse(name, op->value, op->len, damaged);
    case RECORD_UNKNOWN:
    case RECORD_META:
    case RECORD_MASTER:
        break;
    }
    *damaged = true;
    return NULL;
}

/* The key of an entry in its map; false when no such entry can exist. */
static bool entry_name(enum record_kind kind, const char *name, struct ip_addr *addr,
                       const void **out, size_t *len)
{
    if (kind != RECORD_PEERIP) {
        *out = name;
        *len = strlen(name);
        return true;
    }
    *out = addr;
    *len = sizeof *addr;
    return ip_addr_parse(addr, name);
}

static int apply_entry(struct state *state, enum record_kind kind, const char *name,
                       const struct record_op *op)
{
    struct ip_addr addr;
    const void *bytes;
    size_t len;
    if (op->kind == RECORD_SET || op->kind == RECORD_HSET) {
        bool damaged;
        void *entry = parse_entry(kind, name, op, &damaged);
        if (entry != NULL)
            return add_entry(state, kind, entry);
        if (!damaged)
            return -ENOMEM;
        report_damage(state, kind, op->key, name);
    }
    if (entry_name(kind, name, &addr, &bytes, &len))
        remove_entry(state, kind, bytes, len);
    return 0;
}

static void remove_all(struct state *state, enum record_kind which)
{
    struct kind kind = kind_of(state, which);
    size_t cursor = 0;
    for (void *entry; (entry = map_next(kind.by_name, &cursor)) != NULL; cursor = 0) {
        struct names names = names_of(which, entry);
        remove_entry(state, which, names.name, names.name_len);
    }
}

static void apply_meta(struct state *state, const char *field, const struct record_op *op)
{
    static const uint8_t nothing[1];
    bool set = op->kind == RECORD_HSET;
    struct ip_prefix before = state->settings.peer_network;
    if (field == NULL)
        state->settings = (struct state_settings){0};
    else if (set && !state_settings_parse(&state->settings, field, op->value, op->len))
        report_damage(state, RECORD_META, op->key, field);
    else if (!set)
        (void)state_settings_parse(&state->settings, field, nothing, 0);
    if (!ip_prefix_equal(&before, &state->settings.peer_network)) {
        state->offset_floor = FIRST_PEER_OFFSET;
        raise_floor(state);
    }
}

static int apply_master(struct state *state, const struct record_op *op)
{
    Pb__Master *master = NULL;
    if (op->kind == RECORD_SET) {
        master = pb__master__unpack(NULL, op->len, op->value);
        if (master == NULL)
            report_damage(state, RECORD_MASTER, op->key, NULL);
    }
    if (state->master != NULL)
        pb__master__free_unpacked(state->master, NULL);
    state->master = master;
    return 0;
}

/* Whether the operation fits its key: only hashes have fields. */
static bool op_fits(enum record_kind kind, const struct record_op *op)
{
    bool hash = kind == RECORD_META || kind == RECORD_AUTHORIZATION || kind == RECORD_PEERIP ||
                kind == RECORD_REQUEST;
    switch (op->kind) {
    case RECORD_SET:
        return !hash;
    case RECORD_HSET:
    case RECORD_HDEL:
        return hash && op->field != NULL;
    case RECORD_DEL:
        return true;
    }
    return false;
}

int state_apply(struct state *state, const struct record_op *op)
{
    const char *name;
    enum record_kind kind = record_key_parse(op->key, op->field, &name);
    if (kind == RECORD_UNKNOWN) {
        log_debug("ignored a record of an unknown kind", F_STR("key", op->key));
        return 0;
    }
    if (!op_fits(kind, op)) {
        report_damage(state, kind, op->key, name);
        return 0;
    }
    switch (kind) {
    case RECORD_META:
        apply_meta(state, name, op);
        return 0;
    case RECORD_MASTER:
        return apply_master(state, op);
    case RECORD_NODE:
    case RECORD_NODENETWORK:
    case RECORD_PEER:
    case RECORD_ROUTE:
    case RECORD_AUTHORIZATION:
    case RECORD_PEERIP:
    case RECORD_REQUEST:
    case RECORD_UNKNOWN:
        break;
    }
    if (name != NULL)
        return apply_entry(state, kind, name, op);
    remove_all(state, kind);
    return 0;
}

int state_apply_change(struct state *state, const struct record_change *change)
{
    if (change->prev_epoch != state->epoch || change->prev_rev != state->rev)
        return -ESTALE;
    for (size_t i = 0; i < change->op_count; i++)
        if (state_apply(state, &change->ops[i]) != 0)
            return -ENOMEM;
    state_set_position(state, change->epoch, change->rev);
    return 0;
}

/* ---- position and settings ---- */

uint64_t state_epoch(const struct state *state)
{
    return state->epoch;
}

uint64_t state_rev(const struct state *state)
{
    return state->rev;
}

void state_set_position(struct state *state, uint64_t epoch, uint64_t rev)
{
    state->epoch = epoch;
    state->rev = rev;
}

const struct state_settings *state_settings(const struct state *state)
{
    return &state->settings;
}

size_t state_damaged(const struct state *state)
{
    return state->damaged;
}

const Pb__Master *state_master(const struct state *state)
{
    return state->master;
}

uint64_t state_peer_offset_floor(const struct state *state)
{
    return state->offset_floor;
}
