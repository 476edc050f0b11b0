#include "control/host/interface.h"

#include "base/log.h"
#include "control/host/interface_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MTU_OVERHEAD = 80, /* of an IPv6 header, a UDP header and WireGuard's data message */
    MTU_MIN = 1280,    /* what IPv6 needs */
    MTU_MAX = 8920,    /* jumbo frames; more gains nothing */
    MTU_DEFAULT = 1420,
};

int interface_init(struct interface *interface, const char *name)
{
    *interface = (struct interface){.slot.fd = -1};
    strncpy(interface->name, name, sizeof interface->name - 1);
    int code = slot_take(&interface->slot, name);
    if (code == 0)
        code = ifconf_open(&interface->conf);
    if (code == 0)
        rules_init(&interface->rules, interface->conf, interface->slot.mark, interface->slot.table);
    return code;
}

void interface_fini(struct interface *interface)
{
    slot_release(&interface->slot);
    own_networks_fini(&interface->own);
    ifconf_close(interface->conf);
    interface->conf = NULL;
}

/* ---- what earlier runs left ---- */

static void clean_routes(struct interface *interface, uint8_t family)
{
    struct ifconf_route *routes = NULL;
    size_t count = 0;
    if (ifconf_route_list(interface->conf, family, interface->slot.table, IFCONF_PROTOCOL, &routes,
                          &count) < 0)
        return;
    for (size_t i = 0; i < count; i++)
        (void)ifconf_route_del(interface->conf, &routes[i]);
    free(routes);
}

void interface_clean(struct interface *interface)
{
    rules_clean(&interface->rules);
    clean_routes(interface, 4);
    clean_routes(interface, 6);
}

/* ---- addresses and routes ---- */

static void warn(const char *what, const struct ip_prefix *prefix, int code)
{
    char text[IP_PREFIX_TEXT];
    log_warn(what, F_STR("network", ip_prefix_format(prefix, text)),
             F_STR("error", strerror(-code)));
}

bool interface_is_served(const struct interface *interface, uint8_t family)
{
    return interface->ifindex != 0 && (family == 4 || interface->ipv6);
}

void interface_add_addresses(struct interface *interface, const struct ip_prefix *addrs,
                             size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!interface_is_served(interface, addrs[i].addr.family))
            continue;
        int code = ifconf_addr_add(interface->conf, interface->ifindex, &addrs[i]);
        if (code == -EACCES && addrs[i].addr.family == 6)
            interface->ipv6 = false;
        else if (code < 0)
            warn("an address of the tunnel cannot be set", &addrs[i], code);
    }
}

static void del_addresses(struct interface *interface, const struct ip_prefix *addrs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (interface_is_served(interface, addrs[i].addr.family))
            (void)ifconf_addr_del(interface->conf, interface->ifindex, &addrs[i]);
}

/* The plan's address of this family; family 0: none. */
static struct ip_addr source_of(const struct plan *plan, uint8_t family)
{
    for (size_t i = 0; i < plan->address_count; i++)
        if (plan->addresses[i].addr.family == family)
            return plan->addresses[i].addr;
    return (struct ip_addr){0};
}

/* A family in which we have no address gets no routes: what would go there could not come back. */
bool interface_is_routed(const struct interface *interface, const struct plan *plan, uint8_t family)
{
    return interface_is_served(interface, family) && source_of(plan, family).family != 0;
}

void interface_set_routes(struct interface *interface, const struct plan *plan,
                          const struct ip_prefix *prefixes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t family = prefixes[i].addr.family;
        struct ifconf_route route = {.prefix = prefixes[i],
                                     .table = interface->slot.table,
                                     .ifindex = interface->ifindex,
                                     .source = source_of(plan, family)};
        int code = 0;
        if (interface_is_routed(interface, plan, family) &&
            !own_networks_has(&interface->own, &prefixes[i]))
            code = ifconf_route_set(interface->conf, &route);
        if (code < 0)
            warn("cannot set a route through the tunnel", &prefixes[i], code);
    }
}

static void del_route(struct interface *interface, const struct ip_prefix *prefix)
{
    struct ifconf_route route = {.prefix = *prefix, .table = interface->slot.table};
    (void)ifconf_route_del(interface->conf, &route);
}

static void del_routes(struct interface *interface, const struct ip_prefix *prefixes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (interface_is_served(interface, prefixes[i].addr.family) &&
            !own_networks_has(&interface->own, &prefixes[i]))
            del_route(interface, &prefixes[i]);
}

/* ---- this host's own networks ---- */

/* Ends the lookup in our table, so that the main table has the word. */
void interface_set_throw(struct interface *interface, const struct ip_prefix *prefix)
{
    struct ifconf_route route = {
        .prefix = *prefix, .table = interface->slot.table, .is_throw = true};
    int code = ifconf_route_set(interface->conf, &route);
    if (code < 0)
        warn("cannot keep a network of this host out of the tunnel", prefix, code);
}

static void log_own(const struct own_network *own)
{
    char network[IP_PREFIX_TEXT];
    char within[IP_PREFIX_TEXT];
    log_warn("this host is in a network that overlaps one of the tunnel: its own network stays "
             "local",
             F_STR("own", ip_prefix_format(&own->prefix, network)),
             F_STR("network", ip_prefix_format(&own->within, within)));
}

static bool has_route(const struct plan *plan, const struct ip_prefix *prefix)
{
    for (size_t i = 0; i < plan->route_count; i++)
        if (ip_prefix_equal(&plan->routes[i], prefix))
            return true;
    return false;
}

/* Changes only what differs: setting a route is itself a change of routes. */
void interface_follow_own_networks(struct interface *interface, const struct plan *plan)
{
    struct own_networks next;
    if (interface->ifindex == 0 ||
        own_networks_find(&next, interface->conf, interface->ifindex, plan) < 0)
        return;
    struct own_networks former = interface->own;
    interface->own = next;
    for (size_t i = 0; i < former.count; i++) {
        const struct ip_prefix *prefix = &former.items[i].prefix;
        if (own_networks_has(&next, prefix))
            continue;
        del_route(interface, prefix);
        if (has_route(plan, prefix))
            interface_set_routes(interface, plan, prefix, 1);
    }
    for (size_t i = 0; i < next.count; i++) {
        if (own_networks_has(&former, &next.items[i].prefix))
            continue;
        del_route(interface, &next.items[i].prefix);
        interface_set_throw(interface, &next.items[i].prefix);
        log_own(&next.items[i]);
    }
    own_networks_fini(&former);
}

/* ---- rules ---- */

int interface_set_rules(struct interface *interface, struct err *err)
{
    int code = rules_set(&interface->rules, interface->ipv6);
    if (code < 0)
        return err_set_errno(err, code, "cannot set the routing rule of %s", interface->name);
    return 0;
}

/* An address of each family that our table routes to the interface: there the kernel is to send
 * what is for it. */
void interface_lead(struct interface *interface, const struct plan *plan)
{
    bool asked[2] = {false, false};
    for (size_t i = 0; i < plan->route_count; i++) {
        const struct ip_prefix *route = &plan->routes[i];
        bool *done = &asked[route->addr.family == 6];
        struct ip_addr dest = route->addr;
        if (*done || route->len == 0 || !interface_is_routed(interface, plan, dest.family))
            continue;
        if (route->len < ip_addr_bits(&dest))
            (void)ip_addr_add(&dest, 1);
        if (own_networks_contain(&interface->own, &dest))
            continue;
        *done = true;
        rules_lead(&interface->rules, &dest, interface->ifindex);
    }
}

/* ---- strict filters ---- */

static bool covers_an_endpoint(const struct plan *plan)
{
    struct ip_addr dest;
    for (size_t i = 0; i < plan->peer_count; i++) {
        if (!plan->peers[i].has_endpoint)
            continue;
        endpoint_addr(&plan->peers[i].endpoint, &dest);
        for (size_t j = 0; j < plan->route_count; j++)
            if (ip_prefix_contains(&plan->routes[j], &dest))
                return true;
    }
    return false;
}

/* What an endpoint sends comes in where packets to it would not go out, which a strict filter takes
 * for a forgery. */
static void warn_of_strict_filter(struct interface *interface, const struct plan *plan)
{
    struct ifconf_default way;
    char message[160];
    if (!covers_an_endpoint(plan) || ifconf_default_get(interface->conf, 4, &way) < 0 ||
        !ifconf_filters_strictly(way.name) || !log_once(&interface->strict_filter))
        return;
    snprintf(message, sizeof message,
             "the kernel drops the tunnel's own packets (rp_filter): run sysctl -w "
             "net.ipv4.conf.%s.rp_filter=2",
             way.name);
    log_warn(message);
}

/* ---- MTU ---- */

/* The way to an endpoint may be narrower than the interface it starts on, so the kernel is asked.
 */
uint32_t interface_wanted_mtu(const struct interface *interface, const struct plan *plan)
{
    uint32_t lowest = UINT32_MAX;
    struct ifconf_default route;
    struct ifconf_link link;
    for (size_t i = 0; i < plan->peer_count; i++) {
        struct ip_addr dest;
        uint32_t mtu;
        endpoint_addr(&plan->peers[i].endpoint, &dest);
        if (plan->peers[i].has_endpoint &&
            ifconf_path_mtu(interface->conf, &dest, interface->slot.mark, &mtu) == 0 &&
            mtu < lowest)
            lowest = mtu;
    }
    if (lowest == UINT32_MAX && ifconf_default_get(interface->conf, 4, &route) == 0 &&
        ifconf_link_get(interface->conf, route.ifindex, &link) == 0)
        lowest = link.mtu;
    if (lowest == UINT32_MAX)
        return MTU_DEFAULT;
    if (lowest < MTU_MIN + MTU_OVERHEAD)
        return MTU_MIN;
    return lowest - MTU_OVERHEAD > MTU_MAX ? MTU_MAX : lowest - MTU_OVERHEAD;
}

void interface_follow_mtu(struct interface *interface, const struct plan *plan)
{
    if (interface->ifindex == 0)
        return;
    uint32_t mtu = interface_wanted_mtu(interface, plan);
    if (mtu == interface->mtu)
        return;
    int code = ifconf_link_set_mtu(interface->conf, interface->ifindex, mtu);
    if (code == 0) {
        log_debug("set the tunnel's MTU", F_INT("mtu", mtu));
        interface->mtu = mtu;
    } else {
        log_warn("the tunnel's MTU cannot be set", F_INT("mtu", mtu),
                 F_STR("error", strerror(-code)));
    }
}

/* ---- all together ---- */

int interface_come_up(struct interface *interface, uint32_t ifindex, const struct plan *plan,
                      struct err *err)
{
    interface->ifindex = ifindex;
    interface->mtu = 0;
    interface->ipv6 = ifconf_ipv6_enabled(interface->name);
    if (!interface->ipv6 && log_once(&interface->no_ipv6))
        log_warn("IPv6 is switched off on this host: the network is served over IPv4 only");
    interface_follow_mtu(interface, plan);
    int code = ifconf_link_set_up(interface->conf, ifindex, true);
    if (code < 0)
        return err_set_errno(err, code, "interface %s cannot be set up", interface->name);
    code = interface_set_rules(interface, err);
    if (code < 0)
        return code;
    interface_add_addresses(interface, plan->addresses, plan->address_count);
    own_networks_fini(&interface->own); /* what kept them out went with the interface, or is kept */
    interface_follow_own_networks(interface, plan);
    interface_set_routes(interface, plan, plan->routes, plan->route_count);
    interface_lead(interface, plan);
    return 0;
}

void interface_retract(struct interface *interface, const struct plan *to,
                       const struct plan_delta *delta)
{
    if (to->exit != PLAN_EXIT_ON)
        rules_set_exit(&interface->rules, false);
    del_routes(interface, delta->routes_removed, delta->routes_removed_count);
    del_addresses(interface, delta->addresses_removed, delta->addresses_removed_count);
}

void interface_extend(struct interface *interface, const struct plan *to,
                      const struct plan_delta *delta)
{
    interface_add_addresses(interface, delta->addresses_added, delta->addresses_added_count);
    interface_follow_mtu(interface, to);
    interface_follow_own_networks(interface, to);
    /* routes have the address as their source, and went with the former one */
    if (delta->addresses_added_count > 0)
        interface_set_routes(interface, to, to->routes, to->route_count);
    else
        interface_set_routes(interface, to, delta->routes_added, delta->routes_added_count);
    if (to->exit == PLAN_EXIT_ON)
        rules_set_exit(&interface->rules, true);
    if (delta->routes_added_count > 0) {
        warn_of_strict_filter(interface, to);
        interface_lead(interface, to);
    }
}
