#include "base/err.h"
#include "control/state/change_build.h"
#include "control/state/prefix_rules.h"
#include "control/state/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static enum grpc_code parse_network(const char *in, struct ip_prefix *network, struct err *err)
{
    char form[IP_PREFIX_TEXT];
    if (strchr(in, '/') == NULL || !ip_prefix_parse(network, in))
        return REFUSE(
            err, GRPC_INVALID_ARGUMENT,
            "\"%.64s\" is not a network: expected an address and a length, like 10.20.0.0/16", in);
    if (ip_prefix_is_masked(network))
        return GRPC_OK;
    struct ip_prefix meant = *network;
    ip_prefix_mask(&meant);
    return REFUSE(err, GRPC_INVALID_ARGUMENT,
                  "%.64s has bits set beyond its length: the network is %s", in,
                  ip_prefix_format(&meant, form));
}

/* Refuses a route that overlaps a network of the overlay; the text names that network. */
static enum grpc_code check_overlap(const struct state *state, const struct ip_prefix *network,
                                    const char *in, struct err *err)
{
    const struct state_settings *settings = state_settings(state);
    char other[IP_PREFIX_TEXT];
    const struct ip_prefix *const peers[] = {&settings->peer_network, &settings->peer_network6};
    for (size_t i = 0; i < 2; i++)
        if (ip_prefix_overlaps(peers[i], network))
            return REFUSE(err, GRPC_INVALID_ARGUMENT, "%s overlaps the peer network %s", in,
                          ip_prefix_format(peers[i], other));
    for (size_t i = 0; i < state_node_count(state); i++) {
        const struct state_node *node = state_node_at(state, i);
        const struct ip_prefix *const own[] = {&node->network, &node->network6};
        for (size_t j = 0; j < 2; j++)
            if (ip_prefix_overlaps(own[j], network))
                return REFUSE(err, GRPC_INVALID_ARGUMENT, "%s overlaps the network %s of node %s",
                              in, ip_prefix_format(own[j], other), node->name);
    }
    return GRPC_OK;
}

/* Peers refuse what would take all of their traffic without an exit node. */
static enum grpc_code check_sum(const struct state *state, const struct ip_prefix *network,
                                const char *in, struct err *err)
{
    size_t count = state_route_count(state);
    if (count >= PREFIX_ROUTES_MAX)
        return REFUSE(err, GRPC_RESOURCE_EXHAUSTED,
                      "there are %zu routes, the most that peers follow: delete some", count);
    struct ip_prefix *list = calloc(count + 1, sizeof *list);
    if (list == NULL)
        return REFUSE(err, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    for (size_t i = 0; i < count; i++)
        list[i] = state_route_at(state, i)->network;
    list[count] = *network;
    bool too_much = prefixes_cover_too_much(list, count + 1);
    free(list);
    if (too_much)
        return REFUSE(
            err, GRPC_INVALID_ARGUMENT,
            "%s and the other routes cover too much of the internet: publish 0.0.0.0/0 or "
            "::/0, for peers that choose this exit node",
            in);
    return GRPC_OK;
}

static enum grpc_code check_network(const struct state *state, const struct change_route *route,
                                    struct ip_prefix *network, struct err *err)
{
    const char *in = route->network;
    enum grpc_code code = parse_network(in, network, err);
    if (code != GRPC_OK)
        return code;
    if (network->len == 0 && route->inbound)
        return REFUSE(err, GRPC_INVALID_ARGUMENT,
                      "%s cannot be inbound: the whole internet could open connections to peers",
                      in);
    if (network->len == 0)
        return GRPC_OK;
    if (prefix_is_reserved(network))
        return REFUSE(err, GRPC_INVALID_ARGUMENT, "%s is reserved and cannot be a route", in);
    code = check_overlap(state, network, in, err);
    return code == GRPC_OK ? check_sum(state, network, in, err) : code;
}

static enum grpc_code create_route(struct change *change, const struct state *state,
                                   const struct change_route *route, struct err *err)
{
    struct ip_prefix network;
    char form[IP_PREFIX_TEXT];
    enum grpc_code code = change_need_cluster(state, err);
    if (code == GRPC_OK)
        code = check_network(state, route, &network, err);
    if (code != GRPC_OK)
        return code;
    if (state_node(state, route->node_id) == NULL)
        return REFUSE(err, GRPC_NOT_FOUND, "there is no node %.64s: see hctl nodes list",
                      route->node_id);
    const struct state_route *have = state_route(state, &network);
    if (have != NULL &&
        (strcmp(have->node_id, route->node_id) != 0 || (have->pb->inbound != 0) == route->inbound))
        return REFUSE(err, GRPC_ALREADY_EXISTS, "%s is already a route, of node %.64s",
                      route->network, have->node_id);
    Pb__Route record;
    pb__route__init(&record);
    if (have != NULL)
        record = *have->pb;
    record.node_id = change_text(route->node_id);
    record.network = change_text(ip_prefix_format(&network, form));
    record.inbound = route->inbound;
    change_add_message(change, RECORD_SET, RECORD_KEY_ROUTES, record.network, &record.base);
    return GRPC_OK;
}

enum grpc_code change_create_route(struct change *change, const struct state *state,
                                   const struct change_route *route, struct err *err)
{
    change_begin(change, state);
    return change_finish(change, create_route(change, state, route, err), err);
}

static enum grpc_code delete_route(struct change *change, const struct state *state, const char *in,
                                   struct err *err)
{
    struct ip_prefix network;
    char form[IP_PREFIX_TEXT];
    enum grpc_code code = change_need_cluster(state, err);
    if (code == GRPC_OK)
        code = parse_network(in, &network, err);
    if (code != GRPC_OK)
        return code;
    if (state_route(state, &network) == NULL)
        return REFUSE(err, GRPC_NOT_FOUND, "%s is not a route: see hctl routes list", in);
    change_add_del(change, RECORD_KEY_ROUTES, ip_prefix_format(&network, form));
    return GRPC_OK;
}

enum grpc_code change_delete_route(struct change *change, const struct state *state,
                                   const char *network, struct err *err)
{
    change_begin(change, state);
    return change_finish(change, delete_route(change, state, network, err), err);
}
