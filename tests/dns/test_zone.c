#include "dns/zone.h"

#include "dns/reserved.h"
#include "tests/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct zone_config config(void)
{
    return (struct zone_config){.domain = "heimdall", .ns = "router", .serial = 3, .ttl = 30};
}

static int add(struct zone_builder *builder, const char *name, const char *text)
{
    struct ip_addr addr = {0};
    ip_addr_parse(&addr, text);
    return zone_builder_add_host(builder, name, &addr);
}

static int add_network(struct zone_builder *builder, const char *text)
{
    struct ip_prefix prefix;
    ck_assert(ip_prefix_parse(&prefix, text));
    return zone_builder_add_network(builder, &prefix);
}

/* Hosts with these names exist below the domain only. */
static const char *const reserved[] = {
    "com", "arpa", "net",  "de",   "zw",    "zip", "aaa", "web",      "home",       "corp",
    "lan", "mail", "test", "wpad", "local", "alt", "123", "0x7f0001", "xn--node-a", "isatap"};

static struct zone *make_zone(void)
{
    struct zone_config c = config();
    struct zone_builder *builder = zone_builder_create(&c);
    ck_assert_ptr_nonnull(builder);
    ck_assert_int_eq(add(builder, "Router", "10.11.0.1"), 0);
    ck_assert_int_eq(add(builder, "router", "fd00:1:2::1"), 0);
    ck_assert_int_eq(add(builder, "router", "10.11.0.1"), 0); /* again */
    ck_assert_int_eq(add(builder, "nas", "10.51.0.2"), 0);
    ck_assert_int_eq(add(builder, "other", "10.51.0.2"), 0);
    ck_assert_int_eq(add(builder, "a.b.c", "10.51.16.1"), 0);
    ck_assert_int_eq(add(builder, "far", "192.0.2.7"), 0);
    ck_assert_int_eq(add(builder, "localhost", "10.51.0.9"), 0);
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
        ck_assert_int_eq(add(builder, reserved[i], "10.51.0.10"), 0);
    ck_assert_int_eq(add(builder, "heimdall", "10.51.0.8"), 0);
    ck_assert_int_eq(zone_builder_add_srv(builder, "_x._tcp.nas", 1, 2, 3, "router"), 0);
    ck_assert_int_eq(add_network(builder, "10.51.0.0/16"), 0);
    ck_assert_int_eq(add_network(builder, "10.11.16.0/20"), 0);
    ck_assert_int_eq(add_network(builder, "fd00:1:2::/48"), 0);
    ck_assert_int_eq(add_network(builder, "100.0.0.0/16"), 0);
    return zone_build(builder);
}

#define V6_HOST "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa"

/* The match: kind, labels left of the apex, records as letters, and the number of PTRs. */
static const struct {
    const char *name;
    enum zone_kind kind;
    size_t apex;
    const char *records;
    size_t ptrs;
} finds[] = {
    /* 0 */ {"router.heimdall", ZONE_FOUND, 7, "A6", 0},
    /* 1 */ {"ROUTER.Heimdall", ZONE_FOUND, 7, "A6", 0},
    /* 2 */ {"router", ZONE_FOUND, 0, "A6", 0},
    /* 3 */ {"nas", ZONE_FOUND, 0, "A", 0},
    /* 4: the domain is never a host */ {"heimdall", ZONE_FOUND, 0, "", 0},
    /* 5 */ {"heimdall.heimdall", ZONE_FOUND, 9, "A", 0},
    /* 6 */ {"nope.heimdall", ZONE_DENIED, 5, "", 0},
    /* 7 */ {"nas.nas.heimdall", ZONE_DENIED, 8, "", 0},
    /* 8 */ {"nope", ZONE_FOREIGN, 0, "", 0},
    /* 9: below a bare name is not ours */ {"x.router", ZONE_FOREIGN, 0, "", 0},
    /* 10 */ {"router.heimdall.example", ZONE_FOREIGN, 0, "", 0},
    /* 11: ends like the domain */ {"xheimdall", ZONE_FOREIGN, 0, "", 0},
    /* 12: the root */ {"", ZONE_FOREIGN, 0, "", 0},
    /* 13 */ {"a.b.c.heimdall", ZONE_FOUND, 6, "A", 0},
    /* 14: between a name and the domain */ {"b.c.heimdall", ZONE_FOUND, 4, "", 0},
    /* 15 */ {"c.heimdall", ZONE_FOUND, 2, "", 0},
    /* 16: several labels have no bare name */ {"a.b.c", ZONE_FOREIGN, 0, "", 0},
    /* 17 */ {"localhost", ZONE_FOREIGN, 0, "", 0},
    /* 18 */ {"localhost.heimdall", ZONE_FOUND, 10, "A", 0},
    /* 19 */ {"_x._tcp.nas.heimdall", ZONE_FOUND, 12, "S", 0},
    /* 20 */ {"_tcp.nas.heimdall", ZONE_FOUND, 9, "", 0},
    /* 21 */ {"2.0.51.10.in-addr.arpa", ZONE_FOUND, 4, "", 2},
    /* 22 */ {"2.0.51.10.IN-ADDR.ARPA", ZONE_FOUND, 4, "", 2},
    /* 23: inside a network, no host */ {"3.0.51.10.in-addr.arpa", ZONE_DENIED, 4, "", 0},
    /* 24: the apex */ {"51.10.in-addr.arpa", ZONE_FOUND, 0, "", 0},
    /* 25: hosts below */ {"0.51.10.in-addr.arpa", ZONE_FOUND, 2, "", 0},
    /* 26: no hosts below */ {"1.51.10.in-addr.arpa", ZONE_DENIED, 2, "", 0},
    /* 27: above the apex */ {"10.in-addr.arpa", ZONE_FOREIGN, 0, "", 0},
    /* 28 */ {"in-addr.arpa", ZONE_FOREIGN, 0, "", 0},
    /* 29 */ {"52.10.in-addr.arpa", ZONE_FOREIGN, 0, "", 0},
    /* 30: a host outside the networks */ {"7.2.0.192.in-addr.arpa", ZONE_FOUND, 0, "", 1},
    /* 31 */ {"8.2.0.192.in-addr.arpa", ZONE_FOREIGN, 0, "", 0},
    /* 32: below a host */ {"x.2.0.51.10.in-addr.arpa", ZONE_DENIED, 6, "", 0},
    /* 33 */ {"1.2.0.51.10.in-addr.arpa", ZONE_DENIED, 6, "", 0},
    /* 34: not octets */ {"256.0.51.10.in-addr.arpa", ZONE_DENIED, 6, "", 0},
    /* 35 */ {"02.0.51.10.in-addr.arpa", ZONE_DENIED, 5, "", 0},
    /* 36 */ {"x.51.10.in-addr.arpa", ZONE_DENIED, 2, "", 0},
    /* 37 */ {"x.10.in-addr.arpa", ZONE_FOREIGN, 0, "", 0},
    /* 38: a /20 is served as its /24s */ {"1.16.11.10.in-addr.arpa", ZONE_DENIED, 2, "", 0},
    /* 39 */ {"16.11.10.in-addr.arpa", ZONE_FOUND, 0, "", 0},
    /* 40 */ {"1.32.11.10.in-addr.arpa", ZONE_FOREIGN, 0, "", 0},
    /* 41: in no network, but a host's */ {"1.0.11.10.in-addr.arpa", ZONE_FOUND, 0, "", 1},
    /* 42 */ {V6_HOST, ZONE_FOUND, 40, "", 1},
    /* 43 */ {"0.0.2.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa", ZONE_FOUND, 4, "", 0},
    /* 44 */ {"1.0.2.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa", ZONE_DENIED, 4, "", 0},
    /* 45 */ {"g.2.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa", ZONE_DENIED, 2, "", 0},
    /* 46 */ {"3.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa", ZONE_FOREIGN, 0, "", 0},
    /* 47: the peculiar case of nibbles in upper case */
    {"0.0.2.0.0.0.1.0.0.0.0.0.D.F.ip6.arpa", ZONE_FOUND, 4, "", 0},
    /* 48: two digits are no nibble */
    {"00.2.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa", ZONE_DENIED, 3, "", 0},
    /* 49: above an apex whose further bits are zero */
    {"100.in-addr.arpa", ZONE_FOREIGN, 0, "", 0},
    /* 50 */ {"0.100.in-addr.arpa", ZONE_FOUND, 0, "", 0},
};

static char letter(uint16_t type)
{
    if (type == DNS_TYPE_A)
        return 'A';
    return type == DNS_TYPE_AAAA ? (char)'6' : (char)'S';
}

START_TEST(names_are_found)
{
    struct zone *zone = make_zone();
    struct zone_match match;
    struct dns_name name;
    char records[8] = "";
    ck_assert(dns_name_from_text(&name, finds[_i].name));
    zone_find(zone, &name, &match);
    ck_assert_int_eq(match.kind, finds[_i].kind);
    ck_assert_uint_eq(match.apex, finds[_i].apex);
    ck_assert_uint_eq(match.ptr_count, finds[_i].ptrs);
    size_t count = 0;
    for (const struct zone_record *record = match.records; record; record = record->next)
        records[count++] = letter(record->type);
    ck_assert_str_eq(records, finds[_i].records);
    zone_put(zone);
}
END_TEST

START_TEST(reverse_names_point_back)
{
    struct zone *zone = make_zone();
    struct zone_match match;
    struct dns_name name;
    char text[DNS_TEXT_MAX];
    dns_name_from_text(&name, "2.0.51.10.in-addr.arpa");
    zone_find(zone, &name, &match);
    ck_assert_str_eq(dns_name_to_text(zone_ptr_name(&match, 0), text), "nas.heimdall.");
    ck_assert_str_eq(dns_name_to_text(zone_ptr_name(&match, 1), text), "other.heimdall.");
    ck_assert_str_eq(dns_name_to_text(zone_ns(zone), text), "router.heimdall.");
    ck_assert_str_eq(dns_name_to_text(zone_mailbox(zone), text), "hostmaster.heimdall.");
    ck_assert_uint_eq(zone_serial(zone), 3);
    zone_put(zone);
}
END_TEST

static const struct {
    const char *name;
    const char *addr;
    int expected;
} hosts[] = {
    {"ok", "10.0.0.1", 0},         {"0k-9", "::1", 0},
    {"", "10.0.0.1", -EINVAL},     {".", "10.0.0.1", -EINVAL},
    {"-a", "10.0.0.1", -EINVAL},   {"a-", "10.0.0.1", -EINVAL},
    {"a_b", "10.0.0.1", -EINVAL},  {"a b", "10.0.0.1", -EINVAL},
    {"a..b", "10.0.0.1", -EINVAL}, {"\xc3\xa9", "10.0.0.1", -EINVAL},
    {"a.-b", "10.0.0.1", -EINVAL}, {"ok", "", -EINVAL},
    {"*", "10.0.0.1", -EINVAL},    {"a/b", "10.0.0.1", -EINVAL},
};

START_TEST(hosts_are_checked)
{
    struct zone_config c = config();
    struct zone_builder *builder = zone_builder_create(&c);
    ck_assert_int_eq(add(builder, hosts[_i].name, hosts[_i].addr), hosts[_i].expected);
    zone_builder_destroy(builder);
}
END_TEST

START_TEST(a_name_too_long_with_its_domain_is_refused)
{
    struct zone_config c = config();
    struct zone_builder *builder = zone_builder_create(&c);
    char name[256] = "";
    memset(name, 'x', sizeof name - 1);
    for (size_t dot = 61; dot < sizeof name; dot += 62)
        name[dot] = '.';
    name[244] = '\0'; /* 244 characters are 245 octets; with the domain's 10 they are 255 */
    ck_assert_int_eq(add(builder, name, "10.0.0.1"), 0);
    name[244] = 'x';
    name[245] = '\0';
    ck_assert_int_eq(add(builder, name, "10.0.0.1"), -EINVAL);
    zone_builder_destroy(builder);
}
END_TEST

START_TEST(domains_are_checked)
{
    static const char *const bad[] = {"", ".", "a b", "-", "a..b", "x_y"};
    struct zone_config c = config();
    c.domain = bad[_i];
    ck_assert_ptr_null(zone_builder_create(&c));
    c.domain = "heimdall";
    c.ns = bad[_i];
    ck_assert_ptr_null(zone_builder_create(&c));
}
END_TEST

START_TEST(many_hosts)
{
    enum { COUNT = 10000 };
    struct zone_config c = config();
    struct zone_builder *builder = zone_builder_create(&c);
    struct ip_addr addr;
    char text[64];
    ip_addr_parse(&addr, "10.51.0.2");
    for (int i = 0; i < COUNT; i++) {
        snprintf(text, sizeof text, "peer%d", i);
        ck_assert_int_eq(zone_builder_add_host(builder, text, &addr), 0);
        ip_addr_add(&addr, 1);
    }
    struct zone *zone = zone_ref(zone_build(builder));
    zone_put(zone);
    for (int i = 0; i < COUNT; i++) {
        struct zone_match match;
        struct dns_name name;
        snprintf(text, sizeof text, "%d.%d.51.10.in-addr.arpa", (i + 2) % 256, (i + 2) / 256);
        dns_name_from_text(&name, text);
        zone_find(zone, &name, &match);
        ck_assert_uint_eq(match.ptr_count, 1);
        snprintf(text, sizeof text, "peer%d.heimdall", i);
        dns_name_from_text(&name, text);
        ck_assert(dns_name_equal(zone_ptr_name(&match, 0), &name));
    }
    zone_put(zone);
}
END_TEST

START_TEST(reserved_names_are_never_bare)
{
    struct zone *zone = make_zone();
    struct zone_match match;
    struct dns_name name;
    char full[64];
    ck_assert(dns_name_from_text(&name, reserved[_i]));
    zone_find(zone, &name, &match);
    ck_assert_int_eq(match.kind, ZONE_FOREIGN);
    snprintf(full, sizeof full, "%s.heimdall", reserved[_i]);
    ck_assert(dns_name_from_text(&name, full));
    zone_find(zone, &name, &match);
    ck_assert_int_eq(match.kind, ZONE_FOUND);
    ck_assert_ptr_nonnull(match.records);
    zone_put(zone);
}
END_TEST

static const struct {
    const char *domain;
    bool allowed;
} domains_of_networks[] = {
    {"heimdall", true},
    {"office", false},
    {"corp", true},
    {"corp.example", true},
    {"home.arpa", true},
    {"my.home.arpa", true},
    {"lan", true},
    {"vpn.example.com", true},
    {"a.internal", true},
    {"com", false},
    {"example.com", false},
    {"arpa", false},
    {"in-addr.arpa", false},
    {"nothome.arpa", false},
    {"local", false},
    {"a.local", false},
    {"localhost", false},
    {"onion", false},
    {"wpad", false},
    {"1", false},
    {"10.0.0.1", false},
    {"xn--p1ai", false},
    {"", false},
    {"www.bank.example", true},
};

START_TEST(domains)
{
    ck_assert_int_eq(reserved_allows_domain(domains_of_networks[_i].domain),
                     domains_of_networks[_i].allowed);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("zone");
    tcase_add_loop_test(tc, names_are_found, 0, ARRAY_LEN(finds));
    tcase_add_test(tc, reverse_names_point_back);
    tcase_add_loop_test(tc, hosts_are_checked, 0, ARRAY_LEN(hosts));
    tcase_add_test(tc, a_name_too_long_with_its_domain_is_refused);
    tcase_add_loop_test(tc, domains_are_checked, 0, 6);
    tcase_add_test(tc, many_hosts);
    tcase_add_loop_test(tc, domains, 0, ARRAY_LEN(domains_of_networks));
    tcase_add_loop_test(tc, reserved_names_are_never_bare, 0, ARRAY_LEN(reserved));
    return unit_run(tc);
}
