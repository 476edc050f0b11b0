#ifndef CONTROL_STATE_IPAM_H
#define CONTROL_STATE_IPAM_H

#include "base/addr.h"

/* Assigns addresses to nodes and peers. Pure: the state knows what is taken. */

struct state;

/* The next network of a node: walks upward from the cluster's node network, itself excluded, in
 * steps of its size. Skips networks that overlap the overlay, a published route, or one of the
 * `host_count` networks that the node's host is in. The walk ends with the private range that it
 * started in. 0 or -ENOSPC. */
int ipam_node_network(const struct state *state, const struct ip_prefix *host, size_t host_count,
                      struct ip_prefix *network);

/* The same for IPv6; -EOPNOTSUPP where the overlay has none. */
int ipam_node_network6(const struct state *state, const struct ip_prefix *host, size_t host_count,
                       struct ip_prefix *network);

/* The first address of a network. */
struct ip_addr ipam_gateway(const struct ip_prefix *network);

/* The lowest free address of the peer network from offset 2 up, except the last one (IPv4
 * broadcast), and the address with the same offset in the IPv6 peer network (family 0 where there
 * is none). 0 or -ENOSPC. */
int ipam_peer_address(const struct state *state, struct ip_addr *addr, struct ip_addr *addr6);

/* Checks that these networks make an overlay (family 0: off). 0, or -EINVAL with a text that names
 * the fault. */
struct err;
int ipam_check_networks(const struct ip_prefix *node_network, const struct ip_prefix *peer_network,
                        const struct ip_prefix *node_network6,
                        const struct ip_prefix *peer_network6, struct err *err);

#endif
