#include "control/state/plan_node.h"

#include "control/state/plan.h"
#include "control/state/plan_build.h"
#include "control/state/plan_part.h"
#include "control/state/state.h"

#include <errno.h>
#include <string.h>

static const union endpoint no_endpoint;
static const struct ip_addr no_addr;

/* Nodes are listed by age. */
const struct state_node *plan_relay(const struct state *state)
{
    return state_node_count(state) == 0 ? NULL : state_node_at(state, 0);
}

/* ---- the prefixes of a node ---- */

/* The steps of the walk before the routes. */
enum { NETWORK, NETWORK6, PEER_NETWORK, PEER_NETWORK6, FIRST_ROUTE };

static struct ip_prefix own_prefix(const struct plan_node_prefixes *prefixes, size_t step)
{
    const struct state_settings *settings = state_settings(prefixes->state);
    const struct state_node *node = prefixes->node;
    bool relays = node == plan_relay(prefixes->state);
    if (step == NETWORK)
        return node->network;
    if (step == NETWORK6)
        return node->network6;
    if (step == PEER_NETWORK && relays)
        return settings->peer_network;
    if (step == PEER_NETWORK6 && relays && node->network6.addr.family != 0)
        return settings->peer_network6; /* a node without IPv6 does not relay it */
    return (struct ip_prefix){0};
}

bool plan_node_prefixes_next(struct plan_node_prefixes *prefixes, struct ip_prefix *out)
{
    while (prefixes->next < FIRST_ROUTE) {
        *out = own_prefix(prefixes, prefixes->next++);
        if (out->addr.family != 0)
            return true;
    }
    while (prefixes->next - FIRST_ROUTE < state_route_count(prefixes->state)) {
        const struct state_route *route =
            state_route_at(prefixes->state, prefixes->next++ - FIRST_ROUTE);
        if (strcmp(route->node_id, prefixes->node->id) != 0)
            continue;
        *out = route->network;
        return true;
    }
    return false;
}

/* ---- the parts of a plan ---- */

struct planning {
    const struct state *state;
    const struct state_node *self;
    const char *cluster_key; /* NULL: nodes have no preshared keys */
};

/* Default routes are left out: they are for peers that choose an exit node. */
static void add_other_node(struct plan_builder *builder, const struct planning *planning,
                           const struct state_node *node)
{
    struct plan_node_prefixes prefixes = {.state = planning->state, .node = node};
    struct ip_prefix prefix;
    size_t peer = plan_builder_peer(builder, node->public_key, &node->endpoint, 0);
    if (planning->cluster_key != NULL && node->pb->psk_version != 0 &&
        planning->self->pb->psk_version != 0)
        plan_builder_psk(builder, planning->cluster_key, planning->self->public_key, 0);
    while (plan_node_prefixes_next(&prefixes, &prefix)) {
        if (prefix.len == 0)
            continue;
        plan_builder_grant(builder, peer, &prefix);
        plan_builder_route(builder, &prefix);
    }
}

static void add_peer(struct plan_builder *builder, const struct planning *planning,
                     const struct state_peer *peer)
{
    const struct state *state = planning->state;
    const struct state_authorization *authorization = state_authorization(state, peer->id);
    if (state_peer_by_key(state, peer->public_key) != peer ||
        state_node_by_key(state, peer->public_key) != NULL)
        return; /* damaged data: the key belongs to another record */
    union endpoint endpoint = no_endpoint;
    if (peer->pb->endpoint[0] != '\0' && !endpoint_parse(&endpoint, peer->pb->endpoint))
        endpoint = no_endpoint;
    size_t index = plan_builder_peer(builder, peer->public_key, &endpoint, 0);
    if (peer->pb->psk_version != 0 && planning->self->pb->psk_version != 0)
        plan_builder_psk(builder, peer->id, planning->self->public_key,
                         authorization != NULL ? authorization->pb->rekeys : 0);
    struct ip_prefix host = ip_prefix_host(&peer->address);
    plan_builder_grant(builder, index, &host);
    if (peer->address6.family != 0) {
        host = ip_prefix_host(&peer->address6);
        plan_builder_grant(builder, index, &host);
    }
    /* A host without IPv6 gets no AAAA record: clients that prefer IPv6 would time out first. */
    if (state_node_by_name(planning->state, peer->name) == NULL) /* nodes come first */
        plan_builder_name(builder, peer->name, &peer->address,
                          peer->pb->no_ipv6 ? &no_addr : &peer->address6);
}

static void add_self(struct plan_builder *builder, const struct state *state,
                     const struct state_node *node)
{
    plan_builder_address(builder, &node->gateway, node->network.len);
    plan_builder_address(builder, &node->gateway6, node->network6.len);
    for (size_t i = 0; i < state_route_count(state); i++) {
        const struct state_route *route = state_route_at(state, i);
        if (strcmp(route->node_id, node->id) != 0)
            continue;
        plan_builder_own_route(builder, &route->network);
        if (route->pb->inbound && route->network.len > 0)
            plan_builder_inbound(builder, &route->network);
    }
}

static void add_overlay(struct plan_builder *builder, const struct state *state)
{
    const struct state_settings *settings = state_settings(state);
    const struct ip_prefix *const networks[] = {&settings->peer_network, &settings->peer_network6};
    for (size_t i = 0; i < 2; i++) {
        plan_builder_route(builder, networks[i]);
        plan_builder_overlay(builder, networks[i]);
        plan_builder_peer_network(builder, networks[i]);
    }
    for (size_t i = 0; i < state_node_count(state); i++) {
        const struct state_node *node = state_node_at(state, i);
        plan_builder_overlay(builder, &node->network);
        plan_builder_overlay(builder, &node->network6);
        plan_builder_name(builder, node->name, &node->gateway, &node->gateway6);
    }
}

/* Adds a touched peer, which may have been touched twice. */
static void add_once(struct plan_builder *builder, const struct planning *planning,
                     const struct state_peer *peer)
{
    if (peer == NULL)
        return;
    for (size_t i = 0; i < builder->plan->peer_count; i++)
        if (memcmp(builder->plan->peers[i].public_key, peer->public_key, WG_KEY_LEN) == 0)
            return;
    add_peer(builder, planning, peer);
}

static void add_peers(struct plan_builder *builder, const struct planning *planning,
                      const struct plan_touched *touched)
{
    const struct state *state = planning->state;
    for (size_t i = 0; touched == NULL && i < state_peer_count(state); i++)
        add_peer(builder, planning, state_peer_at(state, i));
    for (size_t i = 0; touched != NULL && i < touched->count; i++)
        add_once(builder, planning, state_peer(state, touched->peers[i].id));
}

int plan_of_node(const struct state *state, const char *self, const char *cluster_key,
                 const struct plan_touched *touched, struct plan *out)
{
    struct plan_builder builder;
    plan_builder_init(&builder, out);
    const struct state_node *node = state_node(state, self);
    const struct planning planning = {state, node, cluster_key};
    if (node == NULL)
        return -ENOENT;
    add_self(&builder, state, node);
    add_overlay(&builder, state);
    for (size_t i = 0; i < state_node_count(state); i++)
        if (state_node_at(state, i) != node)
            add_other_node(&builder, &planning, state_node_at(state, i));
    add_peers(&builder, &planning, touched);
    return plan_builder_finish(&builder);
}
