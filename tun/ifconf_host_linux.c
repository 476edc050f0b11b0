#include "tun/ifconf.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How others reach this host, and what its kernel does for them. */

/* ---- addresses */

static bool is_unicast_global(const struct ifconf_addr *addr)
{
    const uint8_t *b = addr->prefix.addr.bytes;
    if (!addr->global)
        return false;
    if (addr->prefix.addr.family == 4)
        return b[0] != 127 && !(b[0] == 169 && b[1] == 254);
    return (b[0] & 0xe0) == 0x20; /* neither link-local nor unique local: RFC 4291, section 2.4 */
}

/* The first address of this interface (0: of any but the loopback and `skip`). */
static void pick_addr(const struct ifconf_addr *addrs, size_t count, uint8_t family,
                      uint32_t ifindex, uint32_t skip, struct ip_addr *out)
{
    for (size_t i = 0; i < count; i++) {
        const struct ifconf_addr *addr = &addrs[i];
        bool wanted = ifindex != 0 ? addr->ifindex == ifindex : addr->ifindex != skip;
        if (wanted && addr->prefix.addr.family == family && is_unicast_global(addr)) {
            *out = addr->prefix.addr;
            return;
        }
    }
}

/* The default route with the lowest metric that does not lead through `skip`. */
static int find_default(struct ifconf_socket *conf, uint8_t family, uint32_t skip,
                        struct ifconf_route *out)
{
    struct ifconf_route *routes;
    size_t count;
    int rc = ifconf_route_list(conf, family, RT_TABLE_MAIN, 0, &routes, &count);
    if (rc < 0)
        return rc;
    rc = -ENOENT;
    for (size_t i = 0; i < count; i++) {
        bool candidate =
            routes[i].prefix.len == 0 && routes[i].ifindex != 0 && routes[i].ifindex != skip;
        if (candidate && (rc < 0 || routes[i].metric < out->metric)) {
            *out = routes[i];
            rc = 0;
        }
    }
    free(routes);
    return rc;
}

int ifconf_default_get(struct ifconf_socket *conf, uint8_t family, struct ifconf_default *out)
{
    struct ifconf_route route = {0};
    struct ifconf_link link;
    struct ifconf_addr *addrs = NULL;
    size_t count = 0;
    int rc = find_default(conf, family, 0, &route);
    if (rc == 0)
        rc = ifconf_link_get(conf, route.ifindex, &link);
    if (rc == 0)
        rc = ifconf_addr_list(conf, route.ifindex, &addrs, &count);
    if (rc < 0)
        return rc;
    *out = (struct ifconf_default){
        .ifindex = route.ifindex, .gateway = route.gateway, .addr = route.source};
    memcpy(out->name, link.name, sizeof out->name);
    if (out->addr.family == 0)
        pick_addr(addrs, count, family, route.ifindex, 0, &out->addr);
    free(addrs);
    return 0;
}

/* Keeps `*addr` where it is one of those that pick_addr could choose. */
static void keep_or_pick(const struct ifconf_addr *addrs, size_t count, uint8_t family,
                         uint32_t ifindex, uint32_t skip, struct ip_addr *addr)
{
    struct ip_addr picked = {0};
    for (size_t i = 0; i < count; i++)
        if (ip_addr_equal(&addrs[i].prefix.addr, addr)) {
            pick_addr(&addrs[i], 1, family, ifindex, skip, &picked);
            if (picked.family != 0)
                return;
        }
    pick_addr(addrs, count, family, ifindex, skip, &picked);
    *addr = picked;
}

int ifconf_host_addr(struct ifconf_socket *conf, uint8_t family, uint32_t only, uint32_t skip,
                     struct ip_addr *addr)
{
    struct ifconf_route way = {.ifindex = only};
    struct ifconf_addr *addrs;
    size_t count;
    struct ip_addr found = *addr;
    int rc = only != 0 ? 0 : find_default(conf, family, skip, &way);
    if (rc < 0 && rc != -ENOENT)
        return rc;
    if (way.source.family != 0) {
        *addr = way.source;
        return 0;
    }
    rc = ifconf_addr_list(conf, 0, &addrs, &count);
    if (rc < 0)
        return rc;
    keep_or_pick(addrs, count, family, way.ifindex, skip, &found);
    if (found.family == 0 && only == 0) {
        found = *addr;
        keep_or_pick(addrs, count, family, 0, skip, &found);
    }
    free(addrs);
    if (found.family == 0)
        return -EADDRNOTAVAIL;
    *addr = found;
    return 0;
}

/* ---- switches of the kernel */

/* Reads a number from /proc/sys/net; a negative errno when there is none. */
static int read_switch(const char *path)
{
    char text[16] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, text, sizeof text - 1);
    int rc = n < 0 ? -errno : 0;
    close(fd);
    return rc < 0 ? rc : (int)strtol(text, NULL, 10);
}

static int write_switch(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = write(fd, text, strlen(text)) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

static int ipv6_switch(char *out, size_t size, const char *interface, const char *name)
{
    int n = snprintf(out, size, "/proc/sys/net/ipv6/conf/%s/%s", interface, name);
    return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

bool ifconf_ipv6_enabled(const char *name)
{
    char path[96];
    if (name != NULL)
        return ipv6_switch(path, sizeof path, name, "disable_ipv6") == 0 && read_switch(path) == 0;
    return read_switch("/proc/sys/net/ipv6/conf/all/disable_ipv6") == 0 &&
           read_switch("/proc/sys/net/ipv6/conf/default/disable_ipv6") == 0;
}

/* A host that forwards ignores router advertisements where accept_ra is 1; 2 accepts them anyway.
 * Without this a host would lose its own default route. */
static void keep_router_advertisements(void)
{
    struct ifconf_socket *conf;
    struct ifconf_route *routes;
    struct ifconf_link link;
    size_t count;
    char path[96];
    if (ifconf_open(&conf) < 0)
        return;
    if (ifconf_route_list(conf, 6, RT_TABLE_MAIN, RTPROT_RA, &routes, &count) == 0) {
        for (size_t i = 0; i < count; i++)
            if (ifconf_link_get(conf, routes[i].ifindex, &link) == 0 &&
                ipv6_switch(path, sizeof path, link.name, "accept_ra") == 0 &&
                read_switch(path) == 1)
                write_switch(path, "2");
        free(routes);
    }
    ifconf_close(conf);
}

static const char *forwarding_path(uint8_t family)
{
    return family == 4 ? "/proc/sys/net/ipv4/ip_forward" : "/proc/sys/net/ipv6/conf/all/forwarding";
}

int ifconf_forwarding_enable(uint8_t family, bool *was)
{
    int value = read_switch(forwarding_path(family));
    *was = value > 0;
    if (value != 0)
        return value < 0 ? value : 0;
    if (family == 6)
        keep_router_advertisements();
    return write_switch(forwarding_path(family), "1");
}

bool ifconf_forwarding_get(uint8_t family)
{
    return read_switch(forwarding_path(family)) > 0;
}

int ifconf_forwarding_disable(uint8_t family)
{
    return write_switch(forwarding_path(family), "0");
}

bool ifconf_filters_strictly(const char *name)
{
    char path[96];
    int n = snprintf(path, sizeof path, "/proc/sys/net/ipv4/conf/%s/rp_filter", name);
    if (n < 0 || (size_t)n >= sizeof path)
        return false;
    /* the higher of the two counts, and 2 is the looser */
    int all = read_switch("/proc/sys/net/ipv4/conf/all/rp_filter");
    int own = read_switch(path);
    return (own > all ? own : all) == 1;
}
