#include "control/state/plan_build.h"

#include "wg/psk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A request for an allowed IP. */
struct plan_grant {
    struct ip_prefix prefix;
    size_t peer;
    size_t order;
};

void plan_builder_init(struct plan_builder *builder, struct plan *plan)
{
    *builder = (struct plan_builder){.plan = plan};
    plan_init(plan);
}

/* Makes room for one more item in an array whose capacity is the power of two at or above its
 * count. NULL when memory is short, with the array unchanged. */
static void *grown(struct plan_builder *builder, void *array, size_t count, size_t size)
{
    if (builder->failed)
        return NULL;
    if (count != 0 && (count & (count - 1)) != 0)
        return array;
    void *larger = realloc(array, (count == 0 ? 1 : count * 2) * size);
    builder->failed = larger == NULL;
    return larger;
}

static void add_prefix(struct plan_builder *builder, struct ip_prefix **array, size_t *count,
                       const struct ip_prefix *prefix)
{
    if (prefix->addr.family == 0)
        return;
    struct ip_prefix *larger = grown(builder, *array, *count, sizeof **array);
    if (larger == NULL)
        return;
    *array = larger;
    larger[(*count)++] = *prefix;
}

static bool room_for_peer(struct plan_builder *builder)
{
    struct plan *plan = builder->plan;
    size_t count = plan->peer_count;
    if (builder->failed || (count != 0 && (count & (count - 1)) != 0))
        return !builder->failed;
    struct wg_peer_config *larger = plan_grow_peers(plan->peers, count, count == 0 ? 1 : count * 2);
    builder->failed = larger == NULL;
    plan->peers = larger != NULL ? larger : plan->peers;
    return larger != NULL;
}

size_t plan_builder_peer(struct plan_builder *builder, const uint8_t key[WG_KEY_LEN],
                         const union endpoint *endpoint, uint16_t keepalive_s)
{
    struct plan *plan = builder->plan;
    if (!room_for_peer(builder))
        return 0;
    struct wg_peer_config *peer = &plan->peers[plan->peer_count];
    *peer = (struct wg_peer_config){.has_endpoint = endpoint_is_set(endpoint),
                                    .endpoint = *endpoint,
                                    .has_keepalive = keepalive_s != 0,
                                    .keepalive_s = keepalive_s};
    memcpy(peer->public_key, key, WG_KEY_LEN);
    return plan->peer_count++;
}

void plan_builder_psk(struct plan_builder *builder, const char *secret,
                      const uint8_t own_key[WG_KEY_LEN], uint64_t round)
{
    if (builder->failed)
        return;
    struct wg_peer_config *peer = &builder->plan->peers[builder->plan->peer_count - 1];
    wg_psk_derive(peer->preshared_key, secret, strlen(secret), own_key, peer->public_key, round);
    peer->has_preshared_key = true;
}

void plan_builder_grant(struct plan_builder *builder, size_t peer, const struct ip_prefix *prefix)
{
    if (prefix->addr.family == 0)
        return;
    struct plan_grant *larger =
        grown(builder, builder->grants, builder->grant_count, sizeof *larger);
    if (larger == NULL)
        return;
    builder->grants = larger;
    larger[builder->grant_count] =
        (struct plan_grant){.prefix = *prefix, .peer = peer, .order = builder->grant_count};
    builder->grant_count++;
}

void plan_builder_route(struct plan_builder *builder, const struct ip_prefix *prefix)
{
    add_prefix(builder, &builder->plan->routes, &builder->plan->route_count, prefix);
}

void plan_builder_overlay(struct plan_builder *builder, const struct ip_prefix *prefix)
{
    add_prefix(builder, &builder->plan->overlay, &builder->plan->overlay_count, prefix);
}

void plan_builder_own_route(struct plan_builder *builder, const struct ip_prefix *prefix)
{
    add_prefix(builder, &builder->plan->own_routes, &builder->plan->own_route_count, prefix);
}

void plan_builder_inbound(struct plan_builder *builder, const struct ip_prefix *prefix)
{
    add_prefix(builder, &builder->plan->inbound, &builder->plan->inbound_count, prefix);
}

void plan_builder_address(struct plan_builder *builder, const struct ip_addr *addr, uint8_t len)
{
    struct plan *plan = builder->plan;
    if (addr->family != 0 && plan->address_count < 2)
        plan->addresses[plan->address_count++] = (struct ip_prefix){.addr = *addr, .len = len};
}

void plan_builder_peer_network(struct plan_builder *builder, const struct ip_prefix *prefix)
{
    struct plan *plan = builder->plan;
    if (prefix->addr.family != 0 && plan->peer_network_count < 2)
        plan->peer_networks[plan->peer_network_count++] = *prefix;
}

void plan_builder_dns(struct plan_builder *builder, const struct ip_addr *addr)
{
    struct plan *plan = builder->plan;
    struct ip_addr *larger = grown(builder, plan->dns, plan->dns_count, sizeof *larger);
    if (larger == NULL)
        return;
    plan->dns = larger;
    larger[plan->dns_count++] = *addr;
}

void plan_builder_name(struct plan_builder *builder, const char *name, const struct ip_addr *addr,
                       const struct ip_addr *addr6)
{
    struct plan *plan = builder->plan;
    if (name[0] == '\0')
        return;
    struct plan_name *larger = grown(builder, plan->names, plan->name_count, sizeof *larger);
    if (larger == NULL)
        return;
    plan->names = larger;
    larger[plan->name_count] =
        (struct plan_name){.name = strdup(name), .addr = *addr, .addr6 = *addr6};
    if (larger[plan->name_count].name == NULL)
        builder->failed = true;
    else
        plan->name_count++;
}

/* ---- order ---- */

static int compare_prefixes(const void *a, const void *b)
{
    const struct ip_prefix *x = a;
    const struct ip_prefix *y = b;
    int order = ip_addr_compare(&x->addr, &y->addr);
    return order != 0 ? order : x->len - y->len;
}

static int compare_grants(const void *a, const void *b)
{
    const struct plan_grant *x = a;
    const struct plan_grant *y = b;
    int order = compare_prefixes(&x->prefix, &y->prefix);
    return order != 0 ? order : x->order < y->order ? -1 : x->order > y->order;
}

static int compare_peers(const void *a, const void *b)
{
    const struct wg_peer_config *x = a;
    const struct wg_peer_config *y = b;
    return memcmp(x->public_key, y->public_key, WG_KEY_LEN);
}

static int compare_names(const void *a, const void *b)
{
    const struct plan_name *x = a;
    const struct plan_name *y = b;
    return strcmp(x->name, y->name);
}

static void sort(void *array, size_t count, size_t size, int (*compare)(const void *, const void *))
{
    if (count > 1)
        qsort(array, count, size, compare);
}

static void sort_unique(struct ip_prefix *array, size_t *count)
{
    size_t kept = 0;
    sort(array, *count, sizeof *array, compare_prefixes);
    for (size_t i = 0; i < *count; i++)
        if (kept == 0 || !ip_prefix_equal(&array[kept - 1], &array[i]))
            array[kept++] = array[i];
    *count = kept;
}

/* Keeps the first grant of each prefix. */
static void drop_duplicates(struct plan_builder *builder)
{
    size_t kept = 0;
    sort(builder->grants, builder->grant_count, sizeof *builder->grants, compare_grants);
    for (size_t i = 0; i < builder->grant_count; i++) {
        const struct plan_grant *grant = &builder->grants[i];
        if (kept == 0 || !ip_prefix_equal(&builder->grants[kept - 1].prefix, &grant->prefix))
            builder->grants[kept++] = *grant;
    }
    builder->grant_count = kept;
}

/* Moves the grants, which are in order, to their peers. */
static int hand_out(struct plan_builder *builder)
{
    struct plan *plan = builder->plan;
    for (size_t i = 0; i < builder->grant_count; i++)
        plan->peers[builder->grants[i].peer].allowed_ip_count++;
    for (size_t i = 0; i < plan->peer_count; i++) {
        struct wg_peer_config *peer = &plan->peers[i];
        if (peer->allowed_ip_count == 0)
            continue;
        peer->allowed_ips = calloc(peer->allowed_ip_count, sizeof *peer->allowed_ips);
        peer->allowed_ip_count = 0;
        if (peer->allowed_ips == NULL)
            return -ENOMEM;
    }
    for (size_t i = 0; i < builder->grant_count; i++) {
        struct wg_peer_config *peer = &plan->peers[builder->grants[i].peer];
        peer->allowed_ips[peer->allowed_ip_count++].prefix = builder->grants[i].prefix;
    }
    return 0;
}

int plan_builder_finish(struct plan_builder *builder)
{
    struct plan *plan = builder->plan;
    int rc = builder->failed ? -ENOMEM : 0;
    if (rc == 0) {
        drop_duplicates(builder);
        rc = hand_out(builder);
    }
    if (rc == 0) {
        sort(plan->peers, plan->peer_count, sizeof *plan->peers, compare_peers);
        sort(plan->names, plan->name_count, sizeof *plan->names, compare_names);
        sort_unique(plan->routes, &plan->route_count);
        sort_unique(plan->overlay, &plan->overlay_count);
        sort_unique(plan->own_routes, &plan->own_route_count);
        sort_unique(plan->inbound, &plan->inbound_count);
    }
    free(builder->grants);
    builder->grants = NULL;
    return rc;
}
