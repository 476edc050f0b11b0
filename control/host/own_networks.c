#include "control/host/own_networks.h"

#include "control/state/plan.h"
#include "tun/ifconf.h"

#include <errno.h>
#include <stdlib.h>

/* Origins of the routes that an address of an interface brings (rtnetlink.h): the kernel, and a
 * router's advertisement. */
enum { ORIGIN_KERNEL = 2, ORIGIN_ADVERTISEMENT = 9 };

/* The narrowest route of the plan around the prefix, default routes left out; NULL: none. */
static const struct ip_prefix *route_around(const struct plan *plan, const struct ip_prefix *prefix)
{
    const struct ip_prefix *found = NULL;
    for (size_t i = 0; i < plan->route_count; i++) {
        const struct ip_prefix *route = &plan->routes[i];
        bool around =
            route->len > 0 && route->len <= prefix->len && ip_prefix_contains(route, &prefix->addr);
        if (around && (found == NULL || route->len > found->len))
            found = route;
    }
    return found;
}

static int add(struct own_networks *own, const struct ip_prefix *prefix,
               const struct ip_prefix *within)
{
    if (own_networks_has(own, prefix))
        return 0;
    struct own_network *items = realloc(own->items, (own->count + 1) * sizeof *items);
    if (items == NULL)
        return -ENOMEM;
    own->items = items;
    items[own->count++] = (struct own_network){*prefix, *within};
    return 0;
}

static bool is_connected(const struct ifconf_route *route, uint32_t ifindex)
{
    return (route->protocol == ORIGIN_KERNEL || route->protocol == ORIGIN_ADVERTISEMENT) &&
           route->gateway.family == 0 && route->ifindex != 0 && route->ifindex != ifindex &&
           !route->is_throw;
}

static int find_family(struct own_networks *out, struct ifconf_socket *conf, uint8_t family,
                       uint32_t ifindex, const struct plan *plan)
{
    struct ifconf_route *routes = NULL;
    size_t count = 0;
    int code = ifconf_route_list(conf, family, IFCONF_TABLE_MAIN, 0, &routes, &count);
    for (size_t i = 0; i < count && code == 0; i++) {
        const struct ip_prefix *within = NULL;
        if (is_connected(&routes[i], ifindex))
            within = route_around(plan, &routes[i].prefix);
        if (within != NULL)
            code = add(out, &routes[i].prefix, within);
    }
    free(routes);
    return code;
}

int own_networks_find(struct own_networks *out, struct ifconf_socket *conf, uint32_t ifindex,
                      const struct plan *plan)
{
    *out = (struct own_networks){NULL, 0};
    int code = find_family(out, conf, 4, ifindex, plan);
    if (code == 0)
        code = find_family(out, conf, 6, ifindex, plan);
    if (code < 0)
        own_networks_fini(out);
    return code;
}

void own_networks_fini(struct own_networks *own)
{
    free(own->items);
    *own = (struct own_networks){NULL, 0};
}

bool own_networks_has(const struct own_networks *own, const struct ip_prefix *prefix)
{
    for (size_t i = 0; i < own->count; i++)
        if (ip_prefix_equal(&own->items[i].prefix, prefix))
            return true;
    return false;
}

bool own_networks_contain(const struct own_networks *own, const struct ip_addr *addr)
{
    for (size_t i = 0; i < own->count; i++)
        if (ip_prefix_contains(&own->items[i].prefix, addr))
            return true;
    return false;
}
