#include "control/state/plan_diff.h"

#include "control/state/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- prefixes: both lists are in order ---- */

static int compare_prefixes(const struct ip_prefix *a, const struct ip_prefix *b)
{
    int order = ip_addr_compare(&a->addr, &b->addr);
    return order != 0 ? order : a->len - b->len;
}

/* The prefixes of `a` that `b` lacks; NULL only when memory is short. */
static struct ip_prefix *without(const struct ip_prefix *a, size_t a_count,
                                 const struct ip_prefix *b, size_t b_count, size_t *out_count)
{
    struct ip_prefix *out = calloc(a_count + 1, sizeof *out);
    size_t j = 0;
    *out_count = 0;
    for (size_t i = 0; out != NULL && i < a_count; i++) {
        while (j < b_count && compare_prefixes(&b[j], &a[i]) < 0)
            j++;
        if (j == b_count || compare_prefixes(&b[j], &a[i]) != 0)
            out[(*out_count)++] = a[i];
    }
    return out;
}

/* For addresses: there are at most two, not in order. */
static bool has_prefix(const struct ip_prefix *list, size_t count, const struct ip_prefix *prefix)
{
    for (size_t i = 0; i < count; i++)
        if (ip_prefix_equal(&list[i], prefix))
            return true;
    return false;
}

static struct ip_prefix *addresses_without(const struct plan *a, const struct plan *b,
                                           size_t *out_count)
{
    struct ip_prefix *out = calloc(2, sizeof *out);
    *out_count = 0;
    for (size_t i = 0; out != NULL && i < a->address_count; i++)
        if (!has_prefix(b->addresses, b->address_count, &a->addresses[i]))
            out[(*out_count)++] = a->addresses[i];
    return out;
}

/* ---- peers: both lists are in order of the public key, allowed IPs in order of the prefix ---- */

/* The prefixes of all peers of a plan, in order. */
struct owned {
    struct ip_prefix *prefixes;
    size_t count;
};

static int compare_owned(const void *a, const void *b)
{
    return compare_prefixes(a, b);
}

static bool owned_init(struct owned *owned, const struct plan *plan)
{
    size_t capacity = 1;
    for (size_t i = 0; i < plan->peer_count; i++)
        capacity += plan->peers[i].allowed_ip_count;
    owned->count = 0;
    owned->prefixes = calloc(capacity, sizeof *owned->prefixes);
    if (owned->prefixes == NULL)
        return false;
    for (size_t i = 0; i < plan->peer_count; i++)
        for (size_t j = 0; j < plan->peers[i].allowed_ip_count; j++)
            owned->prefixes[owned->count++] = plan->peers[i].allowed_ips[j].prefix;
    qsort(owned->prefixes, owned->count, sizeof *owned->prefixes, compare_owned);
    return true;
}

static bool is_owned(const struct owned *owned, const struct ip_prefix *prefix)
{
    return bsearch(prefix, owned->prefixes, owned->count, sizeof *prefix, compare_owned) != NULL;
}

/* Adds to `out` the allowed IPs of `a` that `b` (may be NULL) lacks. */
static void add_difference(struct wg_peer_config *out, const struct wg_peer_config *a,
                           const struct wg_peer_config *b, bool remove, const struct owned *keep)
{
    size_t j = 0;
    for (size_t i = 0; i < a->allowed_ip_count; i++) {
        const struct ip_prefix *prefix = &a->allowed_ips[i].prefix;
        while (b != NULL && j < b->allowed_ip_count &&
               compare_prefixes(&b->allowed_ips[j].prefix, prefix) < 0)
            j++;
        bool in_both = b != NULL && j < b->allowed_ip_count &&
                       ip_prefix_equal(&b->allowed_ips[j].prefix, prefix);
        if (!in_both && (keep == NULL || !is_owned(keep, prefix)))
            out->allowed_ips[out->allowed_ip_count++] =
                (struct wg_allowed_ip_config){.prefix = *prefix, .remove = remove};
    }
}

static bool room_for_ips(struct wg_peer_config *out, size_t count)
{
    out->allowed_ips = calloc(count + 1, sizeof *out->allowed_ips);
    return out->allowed_ips != NULL;
}

/* Fills the entry that turns `from` (NULL: a new peer) into `to`; *changed is false when there is
 * nothing to do. A prefix that another peer gets is not removed here: it moves when that one adds
 * it. */
static bool change_peer(struct wg_peer_config *out, const struct wg_peer_config *from,
                        const struct wg_peer_config *to, const struct owned *keep, bool *changed)
{
    static const uint8_t no_key[WG_KEY_LEN];
    *out = (struct wg_peer_config){.update_only = from != NULL};
    memcpy(out->public_key, to->public_key, sizeof out->public_key);
    if (!room_for_ips(out, to->allowed_ip_count + (from == NULL ? 0 : from->allowed_ip_count)))
        return false;
    if (from != NULL)
        add_difference(out, from, to, true, keep);
    add_difference(out, to, from, false, NULL);
    /* An endpoint that a peer roamed to is kept until the record has a new one. */
    out->has_endpoint = to->has_endpoint && (from == NULL || !from->has_endpoint ||
                                             !endpoint_equal(&from->endpoint, &to->endpoint));
    if (out->has_endpoint)
        out->endpoint = to->endpoint;
    uint16_t had = from == NULL ? 0 : from->keepalive_s;
    out->has_keepalive = had != to->keepalive_s;
    out->keepalive_s = to->keepalive_s;
    out->has_preshared_key = memcmp(to->preshared_key, from == NULL ? no_key : from->preshared_key,
                                    sizeof to->preshared_key) != 0;
    memcpy(out->preshared_key, to->preshared_key, sizeof out->preshared_key);
    *changed = from == NULL || out->allowed_ip_count > 0 || out->has_endpoint ||
               out->has_keepalive || out->has_preshared_key;
    return true;
}

static void remove_peer(struct wg_peer_config *out, const struct wg_peer_config *peer)
{
    *out = (struct wg_peer_config){.remove = true};
    memcpy(out->public_key, peer->public_key, sizeof out->public_key);
}

/* Walks both plans in step. `removals` selects what is written: removed peers, or the rest. */
static bool diff_peers(const struct plan *from, const struct plan *to, bool removals,
                       const struct owned *keep, struct wg_device_config *out)
{
    size_t i = 0;
    size_t j = 0;
    while (i < from->peer_count || j < to->peer_count) {
        const struct wg_peer_config *old = i < from->peer_count ? &from->peers[i] : NULL;
        const struct wg_peer_config *new = j < to->peer_count ? &to->peers[j] : NULL;
        int order = old == NULL   ? 1
                    : new == NULL ? -1
                                  : memcmp(old->public_key, new->public_key, WG_KEY_LEN);
        i += order <= 0;
        j += order >= 0;
        if (order < 0 && removals)
            remove_peer(&out->peers[out->peer_count++], old);
        if (new == NULL || order < 0 || removals)
            continue;
        struct wg_peer_config *entry = &out->peers[out->peer_count];
        bool changed;
        if (!change_peer(entry, order == 0 ? old : NULL, new, keep, &changed))
            return false;
        if (changed)
            out->peer_count++;
        else
            free(entry->allowed_ips);
    }
    return true;
}

/* Removed peers come last: by then their prefixes have moved to others, without a gap. */
static int diff_wg(const struct plan *from, const struct plan *to, struct wg_device_config *out)
{
    struct owned keep;
    out->peers = calloc(from->peer_count + to->peer_count + 1, sizeof *out->peers);
    if (out->peers == NULL || !owned_init(&keep, to))
        return -ENOMEM;
    bool done = diff_peers(from, to, false, &keep, out) && diff_peers(from, to, true, &keep, out);
    free(keep.prefixes);
    return done ? 0 : -ENOMEM;
}

/* ---- the whole ---- */

int plan_diff(const struct plan *from, const struct plan *to, struct plan_delta *out)
{
    *out = (struct plan_delta){0};
    out->addresses_removed = addresses_without(from, to, &out->addresses_removed_count);
    out->addresses_added = addresses_without(to, from, &out->addresses_added_count);
    out->routes_removed = without(from->routes, from->route_count, to->routes, to->route_count,
                                  &out->routes_removed_count);
    out->routes_added = without(to->routes, to->route_count, from->routes, from->route_count,
                                &out->routes_added_count);
    if (out->addresses_removed != NULL && out->addresses_added != NULL &&
        out->routes_removed != NULL && out->routes_added != NULL &&
        diff_wg(from, to, &out->wg) == 0)
        return 0;
    plan_delta_fini(out);
    return -ENOMEM;
}

void plan_delta_fini(struct plan_delta *delta)
{
    for (size_t i = 0; i < delta->wg.peer_count; i++)
        free(delta->wg.peers[i].allowed_ips);
    plan_free_peers(delta->wg.peers, delta->wg.peer_count);
    free(delta->addresses_removed);
    free(delta->addresses_added);
    free(delta->routes_removed);
    free(delta->routes_added);
    *delta = (struct plan_delta){0};
}
