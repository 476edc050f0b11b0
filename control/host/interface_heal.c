/* What stands in the kernel is compared with what the plan asks for, part by part, whenever routes,
 * rules, addresses or links of the host have changed. Each part has a repair of its own: at once the
 * first time, then after pauses that grow. Setting something is itself a change, so that nothing is
 * set that stands. */
#include "base/log.h"
#include "control/host/interface_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const contested[INTERFACE_PARTS] = {
    "another program keeps renaming it",          "another program keeps changing its MTU",
    "another program keeps removing its address", "another program keeps removing its rules",
    "another program keeps removing its routes",
};

static bool may_repair(struct interface *interface, enum interface_part part, uint64_t now_ns,
                       uint64_t *wait_ms)
{
    struct repair *repair = &interface->repairs[part];
    if (!repair_due(repair, now_ns, wait_ms))
        return false;
    if (repair_news(repair))
        log_warn("what the tunnel needs is undone again and again: it is put back after ever "
                 "longer pauses",
                 F_STR("interface", interface->name), F_STR("reason", contested[part]));
    return true;
}

const char *interface_problem(const struct interface *interface)
{
    if (interface->is_renamed)
        return "another program renamed it, and its name is taken";
    for (size_t i = 0; i < INTERFACE_PARTS; i++)
        if (interface->repairs[i].is_contested)
            return contested[i];
    return NULL;
}

/* ---- the link ---- */

/* Older kernels rename only an interface that is down, which costs its routes. */
static int rename_back(struct interface *interface)
{
    int code = ifconf_link_set_name(interface->conf, interface->ifindex, interface->name);
    if (code != -EBUSY)
        return code;
    (void)ifconf_link_set_up(interface->conf, interface->ifindex, false);
    code = ifconf_link_set_name(interface->conf, interface->ifindex, interface->name);
    (void)ifconf_link_set_up(interface->conf, interface->ifindex, true);
    return code;
}

static void heal_name(struct interface *interface, const struct ifconf_link *link, uint64_t now_ns,
                      uint64_t *wait_ms)
{
    if (strcmp(link->name, interface->name) == 0) {
        interface->is_renamed = false;
        repair_rest(&interface->repairs[INTERFACE_NAME], now_ns);
        return;
    }
    if (!may_repair(interface, INTERFACE_NAME, now_ns, wait_ms))
        return;
    int code = rename_back(interface);
    if (code == 0)
        log_info("another program renamed the tunnel's interface: it has its name back",
                 F_STR("interface", interface->name), F_STR("name", link->name));
    else if (!interface->is_renamed)
        log_error(
            "another program renamed the tunnel's interface, and it cannot have its name back",
            F_STR("interface", interface->name), F_STR("name", link->name),
            F_STR("error", strerror(-code)));
    interface->is_renamed = code < 0;
}

static void heal_mtu(struct interface *interface, const struct plan *plan,
                     const struct ifconf_link *link, uint64_t now_ns, uint64_t *wait_ms)
{
    bool undone = interface->mtu != 0 && link->mtu != interface->mtu;
    if (undone && link->mtu != interface_wanted_mtu(interface, plan)) {
        if (!may_repair(interface, INTERFACE_MTU, now_ns, wait_ms))
            return;
        log_info("another program changed the tunnel's MTU: setting it again",
                 F_INT("mtu", link->mtu));
    }
    interface->mtu = link->mtu;
    interface_follow_mtu(interface, plan);
}

/* IPv6 goes from an interface by its switch, or with an MTU that is too small for it. */
static void heal_ipv6(struct interface *interface)
{
    bool enabled = ifconf_ipv6_enabled(interface->name);
    if (enabled == interface->ipv6)
        return;
    interface->ipv6 = enabled;
    if (enabled)
        log_info("IPv6 is back on the tunnel's interface", F_STR("interface", interface->name));
    else
        log_warn("IPv6 was switched off on the tunnel's interface: the network is served over IPv4 "
                 "only, until it is switched on again",
                 F_STR("interface", interface->name));
}

/* ---- addresses ---- */

static bool has_address(const struct ifconf_addr *addrs, size_t count,
                        const struct ip_prefix *wanted)
{
    for (size_t i = 0; i < count; i++)
        if (ip_addr_equal(&addrs[i].prefix.addr, &wanted->addr))
            return true;
    return false;
}

static void heal_addresses(struct interface *interface, const struct plan *plan, uint64_t now_ns,
                           uint64_t *wait_ms)
{
    struct ifconf_addr *addrs = NULL;
    size_t count = 0;
    size_t missing = 0;
    if (ifconf_addr_list(interface->conf, interface->ifindex, &addrs, &count) < 0)
        return;
    for (size_t i = 0; i < plan->address_count; i++)
        missing += interface_is_served(interface, plan->addresses[i].addr.family) &&
                   !has_address(addrs, count, &plan->addresses[i]);
    free(addrs);
    if (missing == 0) {
        repair_rest(&interface->repairs[INTERFACE_ADDRESSES], now_ns);
    } else if (may_repair(interface, INTERFACE_ADDRESSES, now_ns, wait_ms)) {
        log_info("addresses of the tunnel were removed: setting them again",
                 F_INT("count", missing));
        interface_add_addresses(interface, plan->addresses, plan->address_count);
    }
}

/* ---- rules and routes ---- */

static void heal_rules(struct interface *interface, uint64_t now_ns, uint64_t *wait_ms)
{
    struct err err;
    if (rules_missing(&interface->rules, interface->ipv6) == 0)
        repair_rest(&interface->repairs[INTERFACE_RULES], now_ns);
    else if (may_repair(interface, INTERFACE_RULES, now_ns, wait_ms) &&
             interface_set_rules(interface, &err) < 0)
        log_warn("the tunnel's routes are not used", F_STR("error", err.text));
}

/* How many of the plan's routes our table lacks. */
static size_t count_missing(const struct interface *interface, const struct plan *plan)
{
    size_t wanted = interface->own.count;
    size_t present = 0;
    for (size_t i = 0; i < plan->route_count; i++)
        wanted += interface_is_routed(interface, plan, plan->routes[i].addr.family) &&
                  !own_networks_has(&interface->own, &plan->routes[i]);
    for (uint8_t family = 4; family <= 6; family += 2) {
        struct ifconf_route *routes = NULL;
        size_t count = 0;
        if (ifconf_route_list(interface->conf, family, interface->slot.table, IFCONF_PROTOCOL,
                              &routes, &count) < 0)
            continue;
        present += count;
        free(routes);
    }
    return present < wanted ? wanted - present : 0;
}

/* What the kernel refused when it was set last is not tried again. */
static void heal_routes(struct interface *interface, const struct plan *plan, uint64_t now_ns,
                        uint64_t *wait_ms)
{
    size_t missing = count_missing(interface, plan);
    if (missing <= interface->missing) {
        interface->missing = missing;
        repair_rest(&interface->repairs[INTERFACE_ROUTES], now_ns);
        return;
    }
    if (!may_repair(interface, INTERFACE_ROUTES, now_ns, wait_ms))
        return;
    log_info("routes of the tunnel were removed: setting them again", F_INT("count", missing));
    interface_set_routes(interface, plan, plan->routes, plan->route_count);
    for (size_t i = 0; i < interface->own.count; i++)
        interface_set_throw(interface, &interface->own.items[i].prefix);
    interface->missing = count_missing(interface, plan);
}

uint64_t interface_heal(struct interface *interface, const struct plan *plan, uint64_t now_ns)
{
    struct ifconf_link link;
    uint64_t wait_ms = 0;
    heal_rules(interface, now_ns, &wait_ms);
    interface_follow_own_networks(interface, plan);
    if (ifconf_link_get(interface->conf, interface->ifindex, &link) == 0) {
        heal_name(interface, &link, now_ns, &wait_ms);
        heal_mtu(interface, plan, &link, now_ns, &wait_ms);
        heal_ipv6(interface);
        heal_addresses(interface, plan, now_ns, &wait_ms);
        if (link.up)
            heal_routes(interface, plan, now_ns, &wait_ms);
    }
    interface_lead(interface, plan);
    return wait_ms;
}
