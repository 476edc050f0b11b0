#include "tun/ifconf.h"

#include "tests/tun/netns.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static struct ifconf_socket *conf;

/* A namespace with t0 (a TUN, up, index 2) and v0/v1 (an Ethernet pair, up). */
static void setup(void)
{
    netns_enter();
    run("ip tuntap add t0 mode tun && ip link set t0 up");
    run("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up");
    ck_assert_int_eq(ifconf_open(&conf), 0);
}

static void teardown(void)
{
    ifconf_close(conf);
}

static uint32_t index_of(const char *name)
{
    struct ifconf_link link;
    ck_assert_int_eq(ifconf_link_find(conf, name, &link), 0);
    return link.ifindex;
}

static struct ip_prefix prefix_of(const char *text)
{
    struct ip_prefix prefix;
    ck_assert_msg(ip_prefix_parse(&prefix, text), "%s", text);
    return prefix;
}

static struct ip_addr addr_of(const char *text)
{
    struct ip_addr addr = {0};
    ck_assert(text == NULL || ip_addr_parse(&addr, text));
    return addr;
}

START_TEST(links)
{
    struct ifconf_link link;
    ck_assert_int_eq(ifconf_link_find(conf, "t0", &link), 0);
    uint32_t t0 = link.ifindex;
    ck_assert_str_eq(link.name, "t0");
    ck_assert(link.up && !link.loopback);
    ck_assert_uint_eq(link.mtu, 1500);
    ck_assert_int_eq(ifconf_link_set_mtu(conf, t0, 1420), 0);
    ck_assert_int_eq(ifconf_link_set_up(conf, t0, false), 0);
    ck_assert_int_eq(ifconf_link_set_up(conf, t0, false), 0);
    ck_assert_int_eq(ifconf_link_get(conf, t0, &link), 0);
    ck_assert_str_eq(link.name, "t0");
    ck_assert_uint_eq(link.mtu, 1420);
    ck_assert(!link.up);
    ck_assert_int_eq(ifconf_link_set_mtu(conf, t0, 10), -EINVAL);
    ck_assert_int_eq(ifconf_link_find(conf, "lo", &link), 0);
    ck_assert(link.up && link.loopback);

    ck_assert_int_eq(ifconf_link_find(conf, "nope", &link), -ENODEV);
    ck_assert_int_eq(ifconf_link_find(conf, "", &link), -ENODEV);
    ck_assert_int_eq(ifconf_link_find(conf, "sixteen-long-abc", &link), -ENODEV);
    ck_assert_int_eq(ifconf_link_get(conf, 0, &link), -ENODEV);
    ck_assert_int_eq(ifconf_link_get(conf, 77, &link), -ENODEV);
    ck_assert_int_eq(ifconf_link_set_up(conf, 77, true), -ENODEV);
    ck_assert_int_eq(ifconf_link_set_mtu(conf, 77, 1400), -ENODEV);
    ck_assert_int_eq(ifconf_link_del(conf, t0), 0);
    ck_assert_int_eq(ifconf_link_del(conf, t0), 0);
    ck_assert_int_eq(ifconf_link_get(conf, t0, &link), -ENODEV);
}
END_TEST

static const char *const addresses[] = {"10.51.0.2/16", "10.11.0.1/32", "fd00:1:2::3/64",
                                        "fd00:1:2::4/128"};

START_TEST(addresses_come_and_go)
{
    struct ip_prefix addr = prefix_of(addresses[_i]);
    struct ifconf_addr *list;
    size_t count;
    char out[256];
    uint32_t t0 = index_of("t0");
    run("ip addr flush dev t0");
    ck_assert_int_eq(ifconf_addr_add(conf, t0, &addr), 0);
    ck_assert_int_eq(ifconf_addr_add(conf, t0, &addr), 0);
    ck_assert_int_eq(ifconf_addr_list(conf, t0, &list, &count), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert(ip_prefix_equal(&list[0].prefix, &addr));
    ck_assert_uint_eq(list[0].ifindex, t0);
    ck_assert_msg(list[0].global, "not usable at once");
    free(list);
    run_out(out, sizeof out, "ip -o addr show dev t0 | awk '{printf \"%%s \", $4}'");
    ck_assert_msg(strncmp(out, addresses[_i], strlen(addresses[_i])) == 0 ||
                      strstr(out, "/32") != NULL || strstr(out, "/128") != NULL,
                  "%s", out);
    run_out(out, sizeof out, "ip -%u route show dev t0 proto kernel", addr.addr.family);
    ck_assert_str_eq(out, "");
    ck_assert_int_eq(ifconf_addr_del(conf, t0, &addr), 0);
    ck_assert_int_eq(ifconf_addr_del(conf, t0, &addr), 0);
    ck_assert_int_eq(ifconf_addr_list(conf, t0, &list, &count), 0);
    ck_assert_uint_eq(count, 0);
    free(list);
}
END_TEST

/* On a link with duplicate address detection, which a TUN does not have. */
START_TEST(address_works_at_once)
{
    struct ip_prefix addr = prefix_of("fd00:7::1/64");
    struct ifconf_addr *list;
    size_t count;
    bool found = false;
    uint32_t v0 = index_of("v0");
    ck_assert_int_eq(ifconf_addr_add(conf, v0, &addr), 0);
    ck_assert_int_eq(ifconf_addr_list(conf, v0, &list, &count), 0);
    for (size_t i = 0; i < count; i++)
        found = found || (ip_prefix_equal(&list[i].prefix, &addr) && list[i].global);
    ck_assert(found);
    free(list);
}
END_TEST

START_TEST(address_errors)
{
    struct ip_prefix v4 = prefix_of("10.0.0.1/8");
    struct ip_prefix v6 = prefix_of("fd00::1/64");
    uint32_t t0 = index_of("t0");
    ck_assert_int_eq(ifconf_addr_add(conf, 77, &v4), -ENODEV);
    ck_assert_int_eq(ifconf_addr_add(conf, 77, &v6), -ENODEV);
    ck_assert_int_eq(ifconf_addr_add(conf, t0, &(struct ip_prefix){0}), -EINVAL);
    run("sysctl -qw net.ipv6.conf.t0.disable_ipv6=1");
    ck_assert_int_eq(ifconf_addr_add(conf, t0, &v6), -EACCES);
    ck_assert_int_eq(ifconf_addr_del(conf, t0, &v6), 0);
}
END_TEST

/* Our list of a table, a line a route, to be compared with what ip(8) makes of it. */
static void format_routes(char *out, size_t size, uint8_t family, uint32_t table)
{
    struct ifconf_route *list;
    size_t count;
    size_t len = 0;
    ck_assert_int_eq(ifconf_route_list(conf, family, table, 0, &list, &count), 0);
    out[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        char prefix[IP_PREFIX_TEXT];
        char gateway[IP_ADDR_TEXT];
        char source[IP_ADDR_TEXT];
        len += (size_t)snprintf(
            out + len, size - len, "%s %s %s %u %u %u\n", ip_prefix_format(&list[i].prefix, prefix),
            ip_addr_format(&list[i].gateway, gateway), ip_addr_format(&list[i].source, source),
            list[i].ifindex, list[i].metric, list[i].protocol);
        ck_assert_uint_eq(list[i].table, table);
    }
    free(list);
}

static void ip_routes(char *out, size_t size, uint8_t family, uint32_t table)
{
    run_out(out, size,
            "ip -N -j -%u route show table %u | python3 -c '\nimport json,sys,socket,ipaddress\n"
            "for r in json.load(sys.stdin):\n"
            "  if r.get(\"type\",\"unicast\") not in (\"unicast\",\"1\"): continue\n"
            "  d=r[\"dst\"].replace(\"default\",\"::/0\" if %u==6 else \"0.0.0.0/0\")\n"
            "  print(ipaddress.ip_network(d), r.get(\"gateway\",\"\"), r.get(\"prefsrc\",\"\"),"
            " socket.if_nametoindex(r[\"dev\"]), r.get(\"metric\",0), r[\"protocol\"])'",
            family, table, family);
}

static void check_routes(uint8_t family, uint32_t table)
{
    static char ours[4096];
    static char theirs[4096];
    format_routes(ours, sizeof ours, family, table);
    ip_routes(theirs, sizeof theirs, family, table);
    ck_assert_str_eq(ours, theirs);
}

static size_t count_routes(uint8_t family, uint32_t table, uint8_t protocol)
{
    struct ifconf_route *list;
    size_t count;
    ck_assert_int_eq(ifconf_route_list(conf, family, table, protocol, &list, &count), 0);
    free(list);
    return count;
}

static const struct {
    const char *prefix;
    uint32_t table;
    const char *gateway;
    const char *source;
    uint32_t metric;
} routes[] = {
    {"10.11.0.0/16", 0, NULL, NULL, 0},
    {"10.11.0.0/16", 51820, NULL, NULL, 0},
    {"10.51.0.9/16", 77, NULL, "10.9.0.1", 5},
    {"10.12.0.0/16", 51820, "10.9.0.2", NULL, 0},
    {"0.0.0.0/0", 51820, NULL, NULL, 0},
    {"fd00:11::/64", 0, NULL, NULL, 0},
    {"fd00:11::/64", 51820, NULL, "fd00:9::1", 7},
    {"fd00:12::/48", 51820, "fd00:9::2", NULL, 0},
    {"::/0", 51820, NULL, NULL, 0},
};

START_TEST(routes_come_and_go)
{
    struct ifconf_route route = {
        .prefix = prefix_of(routes[_i].prefix),
        .table = routes[_i].table,
        .ifindex = index_of("t0"),
        .gateway = addr_of(routes[_i].gateway),
        .source = addr_of(routes[_i].source),
        .metric = routes[_i].metric,
    };
    uint8_t family = route.prefix.addr.family;
    uint32_t table = route.table != 0 ? route.table : IFCONF_TABLE_MAIN;
    run("ip addr add 10.9.0.1/24 dev t0 && ip addr add fd00:9::1/64 dev t0 nodad");
    ck_assert_uint_eq(count_routes(family, table, IFCONF_PROTOCOL), 0);
    ck_assert_int_eq(ifconf_route_del(conf, &route), 0);
    ck_assert_int_eq(ifconf_route_set(conf, &route), 0);
    ck_assert_int_eq(ifconf_route_set(conf, &route), 0);
    ck_assert_uint_eq(count_routes(family, table, IFCONF_PROTOCOL), 1);
    check_routes(family, table);
    if (routes[_i].table == 51820)
        ck_assert_uint_eq(count_routes(family, IFCONF_TABLE_MAIN, IFCONF_PROTOCOL), 0);
    ck_assert_int_eq(ifconf_route_del(conf, &route), 0);
    ck_assert_uint_eq(count_routes(family, table, IFCONF_PROTOCOL), 0);
    ck_assert_int_eq(ifconf_route_del(conf, &route), 0);
}
END_TEST

START_TEST(route_is_replaced)
{
    struct ifconf_route route = {.prefix = prefix_of(_i == 0 ? "10.11.0.0/16" : "fd00:11::/64"),
                                 .table = 51820,
                                 .ifindex = index_of("t0")};
    uint8_t family = route.prefix.addr.family;
    struct ifconf_route *list;
    size_t count;
    ck_assert_int_eq(ifconf_route_set(conf, &route), 0);
    route.ifindex = index_of("v0");
    ck_assert_int_eq(ifconf_route_set(conf, &route), 0);
    ck_assert_int_eq(ifconf_route_list(conf, family, 51820, 0, &list, &count), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(list[0].ifindex, route.ifindex);
    free(list);
    check_routes(family, 51820);
}
END_TEST

START_TEST(foreign_routes_stay)
{
    struct ifconf_route route = {.prefix = prefix_of("10.40.0.0/16")};
    run("ip route add 10.40.0.0/16 dev t0 proto static");
    ck_assert_int_eq(ifconf_route_del(conf, &route), 0);
    ck_assert_uint_eq(count_routes(4, IFCONF_TABLE_MAIN, 4), 1);
    route.protocol = 4;
    ck_assert_int_eq(ifconf_route_del(conf, &route), 0);
    ck_assert_uint_eq(count_routes(4, IFCONF_TABLE_MAIN, 4), 0);
}
END_TEST

START_TEST(route_errors)
{
    struct ifconf_route route = {.prefix = prefix_of("10.11.0.0/16"), .ifindex = 77};
    ck_assert_int_eq(ifconf_route_set(conf, &route), -ENODEV);
    ck_assert_int_eq(ifconf_route_del(conf, &route), 0);
    route.ifindex = index_of("t0");
    route.gateway = addr_of("192.0.2.1");
    ck_assert_int_eq(ifconf_route_set(conf, &route), -ENETUNREACH);
    route.prefix = (struct ip_prefix){0};
    ck_assert_int_eq(ifconf_route_set(conf, &route), -EINVAL);
}
END_TEST

START_TEST(many_routes_are_all_listed)
{
    uint32_t t0 = index_of("t0");
    for (uint32_t i = 0; i < 3000; i++) {
        struct ifconf_route route = {
            .prefix = prefix_of("10.0.0.0/24"), .table = 51820, .ifindex = t0};
        route.prefix.addr.bytes[1] = (uint8_t)(i >> 8);
        route.prefix.addr.bytes[2] = (uint8_t)i;
        ck_assert_int_eq(ifconf_route_set(conf, &route), 0);
    }
    ck_assert_uint_eq(count_routes(4, 51820, IFCONF_PROTOCOL), 3000);
    ck_assert_uint_eq(count_routes(4, 51821, IFCONF_PROTOCOL), 0);
    ck_assert_uint_eq(count_routes(6, 51820, IFCONF_PROTOCOL), 0);
}
END_TEST

START_TEST(several_next_hops)
{
    struct ifconf_route *list;
    size_t count;
    run("ip addr add 10.8.0.1/24 dev v0");
    run("ip route add 10.77.0.0/16 table 9 nexthop via 10.8.0.2 dev v0 nexthop via 10.8.0.3 dev "
        "v0");
    ck_assert_int_eq(ifconf_route_list(conf, 4, 9, 0, &list, &count), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(list[0].ifindex, index_of("v0"));
    struct ip_addr gateway = addr_of("10.8.0.2");
    ck_assert(ip_addr_equal(&list[0].gateway, &gateway));
    free(list);
}
END_TEST

static const uint8_t families[] = {4, 6};

static void check_rule(const struct ifconf_rule *rule, const struct ifconf_rule *expected)
{
    ck_assert_uint_eq(rule->family, expected->family);
    ck_assert_uint_eq(rule->priority, expected->priority);
    ck_assert_uint_eq(rule->table, expected->table);
    ck_assert_uint_eq(rule->fwmark, expected->fwmark);
    ck_assert_uint_eq(rule->suppress_prefixlen, expected->suppress_prefixlen);
    ck_assert_uint_eq(rule->protocol, expected->protocol);
    ck_assert(rule->invert == expected->invert);
    ck_assert_uint_eq(rule->fwmask, expected->fwmask);
    ck_assert(rule->unreachable == expected->unreachable);
    ck_assert(rule->has_suppress == expected->has_suppress);
    ck_assert(!rule->foreign);
}

START_TEST(rules_come_and_go)
{
    uint8_t family = families[_i];
    struct ifconf_rule unmarked = ifconf_rule_unmarked(family, 51820, 0xffff, 51820, 32001);
    struct ifconf_rule specific =
        ifconf_rule_unmarked_specific(family, 51820, 0, IFCONF_TABLE_MAIN, 32000);
    struct ifconf_rule refusal = ifconf_rule_unmarked(family, 51820, 0, 0, 32002);
    refusal.unreachable = true;
    struct ifconf_rule *list;
    size_t count;
    char out[1024];
    ck_assert_int_eq(ifconf_rule_del(conf, &unmarked), 0);
    for (int twice = 0; twice < 2; twice++) {
        ck_assert_int_eq(ifconf_rule_add(conf, &unmarked), 0);
        ck_assert_int_eq(ifconf_rule_add(conf, &specific), 0);
        ck_assert_int_eq(ifconf_rule_add(conf, &refusal), 0);
    }
    run_out(out, sizeof out, "ip -%u rule | tr '\\t' ' ' | grep 3200 ", family);
    ck_assert_str_eq(
        out, "32000: not from all fwmark 0xca6c lookup main suppress_prefixlength 0 proto 72\n"
             "32001: not from all fwmark 0xca6c/0xffff lookup 51820 proto 72\n"
             "32002: not from all fwmark 0xca6c unreachable proto 72\n");
    ck_assert_int_eq(ifconf_rule_list(conf, family, IFCONF_PROTOCOL, &list, &count), 0);
    ck_assert_uint_eq(count, 3);
    unmarked.protocol = specific.protocol = refusal.protocol = IFCONF_PROTOCOL;
    check_rule(&list[0], &specific);
    check_rule(&list[1], &unmarked);
    check_rule(&list[2], &refusal);
    free(list);
    ck_assert_int_eq(ifconf_rule_del(conf, &refusal), 0);
    ck_assert_int_eq(ifconf_rule_del(conf, &unmarked), 0);
    ck_assert_int_eq(ifconf_rule_del(conf, &specific), 0);
    ck_assert_int_eq(ifconf_rule_del(conf, &specific), 0);
    ck_assert_int_eq(ifconf_rule_list(conf, family, IFCONF_PROTOCOL, &list, &count), 0);
    ck_assert_uint_eq(count, 0);
    free(list);
    run_out(out, sizeof out, "ip -%u rule | grep -c lookup", family);
    ck_assert_str_eq(out, family == 4 ? "3\n" : "2\n"); /* the kernel's own are still there */
}
END_TEST

START_TEST(rules_of_others)
{
    struct ifconf_rule *list;
    size_t count;
    run("ip rule add from 10.1.0.0/16 lookup 12 priority 100");
    run("ip rule add fwmark 5/0xff lookup 13 priority 101");
    run("ip rule add fwmark 5 lookup 14 priority 102 suppress_prefixlength 8");
    run("ip rule add iif lo unreachable priority 103");
    ck_assert_int_eq(ifconf_rule_list(conf, 4, 0, &list, &count), 0);
    ck_assert_uint_eq(count, 7);
    static const bool foreign[] = {false, true, false, false, true, false, false};
    static const uint32_t priorities[] = {0, 100, 101, 102, 103, 32766, 32767};
    for (size_t i = 0; i < count; i++) {
        ck_assert_msg(list[i].foreign == foreign[i], "rule %zu", i);
        ck_assert_uint_eq(list[i].priority, priorities[i]);
    }
    ck_assert_uint_eq(list[2].fwmask, 0xff);
    ck_assert_uint_eq(list[3].fwmark, 5);
    ck_assert_uint_eq(list[3].fwmask, 0);
    ck_assert_uint_eq(list[3].table, 14);
    ck_assert(list[3].has_suppress);
    ck_assert_uint_eq(list[3].suppress_prefixlen, 8);
    ck_assert(!list[6].has_suppress);
    free(list);
    ck_assert_int_eq(ifconf_rule_add(conf, &(struct ifconf_rule){.family = 4}), -EINVAL);
}
END_TEST

/* The host's own address, as more and more is configured. The choice of before is kept. */
static const struct {
    const char *command;
    const char *addr;
} hosts[] = {
    {"true", ""},
    {"ip addr add 169.254.3.3/16 dev v1", ""},
    {"ip addr add 10.9.0.1/24 dev t0", ""}, /* skipped: our own */
    {"ip addr add 192.0.2.1/24 dev v1", "192.0.2.1"},
    {"ip addr add 198.51.100.6/24 dev v0", "192.0.2.1"},
    {"ip addr add 198.51.100.7/24 dev v0 && ip route add default via 198.51.100.1", "198.51.100.6"},
    {"ip route add default dev t0 metric 0 proto boot table 99", "198.51.100.6"},
    {"ip addr del 198.51.100.6/24 dev v0; ip addr replace 198.51.100.7/24 dev v0; "
     "ip route replace default via 198.51.100.1",
     "198.51.100.7"},
    {"ip addr add 198.51.100.8/24 dev v0", "198.51.100.7"},
    {"ip route add default via 192.0.2.254 metric 50", "198.51.100.7"},
    {"ip route change default via 198.51.100.1 metric 0 && ip route add default via 192.0.2.254 "
     "metric 5 && ip route del default metric 0",
     "192.0.2.1"},
    {"ip addr add 192.0.2.9/24 dev v1 && ip route change default via 192.0.2.254 src 192.0.2.9 "
     "metric 5",
     "192.0.2.9"},
    {"ip addr flush dev v0 && ip addr flush dev v1", ""},
};

START_TEST(host_address)
{
    struct ip_addr addr = {0};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        char text[IP_ADDR_TEXT] = "";
        run("%s", hosts[i].command);
        int rc = ifconf_host_addr(conf, 4, 0, index_of("t0"), &addr);
        ck_assert_int_eq(rc, hosts[i].addr[0] == '\0' ? -EADDRNOTAVAIL : 0);
        if (rc == 0)
            ip_addr_format(&addr, text);
        ck_assert_msg(strcmp(text, hosts[i].addr) == 0, "%zu: %s", i, text);
    }
}
END_TEST

START_TEST(host_address_of_one_interface)
{
    struct ip_addr addr = {0};
    char text[IP_ADDR_TEXT];
    run("ip addr add 198.51.100.7/24 dev v0 && ip route add default via 198.51.100.1");
    ck_assert_int_eq(ifconf_host_addr(conf, 4, index_of("v1"), 0, &addr), -EADDRNOTAVAIL);
    run("ip addr add 192.0.2.1/24 dev v1");
    ck_assert_int_eq(ifconf_host_addr(conf, 4, index_of("v1"), 0, &addr), 0);
    ck_assert_str_eq(ip_addr_format(&addr, text), "192.0.2.1");
}
END_TEST

START_TEST(host_address_v6)
{
    struct ip_addr addr = {0};
    char text[IP_ADDR_TEXT];
    run("ip addr add fd00::5/64 dev v0 nodad");
    ck_assert_int_eq(ifconf_host_addr(conf, 6, 0, 0, &addr), -EADDRNOTAVAIL);
    run("ip addr add 2001:db8::5/64 dev v0 nodad && ip -6 route add default via 2001:db8::1");
    ck_assert_int_eq(ifconf_host_addr(conf, 6, 0, 0, &addr), 0);
    ck_assert_str_eq(ip_addr_format(&addr, text), "2001:db8::5");
}
END_TEST

START_TEST(default_route)
{
    struct ifconf_default way;
    char text[IP_ADDR_TEXT];
    ck_assert_int_eq(ifconf_default_get(conf, 4, &way), -ENOENT);
    run("ip addr add 198.51.100.7/24 dev v0 && ip route add default via 198.51.100.1");
    ck_assert_int_eq(ifconf_default_get(conf, 4, &way), 0);
    ck_assert_str_eq(way.name, "v0");
    ck_assert_uint_eq(way.ifindex, index_of("v0"));
    ck_assert_str_eq(ip_addr_format(&way.gateway, text), "198.51.100.1");
    ck_assert_str_eq(ip_addr_format(&way.addr, text), "198.51.100.7");
    ck_assert_int_eq(ifconf_default_get(conf, 6, &way), -ENOENT);
}
END_TEST

START_TEST(path_mtu)
{
    uint32_t mtu = 0;
    struct ip_addr dest = addr_of("203.0.113.5");
    struct ip_addr dest6 = addr_of("2001:db8:5::5");
    ck_assert_int_eq(ifconf_path_mtu(conf, &dest, 0, &mtu), -ENETUNREACH);
    ck_assert_int_eq(ifconf_path_mtu(conf, &dest6, 0, &mtu), -ENETUNREACH);
    run("ip addr add 198.51.100.7/24 dev v0 && ip route add default via 198.51.100.1");
    run("ip link set v0 mtu 1480");
    ck_assert_int_eq(ifconf_path_mtu(conf, &dest, 0, &mtu), 0);
    ck_assert_uint_eq(mtu, 1480);
    run("ip route add 203.0.113.0/24 via 198.51.100.1 mtu 1300");
    ck_assert_int_eq(ifconf_path_mtu(conf, &dest, 0, &mtu), 0);
    ck_assert_uint_eq(mtu, 1300);
    /* everything into the tunnel but what carries the mark */
    run("ip link set t0 mtu 1220 && ip addr add 10.9.0.1/24 dev t0");
    run("ip route add default dev t0 table 51820 && ip rule add not fwmark 6 lookup 51820");
    ck_assert_int_eq(ifconf_path_mtu(conf, &dest, 0, &mtu), 0);
    ck_assert_uint_eq(mtu, 1220);
    ck_assert_int_eq(ifconf_path_mtu(conf, &dest, 6, &mtu), 0);
    ck_assert_uint_eq(mtu, 1300);
    run("ip addr add 2001:db8::5/64 dev v0 nodad && ip -6 route add default via 2001:db8::1");
    ck_assert_int_eq(ifconf_path_mtu(conf, &dest6, 0, &mtu), 0);
    ck_assert_uint_eq(mtu, 1480);
    run("ip route add unreachable 203.0.113.5/32 && ip rule del not fwmark 6 lookup 51820");
    ck_assert_int_eq(ifconf_path_mtu(conf, &dest, 0, &mtu), -ENETUNREACH);
}
END_TEST

START_TEST(ipv6_switched_off)
{
    ck_assert(ifconf_ipv6_enabled(NULL));
    ck_assert(ifconf_ipv6_enabled("t0"));
    ck_assert(!ifconf_ipv6_enabled("nope"));
    run("sysctl -qw net.ipv6.conf.t0.disable_ipv6=1");
    ck_assert(!ifconf_ipv6_enabled("t0"));
    ck_assert(ifconf_ipv6_enabled(NULL));
    run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
    ck_assert(!ifconf_ipv6_enabled(NULL));
}
END_TEST

START_TEST(forwarding)
{
    static const char *const names[] = {"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"};
    bool was = true;
    char out[16];
    run("sysctl -qw %s=0", names[_i]);
    ck_assert_int_eq(ifconf_forwarding_enable(families[_i], &was), 0);
    ck_assert(!was);
    run_out(out, sizeof out, "sysctl -n %s", names[_i]);
    ck_assert_str_eq(out, "1\n");
    ck_assert_int_eq(ifconf_forwarding_enable(families[_i], &was), 0);
    ck_assert(was);
    ck_assert_int_eq(ifconf_forwarding_disable(families[_i]), 0);
    run_out(out, sizeof out, "sysctl -n %s", names[_i]);
    ck_assert_str_eq(out, "0\n");
}
END_TEST

/* The higher of the two switches counts. */
START_TEST(strict_filters)
{
    static const struct {
        int all, own;
        bool strict;
    } rows[] = {{0, 0, false}, {1, 0, true}, {0, 1, true}, {1, 2, false}, {2, 1, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        run("sysctl -qw net.ipv4.conf.all.rp_filter=%d net.ipv4.conf.v0.rp_filter=%d", rows[i].all,
            rows[i].own);
        ck_assert_msg(ifconf_filters_strictly("v0") == rows[i].strict, "row %zu", i);
    }
    ck_assert(!ifconf_filters_strictly("none"));
}
END_TEST

/* A host that learned its route from a router must not lose it. */
START_TEST(forwarding_keeps_router_advertisements)
{
    bool was;
    char out[16];
    run("sysctl -qw net.ipv6.conf.all.forwarding=0 net.ipv6.conf.v0.accept_ra=1 "
        "net.ipv6.conf.v1.accept_ra=1");
    run("ip addr add 2001:db8::5/64 dev v0 nodad");
    run("ip -6 route add default via 2001:db8::1 dev v0 proto ra");
    ck_assert_int_eq(ifconf_forwarding_enable(6, &was), 0);
    run_out(out, sizeof out, "sysctl -n net.ipv6.conf.v0.accept_ra net.ipv6.conf.v1.accept_ra");
    ck_assert_str_eq(out, "2\n1\n");
}
END_TEST

START_TEST(without_rights)
{
    struct ip_prefix addr = prefix_of("10.0.0.1/8");
    struct ifconf_rule rule = ifconf_rule_unmarked(4, 1, 0, 2, 3);
    struct ifconf_route route = {.prefix = addr, .ifindex = index_of("t0")};
    uint32_t t0 = index_of("t0");
    bool was;
    run("sysctl -qw net.ipv4.ip_forward=0");
    drop_rights();
    ck_assert_int_eq(ifconf_addr_add(conf, t0, &addr), -EPERM);
    ck_assert_int_eq(ifconf_link_set_up(conf, t0, false), -EPERM);
    ck_assert_int_eq(ifconf_route_set(conf, &route), -EPERM);
    ck_assert_int_eq(ifconf_rule_add(conf, &rule), -EPERM);
    ck_assert_int_eq(ifconf_forwarding_enable(4, &was), -EACCES);
    ck_assert(!was);
    regain_rights();
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("ifconf_linux");
    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, links);
    tcase_add_loop_test(tc, addresses_come_and_go, 0, ARRAY_LEN(addresses));
    tcase_add_test(tc, address_works_at_once);
    tcase_add_test(tc, address_errors);
    tcase_add_loop_test(tc, routes_come_and_go, 0, ARRAY_LEN(routes));
    tcase_add_loop_test(tc, route_is_replaced, 0, 2);
    tcase_add_test(tc, foreign_routes_stay);
    tcase_add_test(tc, route_errors);
    tcase_add_test(tc, many_routes_are_all_listed);
    tcase_add_test(tc, several_next_hops);
    tcase_add_loop_test(tc, rules_come_and_go, 0, 2);
    tcase_add_test(tc, rules_of_others);
    tcase_add_test(tc, host_address);
    tcase_add_test(tc, host_address_v6);
    tcase_add_test(tc, host_address_of_one_interface);
    tcase_add_test(tc, default_route);
    tcase_add_test(tc, path_mtu);
    tcase_add_test(tc, ipv6_switched_off);
    tcase_add_loop_test(tc, forwarding, 0, 2);
    tcase_add_test(tc, strict_filters);
    tcase_add_test(tc, forwarding_keeps_router_advertisements);
    tcase_add_test(tc, without_rights);
    return unit_run_as_root(tc);
}
