#include "control/state/prefix_rules.h"

#include "tests/unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *network;
    bool reserved;
} networks[] = {
    {"10.0.0.0/8", false},   {"8.0.0.0/7", false},     {"0.0.0.0/1", true},
    {"0.0.0.0/2", true},     {"128.0.0.0/1", true},    {"64.0.0.0/2", true},
    {"127.0.0.1/32", true},  {"169.254.0.0/24", true}, {"255.255.255.255/32", true},
    {"fd00::/8", false},     {"2000::/3", false},      {"::/1", true},
    {"8000::/1", true},      {"fe80::1/128", true},    {"ff02::1/128", true},
    {"::ffff:0:0/96", true},
};

START_TEST(reserved)
{
    struct ip_prefix prefix;
    ck_assert(ip_prefix_parse(&prefix, networks[_i].network));
    ck_assert_msg(prefix_is_reserved(&prefix) == networks[_i].reserved, "%s", networks[_i].network);
}
END_TEST

/* A list of networks, separated by spaces. */
static const struct {
    const char *list;
    bool too_much;
} covers[] = {
    {"", false},
    {"0.0.0.0/0 ::/0", false}, /* a default route is another matter */
    {"10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 fd00::/8 fc00::/8", false},
    {"32.0.0.0/3", false},
    {"32.0.0.0/3 32.0.0.0/3 33.0.0.0/8 10.0.0.0/8", false}, /* inside one another */
    {"32.0.0.0/3 8.8.8.0/24", true},
    {"0.0.0.0/1", true},
    {"0.0.0.0/1 128.0.0.0/1", true},
    {"0.0.0.0/2 64.0.0.0/2 128.0.0.0/2 192.0.0.0/2", true},
    {"16.0.0.0/4 32.0.0.0/4 48.0.0.0/4", true},
    {"1.0.0.0/8 2.0.0.0/7 4.0.0.0/6 8.0.0.0/5 16.0.0.0/4 32.0.0.0/3", true},
    {"2000::/3", true},
    {"2000::/4 3000::/4", true},
    {"2000::/6", false},
    {"2000::/6 2400::/16", true},
    {"2a00::/12 2600::/12 2001:db8::/32", false},
    {"::/1 8000::/1", true},
};

static size_t parse(const char *text, struct ip_prefix *out)
{
    char copy[512];
    size_t count = 0;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " "))
        ck_assert(ip_prefix_parse(&out[count++], word));
    return count;
}

START_TEST(coverage)
{
    struct ip_prefix list[16];
    size_t count = parse(covers[_i].list, list);
    ck_assert_msg(prefixes_cover_too_much(list, count) == covers[_i].too_much, "%s",
                  covers[_i].list);
}
END_TEST

/* The internet in pieces of any size, in any order. */
START_TEST(pieces)
{
    uint8_t len = (uint8_t)(4 + _i);
    size_t count = (size_t)1 << len;
    struct ip_prefix *list = calloc(count, sizeof *list);
    ck_assert_ptr_nonnull(list);
    for (size_t i = 0; i < count; i++) {
        uint32_t network = (uint32_t)(i * 2654435761U % count) << (32 - len);
        list[i] = (struct ip_prefix){.addr = {.family = 4}, .len = len};
        for (int byte = 0; byte < 4; byte++)
            list[i].addr.bytes[byte] = (uint8_t)(network >> (24 - 8 * byte));
    }
    ck_assert(prefixes_cover_too_much(list, count / 4));
    ck_assert(prefixes_cover_too_much(list, count));
    free(list);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("prefix_rules");
    tcase_add_loop_test(tc, reserved, 0, ARRAY_LEN(networks));
    tcase_add_loop_test(tc, coverage, 0, ARRAY_LEN(covers));
    tcase_add_loop_test(tc, pieces, 0, 12);
    return unit_run(tc);
}
