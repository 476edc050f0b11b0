#include "control/state/plan_peer.h"

#include "base/bytes.h"
#include "base/err.h"
#include "control/state/plan.h"
#include "control/state/plan_build.h"
#include "control/state/prefix_rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const union endpoint no_endpoint;

enum {
    OWN_LEN_MIN = 8,   /* of the network that a peer is in (ipam.c) */
    RESOLVERS_MAX = 8, /* that a peer asks */
};

static int bad_answer(struct err *err, const char *what, const char *text)
{
    return err_set(err, -EINVAL, "the node's answer makes no sense: %s \"%.80s\"", what, text);
}

/* What a node must not do with an answer, however broken or hostile: see plan_of_peer. */
static int refuse(struct err *err, const char *why, const char *text)
{
    return err_set(err, -EINVAL, "the node's answer is refused: %s \"%.80s\"", why, text);
}

/* The networks of the peer's own addresses, which nobody else may have a part of. */
static bool is_around_own(const struct plan *plan, const struct ip_prefix *prefix)
{
    for (size_t i = 0; i < plan->address_count; i++) {
        struct ip_prefix own = plan->addresses[i];
        ip_prefix_mask(&own);
        if (ip_prefix_overlaps(&own, prefix) && !ip_prefix_equal(&own, prefix))
            return true;
    }
    return false;
}

static bool has_own_address(const struct plan *plan, const struct ip_prefix *prefix)
{
    for (size_t i = 0; i < plan->address_count; i++)
        if (ip_prefix_contains(prefix, &plan->addresses[i].addr))
            return true;
    return false;
}

/* An address of a node in the network of the peers. */
static bool is_among_peers(const struct plan *plan, const char *text)
{
    struct ip_addr addr;
    for (size_t i = 0; ip_addr_parse(&addr, text) && i < plan->address_count; i++)
        if (ip_prefix_contains(&plan->addresses[i], &addr))
            return true;
    return false;
}

/* The first network of a node in each family is the node's own: see plan_node_prefixes_next. */
static int check_network(const struct plan *plan, const struct ip_prefix *prefix, bool is_first,
                         const char *text, struct err *err)
{
    if (prefix_is_reserved(prefix))
        return refuse(err, "it leads to a reserved network", text);
    if (is_around_own(plan, prefix))
        return refuse(err, "a node has part of this peer's own network", text);
    if (is_first && has_own_address(plan, prefix))
        return refuse(err, "this peer's own address lies in a node's network", text);
    return 0;
}

static int take_allowed_ips(struct plan_builder *builder, size_t index, const Pb__Peer *node,
                            bool is_exit, struct err *err)
{
    bool has_own[2] = {false};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < node->n_allowed_ips; i++) {
        struct ip_prefix prefix;
        if (!ip_prefix_parse(&prefix, node->allowed_ips[i]) || !ip_prefix_is_masked(&prefix))
            return bad_answer(err, "network", node->allowed_ips[i]);
        if (prefix.len == 0 && !is_exit)
            continue;
        bool *own = &has_own[prefix.addr.family == 6];
        if (prefix.len == 0)
            builder->plan->exit = PLAN_EXIT_ON;
        else
            rc = check_network(builder->plan, &prefix, !*own, node->allowed_ips[i], err);
        *own |= prefix.len > 0;
        plan_builder_grant(builder, index, &prefix);
        plan_builder_route(builder, &prefix);
    }
    return rc;
}

/* Ids and names are both unique among nodes: only the first node of a name is the exit node. */
static bool is_named(const Pb__Peer *node, const char *name)
{
    return name != NULL && (strcmp(node->id, name) == 0 || strcasecmp(node->name, name) == 0);
}

static int take_node(struct plan_builder *builder, const Pb__ConnectResponse *response,
                     const Pb__Peer *node, const struct plan_self *self,
                     uint8_t exit_key[WG_KEY_LEN], struct err *err)
{
    uint8_t key[WG_KEY_LEN];
    union endpoint endpoint = no_endpoint;
    const char *text = node->keypair == NULL ? "" : node->keypair->public_key;
    if (strlen(text) != BASE64_KEY_LEN || !bytes_from_base64(key, sizeof key, text))
        return bad_answer(err, "public key", text);
    if (node->endpoint[0] != '\0' && !endpoint_parse(&endpoint, node->endpoint))
        return bad_answer(err, "endpoint", node->endpoint);
    if (is_among_peers(builder->plan, node->peer_ip) ||
        is_among_peers(builder->plan, node->peer_ip6))
        return refuse(err, "a node's address lies in this peer's own network", node->peer_ip);
    size_t index = plan_builder_peer(builder, key, &endpoint, PLAN_KEEPALIVE_S);
    if (self->id != NULL && node->psk_version != 0)
        plan_builder_psk(builder, self->id, self->public_key, response->psk_round);
    bool is_exit = builder->plan->exit == PLAN_EXIT_UNKNOWN && is_named(node, self->exit_node);
    if (is_exit) {
        builder->plan->exit = PLAN_EXIT_UNPUBLISHED;
        memcpy(exit_key, key, sizeof key);
    }
    return take_allowed_ips(builder, index, node, is_exit, err);
}

static int take_address(struct plan_builder *builder, const char *text, uint8_t family,
                        struct err *err)
{
    struct ip_prefix prefix;
    if (!ip_prefix_parse(&prefix, text) || prefix.addr.family != family)
        return bad_answer(err, "address", text);
    if (prefix.len < OWN_LEN_MIN || prefix_is_reserved(&prefix))
        return refuse(err, "no overlay has this address", text);
    plan_builder_address(builder, &prefix.addr, prefix.len);
    return 0;
}

/* Whether the address is reached through the tunnel: in the peer's own network, or in a network of
 * a node that is no default route. */
static bool is_inside(const struct plan *plan, const Pb__ConnectResponse *response,
                      const struct ip_addr *addr)
{
    struct ip_prefix prefix;
    for (size_t i = 0; i < plan->address_count; i++) {
        prefix = plan->addresses[i];
        ip_prefix_mask(&prefix);
        if (ip_prefix_contains(&prefix, addr))
            return true;
    }
    for (size_t i = 0; i < response->n_peers; i++)
        for (size_t j = 0; j < response->peers[i]->n_allowed_ips; j++)
            if (ip_prefix_parse(&prefix, response->peers[i]->allowed_ips[j]) && prefix.len > 0 &&
                ip_prefix_contains(&prefix, addr))
                return true;
    return false;
}

/* Resolvers outside the overlay are left out: a node must not send queries elsewhere. */
static int take_dns(struct plan_builder *builder, const Pb__ConnectResponse *response,
                    struct err *err)
{
    size_t count = response->n_dns < RESOLVERS_MAX ? response->n_dns : RESOLVERS_MAX;
    for (size_t i = 0; i < count; i++) {
        struct ip_addr addr;
        if (!ip_addr_parse(&addr, response->dns[i]))
            return bad_answer(err, "resolver", response->dns[i]);
        if (is_inside(builder->plan, response, &addr))
            plan_builder_dns(builder, &addr);
    }
    return 0;
}

static int check_counts(const Pb__ConnectResponse *response, struct err *err)
{
    size_t prefixes = 0;
    for (size_t i = 0; i < response->n_peers; i++)
        prefixes += response->peers[i]->n_allowed_ips;
    if (response->n_peers > PREFIX_NODES_MAX)
        return err_set(err, -EINVAL,
                       "the node's answer is refused: it names %zu nodes, and %d are the most",
                       response->n_peers, PREFIX_NODES_MAX);
    if (prefixes > PREFIX_ROUTES_MAX + 4 * PREFIX_NODES_MAX)
        return err_set(err, -EINVAL,
                       "the node's answer is refused: it names %zu networks, and %d are the most",
                       prefixes, PREFIX_ROUTES_MAX + 4 * PREFIX_NODES_MAX);
    return 0;
}

/* Peers are in order of their keys. */
static int check_keys(const struct plan *plan, struct err *err)
{
    char text[BASE64_KEY_LEN + 1];
    for (size_t i = 1; i < plan->peer_count; i++) {
        const uint8_t *key = plan->peers[i].public_key;
        if (memcmp(plan->peers[i - 1].public_key, key, WG_KEY_LEN) != 0)
            continue;
        bytes_to_base64(text, key, WG_KEY_LEN);
        return bad_answer(err, "the same key twice", text);
    }
    return 0;
}

/* The exit node that was chosen, and no other, may take what it likes. */
static int check_coverage(const struct plan *plan, const uint8_t exit_key[WG_KEY_LEN],
                          struct err *err)
{
    size_t count = 0;
    struct ip_prefix *list = calloc(plan->route_count + 1, sizeof *list);
    if (list == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < plan->peer_count; i++) {
        const struct wg_peer_config *node = &plan->peers[i];
        for (size_t j = 0; j < node->allowed_ip_count; j++)
            if (memcmp(node->public_key, exit_key, WG_KEY_LEN) != 0)
                list[count++] = node->allowed_ips[j].prefix;
    }
    bool too_much = prefixes_cover_too_much(list, count);
    free(list);
    return !too_much ? 0
                     : err_set(err, -EINVAL,
                               "the node's answer is refused: its networks take most of this "
                               "host's traffic, which only a node chosen with --exit-node may");
}

static int take_answer(struct plan_builder *builder, const Pb__ConnectResponse *response,
                       const struct plan_self *self, uint8_t exit_key[WG_KEY_LEN], struct err *err)
{
    int rc = check_counts(response, err);
    if (rc == 0)
        rc = take_address(builder, response->address, 4, err);
    if (rc == 0 && response->address6[0] != '\0')
        rc = take_address(builder, response->address6, 6, err);
    for (size_t i = 0; rc == 0 && i < response->n_peers; i++)
        rc = take_node(builder, response, response->peers[i], self, exit_key, err);
    return rc == 0 ? take_dns(builder, response, err) : rc;
}

int plan_of_peer(const Pb__ConnectResponse *response, const struct plan_self *self,
                 struct plan *out, struct err *err)
{
    struct plan_builder builder;
    uint8_t exit_key[WG_KEY_LEN] = {0};
    plan_builder_init(&builder, out);
    out->exit = self->exit_node == NULL ? PLAN_EXIT_OFF : PLAN_EXIT_UNKNOWN;
    int rc = take_answer(&builder, response, self, exit_key, err);
    int finished = plan_builder_finish(&builder);
    if (rc == 0 && finished != 0)
        rc = err_set(err, finished, "out of memory");
    if (rc == 0)
        rc = check_keys(out, err);
    if (rc == 0)
        rc = check_coverage(out, exit_key, err);
    return rc;
}
