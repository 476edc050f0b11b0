#include "wg/ratelimit.h"

#include "base/clock.h"
#include "tests/unit.h"

#include <string.h>

static struct ratelimit limit;
static const uint8_t seed[16] = {1, 2, 3};

static struct ip_addr addr(const char *text)
{
    struct ip_addr out;
    ck_assert(ip_addr_parse(&out, text));
    return out;
}

/* One clock, in milliseconds; sources have buckets of their own unless they share one. */
static const struct {
    int line;
    uint64_t ms;
    const char *source;
    bool allowed;
} steps[] = {
    {1, 0, "10.0.0.1", true},
    {2, 0, "10.0.0.1", true},
    {3, 0, "10.0.0.1", true},
    {4, 0, "10.0.0.1", true},
    {5, 0, "10.0.0.1", true},
    {6, 0, "10.0.0.1", false},
    {7, 0, "10.0.0.2", true}, /* another address */
    {8, 49, "10.0.0.1", false},
    {9, 50, "10.0.0.1", true}, /* a token every 50 ms */
    {10, 50, "10.0.0.1", false},
    {11, 99, "10.0.0.1", false},
    {12, 150, "10.0.0.1", true},
    {13, 150, "10.0.0.1", true},
    {14, 150, "10.0.0.1", false},
    {15, 5000, "10.0.0.1", true}, /* full again, and no fuller than 5 */
    {16, 5000, "10.0.0.1", true},
    {17, 5000, "10.0.0.1", true},
    {18, 5000, "10.0.0.1", true},
    {19, 5000, "10.0.0.1", true},
    {20, 5000, "10.0.0.1", false},
    {21, 5000, "2001:db8:1:1::1", true}, /* a /64 is one source */
    {22, 5000, "2001:db8:1:1::2", true},
    {23, 5000, "2001:db8:1:1:ffff::", true},
    {24, 5000, "2001:db8:1:1::3", true},
    {25, 5000, "2001:db8:1:1::4", true},
    {26, 5000, "2001:db8:1:1::5", false},
    {27, 5000, "2001:db8:1:2::5", true},
    {28, 5000, "::a00:1", true}, /* the /64 of zeros */
};

START_TEST(numbered_steps)
{
    ratelimit_init(&limit, seed);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct ip_addr source = addr(steps[i].source);
        ck_assert_msg(ratelimit_allow(&limit, &source, steps[i].ms * NS_PER_MS) == steps[i].allowed,
                      "step %d", steps[i].line);
    }
}
END_TEST

/* An IPv4 address and a /64 of the same number are two, also where the seed puts them together. */
START_TEST(families_apart)
{
    struct ip_addr four = addr("10.0.0.1");
    struct ip_addr six = addr("0:0:a00:1::");
    bool apart = true;
    for (int i = 0; i < 3000; i++) {
        uint8_t any_seed[16] = {(uint8_t)i, (uint8_t)(i >> 8)};
        ratelimit_init(&limit, any_seed);
        for (int n = 0; n < RATELIMIT_BURST; n++)
            apart = apart && ratelimit_allow(&limit, &four, 0);
        apart = apart && ratelimit_allow(&limit, &six, 0);
    }
    ck_assert(apart);
}
END_TEST

/* 10 s of 1000 attempts a second: the burst and then 20 a second. */
START_TEST(long_run)
{
    struct ip_addr source = addr("192.0.2.1");
    int allowed = 0;
    ratelimit_init(&limit, seed);
    for (uint64_t ms = 0; ms < 10000; ms++)
        allowed += ratelimit_allow(&limit, &source, ms * NS_PER_MS);
    ck_assert_int_eq(allowed, 5 + 199);
}
END_TEST

/* More sources than places: those beyond are refused, none gets a second burst, and 250 ms later
 * every place is free again. */
START_TEST(full_table)
{
    enum { SOURCES = 40000 };
    static uint8_t count[SOURCES];
    struct ip_addr source = addr("10.0.0.0");
    memset(count, 0, sizeof count);
    ratelimit_init(&limit, seed);
    int known = 0;
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < SOURCES; i++) {
            source.bytes[1] = (uint8_t)(i >> 16);
            source.bytes[2] = (uint8_t)(i >> 8);
            source.bytes[3] = (uint8_t)i;
            count[i] = (uint8_t)(count[i] + ratelimit_allow(&limit, &source, NS_PER_SEC));
        }
    }
    for (int i = 0; i < SOURCES; i++) {
        ck_assert(count[i] == 0 || count[i] == RATELIMIT_BURST);
        known += count[i] != 0;
    }
    ck_assert_int_eq(known, RATELIMIT_SETS * RATELIMIT_WAYS);
    source = addr("203.0.113.7");
    ck_assert(!ratelimit_allow(&limit, &source, NS_PER_SEC + 249 * NS_PER_MS));
    ck_assert(ratelimit_allow(&limit, &source, NS_PER_SEC + 250 * NS_PER_MS));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("ratelimit");
    tcase_add_test(tc, numbered_steps);
    tcase_add_test(tc, families_apart);
    tcase_add_test(tc, long_run);
    tcase_add_test(tc, full_table);
    return unit_run(tc);
}
