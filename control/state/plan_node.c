#include "control/state/plan.h"

#include "base/bytes.h"
#include "base/err.h"
#include "control/state/plan_build.h"
#include "control/state/plan_part.h"
#include "control/state/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const union endpoint no_endpoint;
static const struct ip_addr no_addr;

/* The nodes are in order of age. */
const struct state_node *plan_relay(const struct state *state)
{
    return state_node_count(state) == 0 ? NULL : state_node_at(state, 0);
}

/* ---- a node */

static void add_other_node(struct plan_builder *builder, const struct state *state,
                           const struct state_node *node)
{
    const struct state_settings *settings = state_settings(state);
    const char *id = node->id;
    size_t peer = plan_builder_peer(builder, node->public_key, &node->endpoint, 0);
    plan_builder_grant(builder, peer, &node->network);
    plan_builder_grant(builder, peer, &node->network6);
    plan_builder_route(builder, &node->network);
    plan_builder_route(builder, &node->network6);
    if (node == plan_relay(state)) {
        plan_builder_grant(builder, peer, &settings->peer_network);
        if (node->network6.addr.family != 0) /* one without IPv6 does not relay it */
            plan_builder_grant(builder, peer, &settings->peer_network6);
    }
    /* Default routes are for peers that choose an exit node. */
    for (size_t i = 0; i < state_route_count(state); i++) {
        const struct state_route *route = state_route_at(state, i);
        if (strcmp(route->node_id, id) == 0 && route->network.len > 0) {
            plan_builder_grant(builder, peer, &route->network);
            plan_builder_route(builder, &route->network);
        }
    }
}

static void add_peer(struct plan_builder *builder, const struct state *state,
                     const struct state_peer *peer)
{
    if (state_peer_by_key(state, peer->public_key) != peer ||
        state_node_by_key(state, peer->public_key) != NULL)
        return; /* damaged data: the key is somebody else's */
    union endpoint endpoint = no_endpoint;
    if (peer->pb->endpoint[0] != '\0' && !endpoint_parse(&endpoint, peer->pb->endpoint))
        endpoint = no_endpoint;
    size_t index = plan_builder_peer(builder, peer->public_key, &endpoint, 0);
    struct ip_prefix host = ip_prefix_host(&peer->address);
    plan_builder_grant(builder, index, &host);
    if (peer->address6.family != 0) {
        host = ip_prefix_host(&peer->address6);
        plan_builder_grant(builder, index, &host);
    }
    /* whoever prefers IPv6 would wait in vain for a host that has none */
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
        if (strcmp(route->node_id, node->id) == 0)
            plan_builder_own_route(builder, &route->network);
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

/* Everything but the peers; -ENOENT when the state does not have the node. */
static int begin_node(struct plan_builder *builder, const struct state *state, const char *self,
                      struct plan *out)
{
    plan_builder_init(builder, out);
    const struct state_node *node = state_node(state, self);
    if (node == NULL)
        return -ENOENT;
    add_self(builder, state, node);
    add_overlay(builder, state);
    for (size_t i = 0; i < state_node_count(state); i++)
        if (state_node_at(state, i) != node)
            add_other_node(builder, state, state_node_at(state, i));
    return 0;
}

int plan_of_node(const struct state *state, const char *self, struct plan *out)
{
    struct plan_builder builder;
    int rc = begin_node(&builder, state, self, out);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < state_peer_count(state); i++)
        add_peer(&builder, state, state_peer_at(state, i));
    return plan_builder_finish(&builder);
}

/* A peer may be touched twice. */
static void add_once(struct plan_builder *builder, const struct state *state,
                     const struct state_peer *peer)
{
    if (peer == NULL)
        return;
    for (size_t i = 0; i < builder->plan->peer_count; i++)
        if (memcmp(builder->plan->peers[i].public_key, peer->public_key, WG_KEY_LEN) == 0)
            return;
    add_peer(builder, state, peer);
}

int plan_of_node_part(const struct state *state, const char *self,
                      const struct plan_touched *touched, struct plan *out)
{
    struct plan_builder builder;
    int rc = begin_node(&builder, state, self, out);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < touched->count; i++)
        add_once(&builder, state, state_peer(state, touched->peers[i].id));
    return plan_builder_finish(&builder);
}

/* ---- what a peer is told */

/* Builds with malloc, as protobuf-c frees; a failed allocation is remembered. */
struct answer {
    bool failed;
};

static char *copy(struct answer *answer, const char *text)
{
    char *out = strdup(text);
    answer->failed |= out == NULL;
    return out;
}

static void *zeroed(struct answer *answer, size_t count, size_t size)
{
    void *out = calloc(count == 0 ? 1 : count, size);
    answer->failed |= out == NULL;
    return out;
}

static void put_prefix(struct answer *answer, char **list, size_t *count,
                       const struct ip_prefix *prefix)
{
    char text[IP_PREFIX_TEXT];
    if (prefix->addr.family == 0)
        return;
    list[*count] = copy(answer, ip_prefix_format(prefix, text));
    *count += list[*count] != NULL;
}

static char *address_in(struct answer *answer, const struct ip_addr *addr,
                        const struct ip_prefix *network)
{
    char text[IP_PREFIX_TEXT];
    struct ip_prefix prefix = {.addr = *addr, .len = network->len};
    return copy(answer, addr->family == 0 ? "" : ip_prefix_format(&prefix, text));
}

static Pb__KeyPair *make_keypair(struct answer *answer, const uint8_t key[32])
{
    char text[BASE64_KEY_LEN + 1];
    Pb__KeyPair *keypair = zeroed(answer, 1, sizeof *keypair);
    if (keypair == NULL)
        return NULL;
    pb__key_pair__init(keypair);
    bytes_to_base64(text, key, 32);
    keypair->public_key = copy(answer, text);
    return keypair;
}

static void put_allowed_ips(struct answer *answer, const struct state *state,
                            const struct state_node *node, Pb__Peer *out)
{
    const struct state_settings *settings = state_settings(state);
    out->allowed_ips = zeroed(answer, 4 + state_route_count(state), sizeof *out->allowed_ips);
    if (out->allowed_ips == NULL)
        return;
    put_prefix(answer, out->allowed_ips, &out->n_allowed_ips, &node->network);
    put_prefix(answer, out->allowed_ips, &out->n_allowed_ips, &node->network6);
    if (node == plan_relay(state)) {
        put_prefix(answer, out->allowed_ips, &out->n_allowed_ips, &settings->peer_network);
        if (node->network6.addr.family != 0)
            put_prefix(answer, out->allowed_ips, &out->n_allowed_ips, &settings->peer_network6);
    }
    for (size_t i = 0; i < state_route_count(state); i++) {
        const struct state_route *route = state_route_at(state, i);
        if (strcmp(route->node_id, node->id) == 0)
            put_prefix(answer, out->allowed_ips, &out->n_allowed_ips, &route->network);
    }
}

/* A node, as a peer to connect to. */
static Pb__Peer *make_node(struct answer *answer, const struct state *state,
                           const struct state_node *node)
{
    char endpoint[ENDPOINT_TEXT] = "";
    Pb__Peer *out = zeroed(answer, 1, sizeof *out);
    if (out == NULL)
        return NULL;
    pb__peer__init(out);
    if (endpoint_is_set(&node->endpoint))
        endpoint_format(&node->endpoint, endpoint);
    out->id = copy(answer, node->id);
    out->name = copy(answer, node->name);
    out->keypair = make_keypair(answer, node->public_key);
    out->endpoint = copy(answer, endpoint);
    out->peer_ip = copy(answer, node->pb->gateway_ip);
    out->peer_ip6 = copy(answer, node->pb->gateway_ip6);
    put_allowed_ips(answer, state, node, out);
    return out;
}

static void put_nodes(struct answer *answer, const struct state *state,
                      Pb__ConnectResponse *response)
{
    size_t count = state_node_count(state);
    response->peers = zeroed(answer, count, sizeof *response->peers);
    response->node_addresses = zeroed(answer, count, sizeof *response->node_addresses);
    for (size_t i = 0; i < count && !answer->failed; i++) {
        const struct state_node *node = state_node_at(state, i);
        response->peers[i] = make_node(answer, state, node);
        response->n_peers += response->peers[i] != NULL;
        response->node_addresses[i] = copy(answer, node->pb->addr);
        response->n_node_addresses += response->node_addresses[i] != NULL;
    }
}

static void put_dns(struct answer *answer, const struct state *state, const char *domain,
                    Pb__ConnectResponse *response)
{
    size_t count = state_node_count(state);
    response->dns_domain = copy(answer, domain);
    response->dns = zeroed(answer, count, sizeof *response->dns);
    for (size_t i = 0; i < count && !answer->failed; i++) {
        response->dns[i] = copy(answer, state_node_at(state, i)->pb->gateway_ip);
        response->n_dns += response->dns[i] != NULL;
    }
}

Pb__ConnectResponse *plan_connect_response(const struct state *state, const char *peer_id,
                                           const char *dns_domain)
{
    const struct state_settings *settings = state_settings(state);
    const struct state_peer *peer = state_peer(state, peer_id);
    struct answer answer = {false};
    if (peer == NULL)
        return NULL;
    Pb__ConnectResponse *response = zeroed(&answer, 1, sizeof *response);
    if (response == NULL)
        return NULL;
    pb__connect_response__init(response);
    response->keypair = make_keypair(&answer, peer->public_key);
    response->address = address_in(&answer, &peer->address, &settings->peer_network);
    response->address6 = address_in(&answer, &peer->address6, &settings->peer_network6);
    put_nodes(&answer, state, response);
    if (dns_domain != NULL)
        put_dns(&answer, state, dns_domain, response);
    if (!answer.failed)
        return response;
    pb__connect_response__free_unpacked(response, NULL);
    return NULL;
}

/* ---- a peer */

static int bad_answer(struct err *err, const char *what, const char *text)
{
    return err_set(err, -EINVAL, "the node's answer makes no sense: %s \"%.80s\"", what, text);
}

static int take_allowed_ips(struct plan_builder *builder, size_t index, const Pb__Peer *node,
                            bool is_exit, struct err *err)
{
    for (size_t i = 0; i < node->n_allowed_ips; i++) {
        struct ip_prefix prefix;
        if (!ip_prefix_parse(&prefix, node->allowed_ips[i]) || !ip_prefix_is_masked(&prefix))
            return bad_answer(err, "network", node->allowed_ips[i]);
        if (prefix.len == 0 && !is_exit)
            continue;
        if (prefix.len == 0)
            builder->plan->exit = PLAN_EXIT_ON;
        plan_builder_grant(builder, index, &prefix);
        plan_builder_route(builder, &prefix);
    }
    return 0;
}

/* A name is as good as an id: both are unique among nodes. */
static bool is_named(const Pb__Peer *node, const char *name)
{
    return name != NULL && (strcmp(node->id, name) == 0 || strcasecmp(node->name, name) == 0);
}

static int take_node(struct plan_builder *builder, const Pb__Peer *node, const char *exit_node,
                     struct err *err)
{
    uint8_t key[WG_KEY_LEN];
    union endpoint endpoint = no_endpoint;
    const char *text = node->keypair == NULL ? "" : node->keypair->public_key;
    if (strlen(text) != BASE64_KEY_LEN || !bytes_from_base64(key, sizeof key, text))
        return bad_answer(err, "public key", text);
    if (node->endpoint[0] != '\0' && !endpoint_parse(&endpoint, node->endpoint))
        return bad_answer(err, "endpoint", node->endpoint);
    for (size_t i = 0; i < builder->plan->peer_count; i++)
        if (memcmp(builder->plan->peers[i].public_key, key, sizeof key) == 0)
            return bad_answer(err, "the same key twice", text);
    size_t index = plan_builder_peer(builder, key, &endpoint, PLAN_KEEPALIVE_S);
    bool is_exit = is_named(node, exit_node);
    if (is_exit && builder->plan->exit == PLAN_EXIT_UNKNOWN)
        builder->plan->exit = PLAN_EXIT_UNPUBLISHED;
    return take_allowed_ips(builder, index, node, is_exit, err);
}

static int take_address(struct plan_builder *builder, const char *text, uint8_t family,
                        struct err *err)
{
    struct ip_prefix prefix;
    if (!ip_prefix_parse(&prefix, text) || prefix.addr.family != family)
        return bad_answer(err, "address", text);
    plan_builder_address(builder, &prefix.addr, prefix.len);
    return 0;
}

static int take_dns(struct plan_builder *builder, const Pb__ConnectResponse *response,
                    struct err *err)
{
    for (size_t i = 0; i < response->n_dns; i++) {
        struct ip_addr addr;
        if (!ip_addr_parse(&addr, response->dns[i]))
            return bad_answer(err, "resolver", response->dns[i]);
        plan_builder_dns(builder, &addr);
    }
    return 0;
}

int plan_of_peer(const Pb__ConnectResponse *response, const char *exit_node, struct plan *out,
                 struct err *err)
{
    struct plan_builder builder;
    plan_builder_init(&builder, out);
    out->exit = exit_node == NULL ? PLAN_EXIT_OFF : PLAN_EXIT_UNKNOWN;
    int rc = take_address(&builder, response->address, 4, err);
    if (rc == 0 && response->address6[0] != '\0')
        rc = take_address(&builder, response->address6, 6, err);
    for (size_t i = 0; rc == 0 && i < response->n_peers; i++)
        rc = take_node(&builder, response->peers[i], exit_node, err);
    if (rc == 0)
        rc = take_dns(&builder, response, err);
    int finished = plan_builder_finish(&builder);
    if (rc == 0 && finished != 0)
        rc = err_set(err, finished, "out of memory");
    return rc;
}
