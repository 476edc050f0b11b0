#ifndef CONTROL_HOST_INTERFACE_PARTS_H
#define CONTROL_HOST_INTERFACE_PARTS_H

#include "control/host/interface.h"

/* What interface.c sets and interface_heal.c sets again. */

/* Whether the interface takes addresses and routes of this family. */
bool interface_is_served(const struct interface *interface, uint8_t family);

/* A family in which the plan has no address gets no routes: what would go there could not come
 * back. */
bool interface_is_routed(const struct interface *interface, const struct plan *plan,
                         uint8_t family);

void interface_add_addresses(struct interface *interface, const struct ip_prefix *addrs,
                             size_t count);
void interface_set_routes(struct interface *interface, const struct plan *plan,
                          const struct ip_prefix *prefixes, size_t count);

/* Ends the lookup in the tunnel's table for this network. */
void interface_set_throw(struct interface *interface, const struct ip_prefix *prefix);

/* Keeps the networks out that this host is connected to now. */
void interface_follow_own_networks(struct interface *interface, const struct plan *plan);

/* 0 or a negative errno. */
int interface_set_rules(struct interface *interface, struct err *err);

/* Puts the first rule in front of another program's that hides it. */
void interface_lead(struct interface *interface, const struct plan *plan);

/* Sets the MTU that the paths to the plan's endpoints leave, where it differs from `mtu`. */
uint32_t interface_wanted_mtu(const struct interface *interface, const struct plan *plan);
void interface_follow_mtu(struct interface *interface, const struct plan *plan);

#endif
