#ifndef CONTROL_STATE_PLAN_H
#define CONTROL_STATE_PLAN_H

#include "base/addr.h"
#include "control/state/record.h"
#include "proto/heimdall.pb-c.h"
#include "wg/wg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What one host's tunnel, interface, routes, firewall and names should be. Pure: the state (or, on
 * a peer, what its node answered) in, a plan out. Two plans of the same input are equal, and
 * plan_diff of two plans holds only what differs. */

struct err;
struct state;
struct zone;

enum { PLAN_KEEPALIVE_S = 25 };

/* What became of a peer's wish for an exit node. */
enum plan_exit {
    PLAN_EXIT_OFF,         /* none is wanted */
    PLAN_EXIT_UNKNOWN,     /* there is no such node */
    PLAN_EXIT_UNPUBLISHED, /* it publishes no default route */
    PLAN_EXIT_ON,          /* all that no other route takes goes through it, or nowhere */
};

struct plan_name {
    char *name; /* a DNS label, lower case */
    struct ip_addr addr;
    struct ip_addr addr6; /* family 0: none */
};

struct plan {
    /* As the engine takes them, ordered by public key, their allowed IPs by prefix; no prefix is in
     * two of them. */
    struct wg_peer_config *peers;
    size_t peer_count;
    /* Of the interface, with the length of the network they are in. To be set without a route of
     * their own (IFA_F_NOPREFIXROUTE). */
    struct ip_prefix addresses[2];
    size_t address_count;
    /* Through the interface, in our own table; ordered, without duplicates. */
    struct ip_prefix *routes;
    size_t route_count;
    /* Firewall of a node. Networks of the overlay (what may be forwarded, what NAT applies to), the
     * peer networks (the peer-to-peer rule) and the published routes that this node serves itself.
     */
    struct ip_prefix *overlay;
    size_t overlay_count;
    struct ip_prefix peer_networks[2];
    size_t peer_network_count;
    struct ip_prefix *own_routes;
    size_t own_route_count;
    /* Names of a node's DNS; ordered by name. */
    struct plan_name *names;
    size_t name_count;
    /* Resolvers of a peer: addresses inside the tunnel, best first. */
    struct ip_addr *dns;
    size_t dns_count;
    enum plan_exit exit; /* of a peer */
};

/* plan_view.c */

/* The plan of node `self`. 0, -ENOENT when the state does not have it, or -ENOMEM; `out` is to be
 * given to plan_fini in any case. */
int plan_of_node(const struct state *state, const char *self, struct plan *out);

/* The plan of a peer, from what Connect or WatchPeer answered. `exit_node` is the id or the name of
 * the node whose default routes are taken, or NULL. -EINVAL with a text when the answer makes no
 * sense. */
int plan_of_peer(const Pb__ConnectResponse *response, const char *exit_node, struct plan *out,
                 struct err *err);

/* What a peer is told: its addresses, every node as a peer with its allowed IPs, resolvers, the
 * control API of every node. Nothing of other peers, no private key. Without `dns_domain` (NULL) no
 * resolvers. NULL when the state has no such peer or memory is short; freed by
 * connect_response__free_unpacked. */
Pb__ConnectResponse *plan_connect_response(const struct state *state, const char *peer_id,
                                           const char *dns_domain);

/* The node that relays between peers: the oldest. NULL when there is none. */
const struct state_node *plan_relay(const struct state *state);

/* plan.c */

void plan_init(struct plan *plan);
void plan_fini(struct plan *plan);

/* The zone of a node's names and reverse networks; NULL when memory is short or the domain is no
 * name. Without `ns` (a name) the zone's own server is not named. */
struct zone *plan_zone(const struct plan *plan, const char *domain, const char *ns, uint32_t serial,
                       const uint8_t seed[16]);

/* plan_diff.c */

/* From one plan to the next. The arrays inside are owned. */
struct plan_delta {
    struct wg_device_config
        wg; /* peers only; what moves between peers moves before peers are removed */
    struct ip_prefix *addresses_removed;
    size_t addresses_removed_count;
    struct ip_prefix *addresses_added;
    size_t addresses_added_count;
    struct ip_prefix *routes_removed;
    size_t routes_removed_count;
    struct ip_prefix *routes_added;
    size_t routes_added_count;
    bool firewall_changed;
    bool names_changed;
    bool dns_changed;
};

/* `from` may be an empty plan (plan_init). A prefix that moves between two peers is never without
 * an owner. 0 or -ENOMEM with an empty delta; plan_delta_fini in any case. */
int plan_diff(const struct plan *from, const struct plan *to, struct plan_delta *out);
void plan_delta_fini(struct plan_delta *delta);
bool plan_delta_is_empty(const struct plan_delta *delta);

#endif
