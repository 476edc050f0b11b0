#ifndef CONTROL_HOST_OWN_NETWORKS_H
#define CONTROL_HOST_OWN_NETWORKS_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The networks that this host is connected to and that lie in a network of the tunnel: a laptop in
 * the very network that its node publishes, a LAN inside the peers' network. The host's own ones
 * win, because its neighbors are reached there and nowhere else. */

struct ifconf_socket;
struct plan;

struct own_network {
    struct ip_prefix prefix;
    struct ip_prefix within; /* the tunnel's */
};

struct own_networks {
    struct own_network *items;
    size_t count;
};

/* Finds those that lie in routes of the plan, the interface `ifindex` left out. 0 or a negative
 * errno, and then `out` is empty. */
int own_networks_find(struct own_networks *out, struct ifconf_socket *conf, uint32_t ifindex,
                      const struct plan *plan);
void own_networks_fini(struct own_networks *own);

bool own_networks_has(const struct own_networks *own, const struct ip_prefix *prefix);
bool own_networks_contain(const struct own_networks *own, const struct ip_addr *addr);

#endif
