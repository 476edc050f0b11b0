#ifndef CONTROL_STATE_PLAN_H
#define CONTROL_STATE_PLAN_H

#include "base/addr.h"
#include "wg/wg.h"

#include <stddef.h>

/* What one host's tunnel, interface, routes, firewall and names should be. Plans are pure: equal
 * input makes equal plans, and plan_diff of two plans holds only what differs.
 *
 *   plan_node   the plan of a node, from the state
 *   plan_peer   the plan of a peer, from what its node answered
 *   plan_part   the part of a node's plan that a small change concerns
 *   plan_diff   the change from one plan to the next
 *   plan_zone   the DNS zone of a plan */

/* What became of a peer's wish for an exit node. */
enum plan_exit {
    PLAN_EXIT_OFF,         /* none is wanted */
    PLAN_EXIT_UNKNOWN,     /* there is no such node */
    PLAN_EXIT_UNPUBLISHED, /* the node publishes no default route */
    PLAN_EXIT_ON,          /* traffic that no other route takes goes through the node, or nowhere */
};

struct plan_name {
    char *name; /* a DNS label, lower case */
    struct ip_addr addr;
    struct ip_addr addr6; /* family 0: none */
};

struct plan {
    /* As the engine takes them, ordered by public key, their allowed IPs by prefix. No prefix is in
     * two of them. Each says whether it has a preshared key. */
    struct wg_peer_config *peers;
    size_t peer_count;
    /* The interface's addresses, each with the length of the network it is in. They are set without
     * a route of their own (IFA_F_NOPREFIXROUTE). */
    struct ip_prefix addresses[2];
    size_t address_count;
    /* Routes through the interface, in a table of their own; ordered, without duplicates. */
    struct ip_prefix *routes;
    size_t route_count;
    /* A node's firewall: networks of the overlay (what may be forwarded, what NAT applies to), peer
     * networks (the peer-to-peer rule), and published routes that this node serves itself. */
    struct ip_prefix *overlay;
    size_t overlay_count;
    struct ip_prefix peer_networks[2];
    size_t peer_network_count;
    struct ip_prefix *own_routes;
    size_t own_route_count;
    struct ip_prefix *inbound; /* those of them whose hosts may open connections to peers */
    size_t inbound_count;
    /* Names that a node's DNS answers for, in order. */
    struct plan_name *names;
    size_t name_count;
    /* A peer's resolvers: addresses inside the tunnel, best first. */
    struct ip_addr *dns;
    size_t dns_count;
    enum plan_exit exit; /* a peer's */
};

void plan_init(struct plan *plan);

/* Wipes preshared keys. */
void plan_fini(struct plan *plan);

/* Arrays of peers hold preshared keys, so that they are wiped whenever they are freed, which realloc
 * does not do. plan_grow_peers returns NULL with the array unchanged when memory is short. */
void plan_free_peers(struct wg_peer_config *peers, size_t count);
struct wg_peer_config *plan_grow_peers(struct wg_peer_config *peers, size_t count, size_t capacity);

#endif
