#ifndef TUN_IFCONF_H
#define TUN_IFCONF_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Interfaces, addresses, routes and rules of this network namespace. Every function waits for the
 * kernel's answer and returns 0 or a negative errno. All may be repeated: "add" and "set" of what
 * exists, and "del" of what does not, return 0. -EPERM: no CAP_NET_ADMIN; -ENODEV: no such
 * interface. Lists are freed with free(). */

struct ifconf_socket;

/* One netlink socket. Not for two threads at once. */
int ifconf_open(struct ifconf_socket **out);
void ifconf_close(struct ifconf_socket *conf);

/* ---- links */

enum { IFCONF_NAME_LEN = 16 }; /* an interface name with its NUL */

struct ifconf_link {
    uint32_t ifindex;
    char name[IFCONF_NAME_LEN];
    uint32_t mtu;
    bool up; /* administratively */
    bool loopback;
};

int ifconf_link_get(struct ifconf_socket *conf, uint32_t ifindex, struct ifconf_link *out);
int ifconf_link_find(struct ifconf_socket *conf, const char *name, struct ifconf_link *out);
int ifconf_link_set_up(struct ifconf_socket *conf, uint32_t ifindex, bool up);
int ifconf_link_set_name(struct ifconf_socket *conf, uint32_t ifindex, const char *name);
int ifconf_link_set_mtu(struct ifconf_socket *conf, uint32_t ifindex, uint32_t mtu);

/* Removes the interface from the kernel. */
int ifconf_link_del(struct ifconf_socket *conf, uint32_t ifindex);

/* ---- addresses */

struct ifconf_addr {
    uint32_t ifindex;
    struct ip_prefix prefix; /* the address, unmasked, and the length of its network */
    bool global;             /* scope global, not deprecated or tentative */
};

/* Adds the address alone. Routes, also that of its own network, are the caller's to set. IPv6
 * addresses are added without duplicate address detection, so that they work at once. -EACCES: IPv6
 * is switched off on the interface. */
int ifconf_addr_add(struct ifconf_socket *conf, uint32_t ifindex, const struct ip_prefix *addr);
int ifconf_addr_del(struct ifconf_socket *conf, uint32_t ifindex, const struct ip_prefix *addr);

/* Lists those of one interface, or of all with ifindex 0. */
int ifconf_addr_list(struct ifconf_socket *conf, uint32_t ifindex, struct ifconf_addr **out,
                     size_t *count);

/* ---- routes */

enum {
    IFCONF_TABLE_MAIN = 254,
    IFCONF_PROTOCOL = 72, /* identifies our routes and rules */
};

struct ifconf_route {
    struct ip_prefix prefix; /* masked by the callee */
    uint32_t table;          /* 0: main */
    uint32_t ifindex;
    struct ip_addr gateway; /* family 0: none, directly on the interface */
    struct ip_addr source;  /* preferred source; family 0: none */
    uint32_t metric;        /* 0: the kernel's own choice, which for IPv6 is 1024 */
    uint8_t protocol;       /* origin; 0 when setting: IFCONF_PROTOCOL */
    bool is_throw;          /* ends the lookup in this table: the next rule decides */
};

/* Adds the route or replaces the one of the same prefix, table and metric. */
int ifconf_route_set(struct ifconf_socket *conf, const struct ifconf_route *route);

/* Removes by prefix, table, and interface and metric where they are not 0. Leaves a route of
 * another protocol alone. */
int ifconf_route_del(struct ifconf_socket *conf, const struct ifconf_route *route);

/* Lists the unicast and throw routes of one family (4, 6) and table; of one protocol, or of all with 0. A
 * route with several next hops shows the first. */
int ifconf_route_list(struct ifconf_socket *conf, uint8_t family, uint32_t table, uint8_t protocol,
                      struct ifconf_route **out, size_t *count);

/* ---- rules */

struct ifconf_rule {
    uint8_t family;    /* 4 or 6 */
    uint32_t priority; /* 0: the kernel places it before the others */
    uint32_t table;
    bool unreachable; /* refuses packets that come this far; without a table */
    uint32_t fwmark;  /* 0: matches any mark */
    uint32_t fwmask;  /* the bits of the mark that are compared; 0: all */
    bool invert;      /* "not": applies to packets without the mark */
    bool has_suppress;
    uint32_t suppress_prefixlen; /* ignores routes of this length or shorter */
    uint8_t protocol;            /* 0 when adding: IFCONF_PROTOCOL */
    bool foreign; /* in lists: has selectors or actions that this struct does not hold */
};

/* "not fwmark MARK/MASK lookup TABLE", and the same with "suppress_prefixlength 0": all but the
 * default routes of that table. Mask 0 compares all bits. */
struct ifconf_rule ifconf_rule_unmarked(uint8_t family, uint32_t fwmark, uint32_t fwmask,
                                        uint32_t table, uint32_t priority);
struct ifconf_rule ifconf_rule_unmarked_specific(uint8_t family, uint32_t fwmark, uint32_t fwmask,
                                                 uint32_t table, uint32_t priority);

int ifconf_rule_add(struct ifconf_socket *conf, const struct ifconf_rule *rule);
int ifconf_rule_del(struct ifconf_socket *conf, const struct ifconf_rule *rule);
int ifconf_rule_list(struct ifconf_socket *conf, uint8_t family, uint8_t protocol,
                     struct ifconf_rule **out, size_t *count);

/* ---- questions about the host */

struct ifconf_default {
    uint32_t ifindex;
    char name[IFCONF_NAME_LEN];
    struct ip_addr gateway; /* family 0: none */
    struct ip_addr addr;    /* of the interface, as the source of new traffic; family 0: none */
};

/* Finds the default route of the main table with the lowest metric. -ENOENT: none. */
int ifconf_default_get(struct ifconf_socket *conf, uint8_t family, struct ifconf_default *out);

/* Finds the address under which others reach this host: that of the default route's interface, else
 * any other one. Loopback, link-local and unique local (ULA) addresses do not count, and neither
 * does interface `skip` (0: none). With `only` the address is one of that interface. `*addr`, the
 * choice of before or family 0, stays where it is as good as another, and on an error.
 * -EADDRNOTAVAIL: none. */
int ifconf_host_addr(struct ifconf_socket *conf, uint8_t family, uint32_t only, uint32_t skip,
                     struct ip_addr *addr);

/* Finds the path MTU to `dest` for packets with this mark, path MTU discovery included.
 * -ENETUNREACH: no route. */
int ifconf_path_mtu(struct ifconf_socket *conf, const struct ip_addr *dest, uint32_t fwmark,
                    uint32_t *mtu);

struct ifconf_way {
    uint32_t ifindex; /* of the outgoing interface */
    bool local;       /* the address is this host's own */
};

/* Finds the route of packets with this mark from `source` (NULL: the kernel's choice) to `dest`.
 * -ENETUNREACH: none. -EINVAL: the source is not an address of this host (IPv4 only). */
int ifconf_way_get(struct ifconf_socket *conf, const struct ip_addr *dest,
                   const struct ip_addr *source, uint32_t fwmark, struct ifconf_way *out);

/* False when the kernel has no IPv6, or has it switched off for `name` (NULL: for new interfaces).
 */
bool ifconf_ipv6_enabled(const char *name);

/* Makes the kernel forward packets of this family; written only when it is off. `was` receives the
 * former setting. -EROFS, -EACCES: not permitted here. Interfaces that got their IPv6 default route
 * from router advertisements keep accepting them. */
int ifconf_forwarding_enable(uint8_t family, bool *was);
int ifconf_forwarding_disable(uint8_t family);

/* Whether the kernel forwards packets of this family; false when it cannot be read. */
bool ifconf_forwarding_get(uint8_t family);

/* Whether the kernel drops IPv4 packets that come in on `name` from an address to which it would
 * send elsewhere (rp_filter 1, RFC 3704). */
bool ifconf_filters_strictly(const char *name);

#endif
