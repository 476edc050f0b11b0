/* The rules, in the order in which the kernel asks them, all of them for packets without our mark:
 *
 *   5200  our table, without its default route
 *   5201  the main table, without its default route     with an exit node
 *   5202  our table's default route                     with an exit node
 *   5203  refused                                       with an exit node
 *
 * The last one is why nothing leaks past an exit node: a family that it does not publish, and all
 * of it while the interface is away, ends there and not at the main table's default route. */
#include "control/host/interface.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RULE_PRIORITY = 5200, /* in front of the main table's rule */
    EXIT_RULES = 3,
    MTU_OVERHEAD = 80, /* of an IPv6 header, a UDP header and WireGuard's data message */
    MTU_MIN = 1280,    /* what IPv6 needs */
    MTU_MAX = 8920,    /* jumbo frames; more gains nothing */
    MTU_DEFAULT = 1420,
};

int interface_init(struct interface *interface, const char *name, uint32_t mark)
{
    *interface = (struct interface){.mark = mark};
    strncpy(interface->name, name, sizeof interface->name - 1);
    return ifconf_open(&interface->conf);
}

void interface_fini(struct interface *interface)
{
    ifconf_close(interface->conf);
    interface->conf = NULL;
}

/* ---- what earlier runs left ---- */

static void clean_rules(struct interface *interface, uint8_t family)
{
    struct ifconf_rule *rules = NULL;
    size_t count = 0;
    if (ifconf_rule_list(interface->conf, family, IFCONF_PROTOCOL, &rules, &count) < 0)
        return;
    for (size_t i = 0; i < count; i++)
        if (rules[i].fwmark == interface->mark && !rules[i].foreign)
            (void)ifconf_rule_del(interface->conf, &rules[i]);
    free(rules);
}

static void clean_routes(struct interface *interface, uint8_t family)
{
    struct ifconf_route *routes = NULL;
    size_t count = 0;
    if (ifconf_route_list(interface->conf, family, interface->mark, IFCONF_PROTOCOL, &routes,
                          &count) < 0)
        return;
    for (size_t i = 0; i < count; i++)
        (void)ifconf_route_del(interface->conf, &routes[i]);
    free(routes);
}

void interface_clean(struct interface *interface)
{
    for (uint8_t family = 4; family <= 6; family += 2) {
        clean_rules(interface, family);
        clean_routes(interface, family);
    }
    interface->exit = false;
}

/* ---- addresses and routes ---- */

static void warn(const char *what, const struct ip_prefix *prefix, int code)
{
    char text[IP_PREFIX_TEXT];
    log_warn(what, F_STR("network", ip_prefix_format(prefix, text)),
             F_STR("error", strerror(-code)));
}

static bool is_served(const struct interface *interface, uint8_t family)
{
    return interface->ifindex != 0 && (family == 4 || interface->ipv6);
}

static void add_addresses(struct interface *interface, const struct ip_prefix *addrs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_served(interface, addrs[i].addr.family))
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
        if (is_served(interface, addrs[i].addr.family))
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
static bool is_routed(const struct interface *interface, const struct plan *plan, uint8_t family)
{
    return is_served(interface, family) && source_of(plan, family).family != 0;
}

static void set_routes(struct interface *interface, const struct plan *plan,
                       const struct ip_prefix *prefixes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t family = prefixes[i].addr.family;
        struct ifconf_route route = {.prefix = prefixes[i],
                                     .table = interface->mark,
                                     .ifindex = interface->ifindex,
                                     .source = source_of(plan, family)};
        int code = 0;
        if (is_routed(interface, plan, family))
            code = ifconf_route_set(interface->conf, &route);
        if (code < 0)
            warn("a route through the tunnel cannot be set", &prefixes[i], code);
    }
}

static void del_routes(struct interface *interface, const struct ip_prefix *prefixes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ifconf_route route = {.prefix = prefixes[i], .table = interface->mark};
        if (is_served(interface, prefixes[i].addr.family))
            (void)ifconf_route_del(interface->conf, &route);
    }
}

/* ---- rules ---- */

/* A kernel without IPv6 is told apart from one that refuses. */
static int add_rule(struct interface *interface, const struct ifconf_rule *rule)
{
    int code = ifconf_rule_add(interface->conf, rule);
    return code == -EAFNOSUPPORT && rule->family == 6 ? 0 : code;
}

static int add_table_rules(struct interface *interface, struct err *err)
{
    for (uint8_t family = 4; family <= 6; family += 2) {
        struct ifconf_rule rule =
            ifconf_rule_unmarked_specific(family, interface->mark, interface->mark, RULE_PRIORITY);
        int code = family == 4 || interface->ipv6 ? add_rule(interface, &rule) : 0;
        if (code < 0)
            return err_set_errno(err, code, "the routing rule of %s cannot be set",
                                 interface->name);
    }
    return 0;
}

static struct ifconf_rule exit_rule(const struct interface *interface, uint8_t family, int number)
{
    uint32_t mark = interface->mark;
    uint32_t priority = RULE_PRIORITY + 1 + (uint32_t)number;
    if (number == 0)
        return ifconf_rule_unmarked_specific(family, mark, IFCONF_TABLE_MAIN, priority);
    struct ifconf_rule rule = ifconf_rule_unmarked(family, mark, number == 1 ? mark : 0, priority);
    rule.unreachable = number == 2;
    return rule;
}

/* Also where the tunnel has no IPv6: other interfaces may have it. */
static void add_exit_rules(struct interface *interface)
{
    for (uint8_t family = 4; family <= 6; family += 2)
        for (int number = 0; number < EXIT_RULES; number++) {
            struct ifconf_rule rule = exit_rule(interface, family, number);
            int code = add_rule(interface, &rule);
            if (code < 0)
                log_error("a routing rule of the exit node cannot be set: traffic may leave this "
                          "host directly",
                          F_INT("ip_version", family), F_STR("error", strerror(-code)));
        }
}

/* The refusal first, so that nothing is refused in between. */
static void del_exit_rules(struct interface *interface)
{
    for (uint8_t family = 4; family <= 6; family += 2)
        for (int number = EXIT_RULES; number-- > 0;) {
            struct ifconf_rule rule = exit_rule(interface, family, number);
            (void)ifconf_rule_del(interface->conf, &rule);
        }
}

static void set_exit(struct interface *interface, bool exit)
{
    if (exit == interface->exit)
        return;
    interface->exit = exit;
    if (!exit) {
        del_exit_rules(interface);
        return;
    }
    add_exit_rules(interface);
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
static uint32_t wanted_mtu(const struct interface *interface, const struct plan *plan)
{
    uint32_t lowest = UINT32_MAX;
    struct ifconf_default route;
    struct ifconf_link link;
    for (size_t i = 0; i < plan->peer_count; i++) {
        struct ip_addr dest;
        uint32_t mtu;
        endpoint_addr(&plan->peers[i].endpoint, &dest);
        if (plan->peers[i].has_endpoint &&
            ifconf_path_mtu(interface->conf, &dest, interface->mark, &mtu) == 0 && mtu < lowest)
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

static void follow_mtu(struct interface *interface, const struct plan *plan)
{
    if (interface->ifindex == 0)
        return;
    uint32_t mtu = wanted_mtu(interface, plan);
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

/* ---- healing ---- */

/* How many of the plan's routes our table lacks. */
static size_t count_missing(const struct interface *interface, const struct plan *plan)
{
    size_t wanted = 0;
    size_t present = 0;
    for (size_t i = 0; i < plan->route_count; i++)
        wanted += is_routed(interface, plan, plan->routes[i].addr.family);
    for (uint8_t family = 4; family <= 6; family += 2) {
        struct ifconf_route *routes = NULL;
        size_t count = 0;
        if (ifconf_route_list(interface->conf, family, interface->mark, IFCONF_PROTOCOL, &routes,
                              &count) < 0)
            continue;
        present += count;
        free(routes);
    }
    return present < wanted ? wanted - present : 0;
}

/* What was missing already is not tried again: setting routes is itself a change of routes. */
static void heal_routes(struct interface *interface, const struct plan *plan)
{
    size_t missing = count_missing(interface, plan);
    if (missing > interface->missing) {
        log_info("routes of the tunnel were removed and are set again", F_INT("count", missing));
        add_addresses(interface, plan->addresses, plan->address_count);
        set_routes(interface, plan, plan->routes, plan->route_count);
        missing = count_missing(interface, plan);
    }
    interface->missing = missing;
}

void interface_heal(struct interface *interface, const struct plan *plan)
{
    struct ifconf_link link;
    struct err err;
    if (interface->exit)
        add_exit_rules(interface);
    if (add_table_rules(interface, &err) < 0)
        log_warn("the tunnel's routes are not used", F_STR("error", err.text));
    follow_mtu(interface, plan);
    if (ifconf_link_get(interface->conf, interface->ifindex, &link) == 0 && link.up)
        heal_routes(interface, plan);
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
    follow_mtu(interface, plan);
    int code = ifconf_link_set_up(interface->conf, ifindex, true);
    if (code < 0)
        return err_set_errno(err, code, "interface %s cannot be set up", interface->name);
    code = add_table_rules(interface, err);
    if (code < 0)
        return code;
    add_addresses(interface, plan->addresses, plan->address_count);
    set_routes(interface, plan, plan->routes, plan->route_count);
    return 0;
}

void interface_retract(struct interface *interface, const struct plan *to,
                       const struct plan_delta *delta)
{
    if (to->exit != PLAN_EXIT_ON)
        set_exit(interface, false);
    del_routes(interface, delta->routes_removed, delta->routes_removed_count);
    del_addresses(interface, delta->addresses_removed, delta->addresses_removed_count);
}

void interface_extend(struct interface *interface, const struct plan *to,
                      const struct plan_delta *delta)
{
    add_addresses(interface, delta->addresses_added, delta->addresses_added_count);
    follow_mtu(interface, to);
    /* routes have the address as their source, and went with the former one */
    if (delta->addresses_added_count > 0)
        set_routes(interface, to, to->routes, to->route_count);
    else
        set_routes(interface, to, delta->routes_added, delta->routes_added_count);
    if (to->exit == PLAN_EXIT_ON)
        set_exit(interface, true);
    if (delta->routes_added_count > 0)
        warn_of_strict_filter(interface, to);
}
