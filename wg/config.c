#include "base/bytes.h"
#include "wg/crypto/x25519.h"
#include "wg/device.h"
#include "wg/run.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* A change is prepared (everything that may fail: new peers, room in the tables, nodes for new
 * prefixes) and then committed or undone. Preparing gives prefixes that nobody owned to their new
 * owner, because moving a prefix that is in the table cannot fail. For the same reason nothing
 * leaves the table before the end: what a step removes goes to its list of doomed prefixes, from
 * which a later step that assigns it to a peer takes it back.
 *
 * A change may name a peer more than once. Each time is a step of its own, and steps take effect in
 * order. */

struct step {
    struct wg_peer *peer;   /* NULL: nothing to do */
    struct wg_peer *former; /* replaced in the map by `peer` */
    bool is_new;
    struct list fresh;  /* prefixes without an owner before */
    struct list doomed; /* prefixes that this step removes */
};

struct change {
    struct device_call *call;
    const struct wg_peer_config *peers;
    size_t count; /* how many of `peers` are prepared */
    struct step *steps;
    bool replace_peers;
    bool has_identity;
    struct noise_identity identity;
};

static void move_all(struct list *from, struct list *to)
{
    while (!list_empty(from)) {
        struct list *node = from->next;
        list_remove(node);
        list_append(to, node);
    }
}

static bool is_self(const struct change *change, const uint8_t public_key[WG_KEY_LEN])
{
    const struct noise_identity *identity =
        change->has_identity ? &change->identity : &change->call->dev->identity;
    return identity->has_key && memcmp(identity->public_key, public_key, WG_KEY_LEN) == 0;
}

static int create_peer(struct change *change, const struct wg_peer_config *config,
                       struct step *step)
{
    struct wg_device *dev = change->call->dev;
    struct wg_peer *peer = peer_create(config->public_key);
    if (peer == NULL)
        return -ENOMEM;
    struct wg_peer *former = map_get(&dev->peers_by_key, config->public_key, WG_KEY_LEN);
    if (heap_reserve(&dev->deadlines, dev->peer_count + 1) != 0 ||
        staging_pool_reserve(&dev->staging, dev->peer_count + 1) != 0 ||
        map_put(&dev->peers_by_key, peer->noise.remote_static, WG_KEY_LEN, peer) != 0) {
        peer_put(peer);
        return -ENOMEM;
    }
    device_link_peer(dev, peer);
    step->peer = peer;
    step->former = former;
    step->is_new = true;
    return 0;
}

/* Whether the next step finds the peer, after what this change has done so far. */
static bool is_present(const struct change *change, const struct wg_peer *peer)
{
    uint64_t number = change->call->dev->changes;
    return peer != NULL && peer->removed_by != number &&
           (!change->replace_peers || peer->configured_by == number);
}

/* Finds or creates the peer. */
static int prepare_peer(struct change *change, const struct wg_peer_config *config,
                        struct step *step)
{
    struct wg_device *dev = change->call->dev;
    struct wg_peer *peer = map_get(&dev->peers_by_key, config->public_key, WG_KEY_LEN);
    list_init(&step->fresh);
    list_init(&step->doomed);
    if (is_self(change, config->public_key))
        return 0;
    if (is_present(change, peer))
        step->peer = peer;
    else if (!config->remove && !config->update_only && create_peer(change, config, step) != 0)
        return -ENOMEM;
    if (step->peer != NULL && config->remove)
        step->peer->removed_by = dev->changes;
    if (step->peer != NULL)
        step->peer->configured_by = dev->changes;
    return 0;
}

/* The last step that names a prefix gets it. Hence the order. */
static int prepare_prefixes(struct change *change)
{
    struct allowedips *table = &change->call->dev->allowedips;
    for (size_t i = change->count; i-- > 0;) {
        const struct wg_peer_config *config = &change->peers[i];
        struct step *step = &change->steps[i];
        if (step->peer == NULL || config->remove)
            continue;
        for (size_t j = config->allowed_ip_count; j-- > 0;) {
            const struct wg_allowed_ip_config *ip = &config->allowed_ips[j];
            if (ip->remove || allowedips_owner(table, &ip->prefix) != NULL)
                continue;
            if (allowedips_insert(table, &ip->prefix, step->peer, &step->fresh) != 0)
                return -ENOMEM;
        }
    }
    return 0;
}

static void change_undo(struct change *change)
{
    struct wg_device *dev = change->call->dev;
    for (size_t i = change->count; i-- > 0;) {
        struct step *step = &change->steps[i];
        allowedips_remove_all(&dev->allowedips, &step->fresh, &dev->garbage);
        if (!step->is_new)
            continue;
        map_remove(&dev->peers_by_key, step->peer->noise.remote_static, WG_KEY_LEN);
        if (step->former != NULL) {
            int result = map_put(&dev->peers_by_key, step->former->noise.remote_static, WG_KEY_LEN,
                                 step->former);
            assert(result == 0); /* the slot that was just freed */
            (void)result;
        }
        device_unlink_peer(dev, step->peer);
    }
}

static int change_prepare(struct change *change, size_t count)
{
    int result = 0;
    change->call->dev->changes++;
    for (; result == 0 && change->count < count; change->count++)
        result = prepare_peer(change, &change->peers[change->count], &change->steps[change->count]);
    if (result == 0)
        result = prepare_prefixes(change);
    if (result != 0)
        change_undo(change);
    return result;
}

static void remove_peer(struct wg_device *dev, struct wg_peer *peer)
{
    const uint8_t *key = peer->noise.remote_static;
    if (map_get(&dev->peers_by_key, key, WG_KEY_LEN) == peer)
        map_remove(&dev->peers_by_key, key, WG_KEY_LEN);
    device_unlink_peer(dev, peer);
}

/* Everything that was agreed under the former key is void. */
static void commit_identity(struct change *change)
{
    struct wg_device *dev = change->call->dev;
    list_for_each (pos, &dev->peers) {
        struct wg_peer *peer = container_of(pos, struct wg_peer, place);
        device_clear_sessions(dev, peer);
        noise_peer_identity_changed(&peer->noise);
        if (atomic_load(&peer->staging.count) != 0)
            timers_want_handshake(&peer->timers);
    }
    dev->identity = change->identity;
    cookie_checker_fini(&dev->cookies);
    if (dev->identity.has_key)
        cookie_checker_init(&dev->cookies, dev->identity.public_key);
    struct wg_peer *self = map_get(&dev->peers_by_key, dev->identity.public_key, WG_KEY_LEN);
    if (dev->identity.has_key && self != NULL)
        remove_peer(dev, self);
}

/* Cannot fail: the prefix is in the table. */
static void give_prefix(struct allowedips *table, const struct ip_prefix *prefix,
                        struct wg_peer *peer, struct list *owned)
{
    int result = allowedips_insert(table, prefix, peer, owned);
    assert(result == 0);
    (void)result;
}

static void commit_prefixes(struct change *change, size_t place)
{
    struct allowedips *table = &change->call->dev->allowedips;
    const struct wg_peer_config *config = &change->peers[place];
    struct step *step = &change->steps[place];
    struct wg_peer *peer = step->peer;
    if (config->remove || config->replace_allowed_ips)
        move_all(&peer->allowed_ips, &step->doomed);
    for (size_t j = 0; !config->remove && j < config->allowed_ip_count; j++) {
        const struct wg_allowed_ip_config *ip = &config->allowed_ips[j];
        if (!ip->remove)
            give_prefix(table, &ip->prefix, peer, &peer->allowed_ips);
        else if (allowedips_owner(table, &ip->prefix) == peer)
            give_prefix(table, &ip->prefix, peer, &step->doomed);
    }
}

static void commit_settings(const struct wg_peer_config *config, struct wg_peer *peer)
{
    if (config->has_preshared_key)
        noise_peer_set_preshared_key(&peer->noise, config->preshared_key);
    if (config->has_endpoint) {
        struct wg_endpoint endpoint;
        memset(&endpoint, 0, sizeof endpoint);
        endpoint.remote = config->endpoint;
        endpoint_unmap(&endpoint.remote); /* the IPv6 socket takes no IPv4 */
        peer_set_endpoint(peer, &endpoint);
    }
    if (config->forget_timestamp)
        noise_peer_forget_timestamp(&peer->noise);
    if (config->has_keepalive) {
        if (peer->timers.keepalive_s == 0 && config->keepalive_s != 0)
            timers_keepalive_now(&peer->timers);
        peer->timers.keepalive_s = config->keepalive_s;
    }
}

static void commit_peers(struct change *change)
{
    struct wg_device *dev = change->call->dev;
    for (size_t i = 0; i < change->count; i++) {
        if (change->steps[i].peer != NULL)
            commit_prefixes(change, i);
    }
    for (size_t i = 0; i < change->count; i++)
        allowedips_remove_all(&dev->allowedips, &change->steps[i].doomed, &dev->garbage);
    for (size_t i = 0; i < change->count; i++) {
        struct wg_peer *peer = change->steps[i].peer;
        if (peer != NULL && change->peers[i].remove)
            remove_peer(dev, peer);
        else if (peer != NULL)
            commit_settings(&change->peers[i], peer);
    }
}

/* A change of the key or a replacement of all peers concerns every peer; any other change only the
 * peers that it names. */
static void serve_all(struct change *change)
{
    struct wg_device *dev = change->call->dev;
    list_for_each_safe (pos, &dev->peers) {
        struct wg_peer *peer = container_of(pos, struct wg_peer, place);
        if (change->replace_peers && peer->configured_by != dev->changes)
            remove_peer(dev, peer);
        else
            run_serve_peer(change->call, peer);
    }
}

static void change_commit(struct change *change)
{
    if (change->has_identity)
        commit_identity(change);
    commit_peers(change);
    if (change->has_identity || change->replace_peers) {
        serve_all(change);
        return;
    }
    for (size_t i = 0; i < change->count; i++) {
        if (change->steps[i].peer != NULL)
            run_serve_peer(change->call, change->steps[i].peer);
    }
}

static int change_apply(struct device_call *call, const struct wg_device_config *config,
                        struct step *steps)
{
    struct change change = {.call = call,
                            .peers = config->peers,
                            .steps = steps,
                            .replace_peers = config->replace_peers};
    if (config->has_private_key)
        noise_identity_set(&change.identity, config->private_key);
    change.has_identity =
        config->has_private_key &&
        !bytes_equal_ct(change.identity.private_key, call->dev->identity.private_key, WG_KEY_LEN);
    int result = change_prepare(&change, config->peer_count);
    if (result == 0)
        change_commit(&change);
    noise_identity_fini(&change.identity);
    return result;
}

static bool is_valid(const struct wg_device_config *config)
{
    for (size_t i = 0; i < config->peer_count; i++) {
        const struct wg_peer_config *peer = &config->peers[i];
        for (size_t j = 0; j < peer->allowed_ip_count; j++) {
            const struct ip_prefix *prefix = &peer->allowed_ips[j].prefix;
            uint8_t family = prefix->addr.family;
            if ((family != 4 && family != 6) || prefix->len > (family == 4 ? 32 : 128))
                return false;
        }
    }
    return true;
}

int wg_device_configure(struct wg_device *dev, const struct wg_device_config *config,
                        struct wg_time now, const struct wg_sink *sink)
{
    struct device_call call = {.dev = dev, .now = now, .sink = sink};
    if (!is_valid(config))
        return -EINVAL;
    struct step *steps = calloc(config->peer_count + 1, sizeof *steps);
    if (steps == NULL)
        return -ENOMEM;
    fair_lock_take(&dev->lock);
    int result = change_apply(&call, config, steps);
    fair_lock_give(&dev->lock);
    free(steps);
    return result;
}

void wg_device_config_fini(struct wg_device_config *config)
{
    for (size_t i = 0; i < config->peer_count; i++)
        free(config->peers[i].allowed_ips);
    if (config->peers != NULL)
        bytes_wipe(config->peers, config->peer_count * sizeof *config->peers);
    free(config->peers);
    bytes_wipe(config, sizeof *config);
}

bool wg_public_key_is_usable(const uint8_t public_key[WG_KEY_LEN])
{
    static const uint8_t any[X25519_LEN] = {8};
    uint8_t shared[X25519_LEN];
    return x25519_shared(shared, any, public_key);
}
