#include "control/state/ipam.h"

#include "base/bytes.h"
#include "base/err.h"
#include "control/state/state.h"

#include <errno.h>
#include <string.h>

enum { FIRST_PEER_OFFSET = 2, PEER_LEN_MIN = 8, PEER_LEN_MAX = 29 };

/* The range of a walk: the private range that the network lies in (RFC 1918, RFC 6598), a ULA's own
 * /48 (RFC 4193), or the networks that share its first 8 (IPv6: 48) bits. */
static struct ip_prefix walk_range(const struct ip_prefix *start)
{
    static const char *const private[] = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
                                          "100.64.0.0/10"};
    struct ip_prefix range;
    for (size_t i = 0; i < sizeof private / sizeof private[0]; i++)
        if (ip_prefix_parse(&range, private[i]) && ip_prefix_contains(&range, &start->addr) &&
            range.len <= start->len)
            return range;
    range = *start;
    uint8_t shared = start->addr.family == 4 ? 8 : 48;
    if (range.len > shared)
        range.len = shared;
    ip_prefix_mask(&range);
    return range;
}

/* The next network of the same length; false at the end of the address space. */
static bool next_network(struct ip_prefix *network)
{
    uint8_t *bytes = network->addr.bytes;
    for (int bit = network->len - 1; bit >= 0; bit--) {
        uint8_t mask = (uint8_t)(0x80 >> (bit % 8));
        bytes[bit / 8] ^= mask;
        if ((bytes[bit / 8] & mask) != 0)
            return true;
    }
    return false;
}

static bool overlaps_node(const struct state_node *node, const struct ip_prefix *network)
{
    return ip_prefix_overlaps(&node->network, network) ||
           (node->network6.addr.family != 0 && ip_prefix_overlaps(&node->network6, network));
}

static bool is_taken(const struct state *state, const struct ip_prefix *network)
{
    const struct state_settings *settings = state_settings(state);
    if (ip_prefix_overlaps(network, &settings->peer_network) ||
        ip_prefix_overlaps(network, &settings->peer_network6))
        return true;
    for (size_t i = 0; i < state_node_count(state); i++)
        if (overlaps_node(state_node_at(state, i), network))
            return true;
    for (size_t i = 0; i < state_network_count(state); i++)
        if (ip_prefix_overlaps(network, &state_network_at(state, i)->network))
            return true;
    for (size_t i = 0; i < state_route_count(state); i++) {
        const struct ip_prefix *route = &state_route_at(state, i)->network;
        if (route->len > 0 && ip_prefix_overlaps(network, route))
            return true;
    }
    return false;
}

static bool overlaps_any(const struct ip_prefix *list, size_t count,
                         const struct ip_prefix *network)
{
    for (size_t i = 0; i < count; i++)
        if (ip_prefix_overlaps(&list[i], network))
            return true;
    return false;
}

static int walk(const struct state *state, const struct ip_prefix *start,
                const struct ip_prefix *host, size_t host_count, struct ip_prefix *out)
{
    struct ip_prefix range = walk_range(start);
    struct ip_prefix at = *start;
    while (next_network(&at) && ip_prefix_contains(&range, &at.addr))
        if (!is_taken(state, &at) && !overlaps_any(host, host_count, &at)) {
            *out = at;
            return 0;
        }
    return -ENOSPC;
}

int ipam_node_network(const struct state *state, const struct ip_prefix *host, size_t host_count,
                      struct ip_prefix *network)
{
    return walk(state, &state_settings(state)->node_network, host, host_count, network);
}

int ipam_node_network6(const struct state *state, const struct ip_prefix *host, size_t host_count,
                       struct ip_prefix *network)
{
    const struct ip_prefix *start = &state_settings(state)->node_network6;
    return start->addr.family == 0 ? -EOPNOTSUPP : walk(state, start, host, host_count, network);
}

struct ip_addr ipam_gateway(const struct ip_prefix *network)
{
    struct ip_addr addr = network->addr;
    ip_addr_add(&addr, 1);
    return addr;
}

int ipam_peer_address(const struct state *state, struct ip_addr *addr, struct ip_addr *addr6)
{
    const struct state_settings *settings = state_settings(state);
    const struct ip_prefix *network = &settings->peer_network;
    bool has6 = settings->peer_network6.addr.family != 0;
    uint64_t end = (UINT64_C(1) << (32 - network->len)) - 1;
    for (uint64_t offset = state_peer_offset_floor(state); offset < end; offset++) {
        *addr = network->addr;
        *addr6 = settings->peer_network6.addr;
        ip_addr_add(addr, offset);
        if (has6)
            ip_addr_add(addr6, offset);
        if (state_address_owner(state, addr) == NULL &&
            (!has6 || state_address_owner(state, addr6) == NULL))
            return 0;
    }
    return -ENOSPC;
}

static int check_family(const struct ip_prefix *network, const char *what, uint8_t family,
                        struct err *err)
{
    char text[IP_PREFIX_TEXT];
    if (network->addr.family != family)
        return err_set(err, -EINVAL, "the %s is not an IPv%d network", what, family);
    if (!ip_prefix_is_masked(network))
        return err_set(err, -EINVAL, "the %s %s has bits set beyond its length", what,
                       ip_prefix_format(network, text));
    return 0;
}

static int check_length(const struct ip_prefix *network, const char *what, int min, int max,
                        struct err *err)
{
    char text[IP_PREFIX_TEXT];
    if (network->len >= min && network->len <= max)
        return 0;
    return err_set(err, -EINVAL, "the %s %s must have a length from /%d to /%d", what,
                   ip_prefix_format(network, text), min, max);
}

static int check_apart(const struct ip_prefix *node, const struct ip_prefix *peer, struct err *err)
{
    char a[IP_PREFIX_TEXT];
    char b[IP_PREFIX_TEXT];
    if (!ip_prefix_overlaps(node, peer))
        return 0;
    return err_set(err, -EINVAL, "the node network %s and the peer network %s overlap",
                   ip_prefix_format(node, a), ip_prefix_format(peer, b));
}

int ipam_check_networks(const struct ip_prefix *node_network, const struct ip_prefix *peer_network,
                        const struct ip_prefix *node_network6,
                        const struct ip_prefix *peer_network6, struct err *err)
{
    int rc = check_family(node_network, "node network", 4, err);
    if (rc == 0)
        rc = check_length(node_network, "node network", 9, 29, err);
    if (rc == 0)
        rc = check_family(peer_network, "peer network", 4, err);
    if (rc == 0)
        rc = check_length(peer_network, "peer network", PEER_LEN_MIN, PEER_LEN_MAX, err);
    if (rc == 0)
        rc = check_apart(node_network, peer_network, err);
    if (rc != 0 || (node_network6->addr.family == 0 && peer_network6->addr.family == 0))
        return rc;
    if (node_network6->addr.family == 0 || peer_network6->addr.family == 0)
        return err_set(err, -EINVAL,
                       "the IPv6 networks of nodes and peers must both be given or both be off");
    rc = check_family(node_network6, "IPv6 node network", 6, err);
    if (rc == 0)
        rc = check_length(node_network6, "IPv6 node network", 49, 125, err);
    if (rc == 0)
        rc = check_family(peer_network6, "IPv6 peer network", 6, err);
    /* Both addresses of a peer have the same offset in their networks. */
    if (rc == 0)
        rc = check_length(peer_network6, "IPv6 peer network", 8, 96 + peer_network->len, err);
    if (rc == 0)
        rc = check_apart(node_network6, peer_network6, err);
    return rc;
}
