#include "control/state/prefix_rules.h"

#include <stdint.h>
#include <stdlib.h>

static bool overlaps_any(const struct ip_prefix *network, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ip_prefix prefix;
        if (ip_prefix_parse(&prefix, list[i]) && ip_prefix_overlaps(&prefix, network))
            return true;
    }
    return false;
}

bool prefix_is_reserved(const struct ip_prefix *network)
{
    static const char *const reserved[] = {"0.0.0.0/8",   "127.0.0.0/8", "169.254.0.0/16",
                                           "224.0.0.0/3", "::/16",       "fe80::/10",
                                           "ff00::/8"};
    return overlaps_any(network, reserved, sizeof reserved / sizeof reserved[0]);
}

/* RFC 1918, RFC 6598, RFC 4193. */
static bool is_private(const struct ip_prefix *network)
{
    static const char *const private[] = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
                                          "100.64.0.0/10", "fc00::/7"};
    for (size_t i = 0; i < sizeof private / sizeof private[0]; i++) {
        struct ip_prefix prefix;
        if (ip_prefix_parse(&prefix, private[i]) && prefix.len <= network->len &&
            ip_prefix_contains(&prefix, &network->addr))
            return true;
    }
    return false;
}

static int compare(const void *a, const void *b)
{
    const struct ip_prefix *x = a;
    const struct ip_prefix *y = b;
    int order = ip_addr_compare(&x->addr, &y->addr);
    return order != 0 ? order : x->len - y->len;
}

/* The share of its family's addresses, in parts of 2^-62. */
static uint64_t share_of(const struct ip_prefix *network)
{
    return network->len <= 62 ? UINT64_C(1) << (62 - network->len) : 0;
}

/* In order, a network comes right before those inside it, which add nothing. */
bool prefixes_cover_too_much(struct ip_prefix *list, size_t count)
{
    static const uint64_t limit4 = UINT64_C(1) << (62 - 3); /* /3 */
    static const uint64_t limit6 = UINT64_C(1) << (62 - 6); /* /6: an eighth of 2000::/3 */
    const struct ip_prefix *last = NULL;
    uint64_t share4 = 0;
    uint64_t share6 = 0;
    if (count > 1)
        qsort(list, count, sizeof *list, compare);
    for (size_t i = 0; i < count; i++) {
        bool is_inside = last != NULL && last->len <= list[i].len &&
                         last->addr.family == list[i].addr.family &&
                         ip_prefix_contains(last, &list[i].addr);
        if (is_inside || list[i].len == 0 || is_private(&list[i]))
            continue;
        last = &list[i];
        *(list[i].addr.family == 4 ? &share4 : &share6) += share_of(&list[i]);
    }
    return share4 > limit4 || share6 > limit6;
}
