#include "base/addr.h"

#include "tests/unit.h"

#include <string.h>

static const struct {
    const char *text;
    const char *formatted; /* NULL: refused */
} addrs[] = {
    {"1.2.3.4", "1.2.3.4"},
    {"255.255.255.255", "255.255.255.255"},
    {"::", "::"},
    {"2001:db8::1", "2001:db8::1"},
    {"2001:0DB8:0:0::1", "2001:db8::1"},
    {"::ffff:1.2.3.4", "::ffff:1.2.3.4"},
    {"", NULL},
    {"1.2.3", NULL},
    {"1.2.3.256", NULL},
    {"01.2.3.4", NULL},
    {" 1.2.3.4", NULL},
    {"1.2.3.4 ", NULL},
    {"1.2.3.4/32", NULL},
    {"fe80::1%eth0", NULL},
    {"localhost", NULL},
    {"1:2:3:4:5:6:7:8:9", NULL},
};

START_TEST(addr_text)
{
    struct ip_addr addr = {.family = 9};
    char text[IP_ADDR_TEXT];
    bool ok = ip_addr_parse(&addr, addrs[_i].text);
    ck_assert(ok == (addrs[_i].formatted != NULL));
    if (ok)
        ck_assert_str_eq(ip_addr_format(&addr, text), addrs[_i].formatted);
    else
        ck_assert_uint_eq(addr.family, 9); /* untouched */
}
END_TEST

static const struct {
    const char *text;
    const char *formatted;
    const char *masked;
} prefixes[] = {
    {"10.11.12.13/16", "10.11.12.13/16", "10.11.0.0/16"},
    {"10.11.12.13", "10.11.12.13/32", "10.11.12.13/32"},
    {"10.255.12.13/9", "10.255.12.13/9", "10.128.0.0/9"},
    {"1.2.3.4/0", "1.2.3.4/0", "0.0.0.0/0"},
    {"fd12:3456::1/48", "fd12:3456::1/48", "fd12:3456::/48"},
    {"fd12::1", "fd12::1/128", "fd12::1/128"},
    {"ffff::/3", "ffff::/3", "e000::/3"},
    {"1.2.3.4/33", NULL, NULL},
    {"::/129", NULL, NULL},
    {"1.2.3.4/", NULL, NULL},
    {"1.2.3.4/-1", NULL, NULL},
    {"1.2.3.4/+1", NULL, NULL},
    {"1.2.3.4/08", NULL, NULL},
    {"1.2.3.4/8 ", NULL, NULL},
    {"/8", NULL, NULL},
    {"1.2.3.4/8/8", NULL, NULL},
    {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa/64", NULL, NULL},
};

START_TEST(prefix_text)
{
    struct ip_prefix prefix;
    char text[IP_PREFIX_TEXT];
    bool ok = ip_prefix_parse(&prefix, prefixes[_i].text);
    ck_assert(ok == (prefixes[_i].formatted != NULL));
    if (!ok)
        return;
    ck_assert_str_eq(ip_prefix_format(&prefix, text), prefixes[_i].formatted);
    ck_assert(ip_prefix_is_masked(&prefix) ==
              (strcmp(prefixes[_i].formatted, prefixes[_i].masked) == 0));
    ip_prefix_mask(&prefix);
    ck_assert_str_eq(ip_prefix_format(&prefix, text), prefixes[_i].masked);
    ck_assert(ip_prefix_is_masked(&prefix));
}
END_TEST

static const struct {
    const char *text;
    const char *formatted;
} endpoints[] = {
    {"1.2.3.4:1", "1.2.3.4:1"},
    {"1.2.3.4:65535", "1.2.3.4:65535"},
    {"[::1]:51820", "[::1]:51820"},
    {"[fe80::1%1]:51820", "[fe80::1%1]:51820"},
    {"[fe80::1%lo]:51820", "[fe80::1%1]:51820"},
    {"1.2.3.4", NULL},
    {"1.2.3.4:", NULL},
    {"1.2.3.4:0", NULL},
    {"1.2.3.4:65536", NULL},
    {"1.2.3.4:1x", NULL},
    {"::1:51820", NULL},
    {"[::1]", NULL},
    {"[::1:51820", NULL},
    {"[1.2.3.4]:5", NULL},
    {"[fe80::1%nosuchif]:5", NULL},
    {"[fe80::1%]:5", NULL},
    {"1.2.3.4%1:5", NULL},
    {"host:5", NULL},
    {":5", NULL},
    {"[]:5", NULL},
};

START_TEST(endpoint_text)
{
    union endpoint endpoint;
    union endpoint again;
    char text[ENDPOINT_TEXT];
    bool ok = endpoint_parse(&endpoint, endpoints[_i].text);
    ck_assert(ok == (endpoints[_i].formatted != NULL));
    if (!ok)
        return;
    ck_assert_str_eq(endpoint_format(&endpoint, text), endpoints[_i].formatted);
    ck_assert(endpoint_parse(&again, text));
    ck_assert(endpoint_equal(&endpoint, &again));
    ck_assert(endpoint_is_set(&endpoint));
}
END_TEST

START_TEST(endpoints_differ)
{
    static const char *const text[] = {"1.2.3.4:5",   "1.2.3.5:5",     "1.2.3.4:6",
                                       "[::1]:5",     "[::1]:6",       "[::2]:5",
                                       "[fe80::1]:5", "[fe80::1%1]:5", "[fe80::1%2]:5"};
    for (size_t i = 0; i < ARRAY_LEN(text); i++) {
        for (size_t j = 0; j < ARRAY_LEN(text); j++) {
            union endpoint a;
            union endpoint b;
            ck_assert(endpoint_parse(&a, text[i]) && endpoint_parse(&b, text[j]));
            ck_assert(endpoint_equal(&a, &b) == (i == j));
        }
    }
}
END_TEST

/* Whether the first `len` bits are equal, one by one. */
static bool same_bits(const struct ip_addr *a, const struct ip_addr *b, unsigned len)
{
    for (unsigned i = 0; i < len; i++)
        if (((a->bytes[i / 8] ^ b->bytes[i / 8]) >> (7 - i % 8) & 1) != 0)
            return false;
    return true;
}

START_TEST(containment_by_brute_force)
{
    srandom(7);
    for (int round = 0; round < 20000; round++) {
        struct ip_prefix a = {.addr.family = random() % 8 == 0 ? 4 : 6};
        struct ip_prefix b = {.addr.family = random() % 8 == 0 ? 4 : 6};
        for (size_t i = 0; i < ip_addr_len(&a.addr); i++)
            a.addr.bytes[i] = (uint8_t)random();
        b.addr.family = random() % 8 == 0 ? (a.addr.family == 4 ? 6 : 4) : a.addr.family;
        memcpy(b.addr.bytes, a.addr.bytes, ip_addr_len(&b.addr));
        unsigned flip = (unsigned)random() % ip_addr_bits(&b.addr);
        b.addr.bytes[flip / 8] ^= (uint8_t)(0x80 >> flip % 8);
        a.len = (uint8_t)((unsigned)random() % (ip_addr_bits(&a.addr) + 1U));
        b.len = (uint8_t)((unsigned)random() % (ip_addr_bits(&b.addr) + 1U));
        bool family = a.addr.family == b.addr.family;
        unsigned shorter = a.len < b.len ? a.len : b.len;
        ck_assert(ip_prefix_contains(&a, &b.addr) ==
                  (family && same_bits(&a.addr, &b.addr, a.len)));
        ck_assert(ip_prefix_overlaps(&a, &b) == (family && same_bits(&a.addr, &b.addr, shorter)));
        ck_assert(ip_prefix_overlaps(&b, &a) == ip_prefix_overlaps(&a, &b));
    }
}
END_TEST

static const struct {
    const char *from;
    uint64_t add;
    const char *to; /* NULL: overflow */
} sums[] = {
    {"10.0.0.1", 0, "10.0.0.1"},
    {"10.0.0.255", 1, "10.0.1.0"},
    {"10.0.255.255", 65537, "10.2.0.0"},
    {"255.255.255.255", 1, NULL},
    {"0.0.0.0", UINT64_C(1) << 32, NULL},
    {"fd00::ffff:ffff", 1, "fd00::1:0:0"},
    {"::", UINT64_MAX, "::ffff:ffff:ffff:ffff"},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1, NULL},
};

START_TEST(addition)
{
    struct ip_addr addr;
    char text[IP_ADDR_TEXT];
    ck_assert(ip_addr_parse(&addr, sums[_i].from));
    ck_assert(ip_addr_add(&addr, sums[_i].add) == (sums[_i].to != NULL));
    const char *expected = sums[_i].to != NULL ? sums[_i].to : sums[_i].from;
    ck_assert_str_eq(ip_addr_format(&addr, text), expected);
}
END_TEST

START_TEST(numbers)
{
    static const struct {
        const char *text;
        bool ok;
    } table[] = {{"0", true},
                 {"1", true},
                 {"100", true},
                 {"101", false},
                 {"", false},
                 {"01", false},
                 {"-1", false},
                 {"+1", false},
                 {" 1", false},
                 {"1 ", false},
                 {"0x1", false},
                 {"1e1", false},
                 {"18446744073709551616", false}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        uint64_t value = 77;
        ck_assert_msg(parse_number(&value, table[i].text, 0, 100) == table[i].ok, "%s",
                      table[i].text);
        ck_assert(table[i].ok || value == 77);
    }
    uint64_t value;
    ck_assert(parse_number(&value, "18446744073709551615", 0, UINT64_MAX));
    ck_assert_uint_eq(value, UINT64_MAX);
    ck_assert(!parse_number(&value, "4", 5, 9));
}
END_TEST

static const struct {
    const char *text;
    const char *becomes;
} mapped[] = {
    {"[::ffff:192.0.2.1]:51820", "192.0.2.1:51820"},
    {"[::ffff:c000:201]:1", "192.0.2.1:1"},
    {"192.0.2.1:7", "192.0.2.1:7"},
    {"[2001:db8::1]:7", "[2001:db8::1]:7"},
    {"[::fffe:192.0.2.1]:7", "[::fffe:c000:201]:7"},
    {"[::192.0.2.1]:7", NULL}, /* IPv4-compatible is another form */
};

START_TEST(mapped_addresses_become_ipv4)
{
    union endpoint endpoint;
    char before[ENDPOINT_TEXT];
    char after[ENDPOINT_TEXT];
    ck_assert(endpoint_parse(&endpoint, mapped[_i].text));
    endpoint_format(&endpoint, before);
    endpoint_unmap(&endpoint);
    ck_assert_str_eq(endpoint_format(&endpoint, after),
                     mapped[_i].becomes != NULL ? mapped[_i].becomes : before);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("addr");
    tcase_add_loop_test(tc, addr_text, 0, ARRAY_LEN(addrs));
    tcase_add_loop_test(tc, prefix_text, 0, ARRAY_LEN(prefixes));
    tcase_add_loop_test(tc, endpoint_text, 0, ARRAY_LEN(endpoints));
    tcase_add_test(tc, endpoints_differ);
    tcase_add_loop_test(tc, mapped_addresses_become_ipv4, 0, ARRAY_LEN(mapped));
    tcase_add_test(tc, containment_by_brute_force);
    tcase_add_loop_test(tc, addition, 0, ARRAY_LEN(sums));
    tcase_add_test(tc, numbers);
    return unit_run(tc);
}
