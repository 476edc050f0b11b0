#include "control/host/rules.h"

#include "base/log.h"
#include "control/host/slot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    RULE_PRIORITY = 5200, /* in front of the main table's rule */
    EXIT_RULES = 3,
    FORMER = 0x4845,
    MOVES_MAX = 16, /* to the front; after as many, the others are to have it */
};

void rules_init(struct rules *rules, struct ifconf_socket *conf, uint32_t mark, uint32_t table)
{
    *rules = (struct rules){.conf = conf, .mark = mark, .table = table};
    for (int i = 0; i < RULES_FAMILIES; i++)
        rules->priority[i] = RULE_PRIORITY;
}

static uint32_t *priority_of(struct rules *rules, uint8_t family)
{
    return &rules->priority[family == 6];
}

/* ---- what earlier runs left ---- */

/* The mark tells whose a rule is. Versions before 0.2.0 compared all of it, with FORMER in the upper
 * half. */
static bool is_stale(const struct rules *rules, const struct ifconf_rule *rule)
{
    if (rule->fwmask == SLOT_MARK_MASK)
        return rule->fwmark == rules->mark || slot_is_free(rule->fwmark);
    return rule->fwmask == 0 && rule->fwmark >> 16 == FORMER;
}

static void clean_family(struct rules *rules, uint8_t family)
{
    struct ifconf_rule *list = NULL;
    size_t count = 0;
    if (ifconf_rule_list(rules->conf, family, IFCONF_PROTOCOL, &list, &count) < 0)
        return;
    for (size_t i = 0; i < count; i++)
        if (!list[i].foreign && is_stale(rules, &list[i]))
            (void)ifconf_rule_del(rules->conf, &list[i]);
    free(list);
}

void rules_clean(struct rules *rules)
{
    clean_family(rules, 4);
    clean_family(rules, 6);
    rules->exit = false;
}

/* ---- the rules ---- */

/* A kernel without IPv6 is told apart from one that refuses. */
static int add_rule(struct rules *rules, const struct ifconf_rule *rule)
{
    int code = ifconf_rule_add(rules->conf, rule);
    return code == -EAFNOSUPPORT && rule->family == 6 ? 0 : code;
}

static struct ifconf_rule first_rule(struct rules *rules, uint8_t family)
{
    return ifconf_rule_unmarked_specific(family, rules->mark, SLOT_MARK_MASK, rules->table,
                                         *priority_of(rules, family));
}

static struct ifconf_rule exit_rule(const struct rules *rules, uint8_t family, int number)
{
    uint32_t priority = RULE_PRIORITY + 1 + (uint32_t)number;
    if (number == 0)
        return ifconf_rule_unmarked_specific(family, rules->mark, SLOT_MARK_MASK, IFCONF_TABLE_MAIN,
                                             priority);
    struct ifconf_rule rule = ifconf_rule_unmarked(family, rules->mark, SLOT_MARK_MASK,
                                                   number == 1 ? rules->table : 0, priority);
    rule.unreachable = number == 2;
    return rule;
}

/* Also where the tunnel has no IPv6: other interfaces may have it. */
static void add_exit_rules(struct rules *rules)
{
    for (uint8_t family = 4; family <= 6; family += 2)
        for (int number = 0; number < EXIT_RULES; number++) {
            struct ifconf_rule rule = exit_rule(rules, family, number);
            int code = add_rule(rules, &rule);
            if (code < 0)
                log_error("cannot set a routing rule of the exit node: traffic may leave this "
                          "host directly",
                          F_INT("ip_version", family), F_STR("error", strerror(-code)));
        }
}

/* The refusal first, so that nothing is refused in between. */
static void del_exit_rules(struct rules *rules)
{
    for (uint8_t family = 4; family <= 6; family += 2)
        for (int number = EXIT_RULES; number-- > 0;) {
            struct ifconf_rule rule = exit_rule(rules, family, number);
            (void)ifconf_rule_del(rules->conf, &rule);
        }
}

int rules_set(struct rules *rules, bool ipv6)
{
    if (rules->exit)
        add_exit_rules(rules);
    for (uint8_t family = 4; family <= 6; family += 2) {
        struct ifconf_rule rule = first_rule(rules, family);
        int code = family == 4 || ipv6 ? add_rule(rules, &rule) : 0;
        if (code < 0)
            return code;
    }
    return 0;
}

size_t rules_missing(struct rules *rules, bool ipv6)
{
    size_t missing = 0;
    for (uint8_t family = 4; family <= 6; family += 2) {
        struct ifconf_rule *list = NULL;
        size_t count = 0;
        size_t present = 0;
        size_t wanted = rules->exit ? EXIT_RULES : 0;
        if (family == 4 || ipv6)
            wanted++;
        if (ifconf_rule_list(rules->conf, family, IFCONF_PROTOCOL, &list, &count) < 0)
            continue;
        for (size_t i = 0; i < count; i++)
            if (list[i].fwmask == SLOT_MARK_MASK && list[i].fwmark == rules->mark)
                present++;
        missing += present < wanted ? wanted - present : 0;
        free(list);
    }
    return missing;
}

void rules_set_exit(struct rules *rules, bool exit)
{
    if (exit == rules->exit)
        return;
    rules->exit = exit;
    if (exit)
        add_exit_rules(rules);
    else
        del_exit_rules(rules);
}

/* ---- other programs' rules ---- */

/* The first priority at which a rule of another program stands in front of ours; UINT32_MAX: there
 * is none. The kernel's own rule for local addresses does not count. */
static uint32_t first_foreign(struct rules *rules, uint8_t family)
{
    enum { TABLE_LOCAL = 255 };
    struct ifconf_rule *list = NULL;
    size_t count = 0;
    uint32_t first = UINT32_MAX;
    if (ifconf_rule_list(rules->conf, family, 0, &list, &count) < 0)
        return first;
    for (size_t i = 0; i < count; i++) {
        bool counts = list[i].protocol != IFCONF_PROTOCOL && list[i].table != TABLE_LOCAL &&
                      list[i].priority < *priority_of(rules, family);
        if (counts && list[i].priority < first)
            first = list[i].priority;
    }
    free(list);
    return first;
}

/* The new rule before the old one goes, so that packets find one of them at all times. */
static int move(struct rules *rules, uint8_t family, uint32_t to)
{
    struct ifconf_rule former = first_rule(rules, family);
    struct ifconf_rule next = former;
    next.priority = to;
    int code = add_rule(rules, &next);
    if (code < 0)
        return code;
    *priority_of(rules, family) = to;
    return ifconf_rule_del(rules->conf, &former);
}

void rules_lead(struct rules *rules, const struct ip_addr *dest, uint32_t ifindex)
{
    struct ifconf_way way;
    int code = ifconf_way_get(rules->conf, dest, NULL, 0, &way);
    bool hidden = code == -ENETUNREACH || (code == 0 && way.ifindex != ifindex && !way.local);
    uint32_t first = hidden ? first_foreign(rules, dest->family) : UINT32_MAX;
    if (first == UINT32_MAX) {
        (void)log_once_reset(&rules->hidden);
        return;
    }
    if (first < 2 || rules->moves >= MOVES_MAX) {
        if (log_once(&rules->hidden))
            log_warn("another program's routing rule in front of the tunnel's takes its traffic: "
                     "remove that rule, or give it a higher number (ip rule)",
                     F_INT("ip_version", dest->family), F_INT("rule", (int64_t)first));
        return;
    }
    rules->moves++;
    code = move(rules, dest->family, first - 1);
    if (code < 0)
        log_warn("cannot move the tunnel's routing rule in front of another program's",
                 F_INT("rule", (int64_t)first), F_STR("error", strerror(-code)));
    else
        log_info("another program's routing rule took the tunnel's traffic: moved the tunnel's "
                 "rule in front of it",
                 F_INT("ip_version", dest->family), F_INT("rule", (int64_t)first));
}

bool rules_exit_holds(const struct rules *rules, uint32_t ifindex)
{
    static const char *const world[] = {"203.0.113.1", "2001:db8:ffff::1"}; /* RFC 5737, RFC 3849 */
    for (size_t i = 0; i < sizeof world / sizeof world[0]; i++) {
        struct ip_addr dest;
        struct ifconf_way way;
        if (!ip_addr_parse(&dest, world[i]) ||
            ifconf_way_get(rules->conf, &dest, NULL, 0, &way) < 0)
            continue; /* refused */
        if (way.ifindex != ifindex && !way.local)
            return false;
    }
    return true;
}
