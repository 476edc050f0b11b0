#include "tun/ifconf_linux.h"

#include <errno.h>
#include <linux/fib_rules.h>

enum { NO_SUPPRESS = 0xffffffff }; /* how the kernel shows a rule without it */

struct ifconf_rule ifconf_rule_unmarked(uint8_t family, uint32_t fwmark, uint32_t fwmask,
                                        uint32_t table, uint32_t priority)
{
    return (struct ifconf_rule){
        .family = family,
        .fwmark = fwmark,
        .fwmask = fwmask,
        .table = table,
        .priority = priority,
        .invert = true,
    };
}

struct ifconf_rule ifconf_rule_unmarked_specific(uint8_t family, uint32_t fwmark, uint32_t fwmask,
                                                 uint32_t table, uint32_t priority)
{
    struct ifconf_rule rule = ifconf_rule_unmarked(family, fwmark, fwmask, table, priority);
    rule.has_suppress = true;
    return rule;
}

static void request_rule(struct request *request, uint16_t type, uint16_t flags,
                         const struct ifconf_rule *rule)
{
    struct fib_rule_hdr *hdr = request_init(request, type, flags, sizeof *hdr);
    hdr->family = af_of_family(rule->family);
    hdr->action = rule->unreachable ? FR_ACT_UNREACHABLE : FR_ACT_TO_TBL;
    hdr->table = rule->table < 256 ? (uint8_t)rule->table : RT_TABLE_UNSPEC;
    hdr->flags = rule->invert ? FIB_RULE_INVERT : 0;
    if (!rule->unreachable)
        mnl_attr_put_u32(request->nlh, FRA_TABLE, rule->table);
    if (rule->priority != 0)
        mnl_attr_put_u32(request->nlh, FRA_PRIORITY, rule->priority);
    if (rule->fwmark != 0) {
        mnl_attr_put_u32(request->nlh, FRA_FWMARK, rule->fwmark);
        mnl_attr_put_u32(request->nlh, FRA_FWMASK, rule->fwmask != 0 ? rule->fwmask : UINT32_MAX);
    }
    if (rule->has_suppress)
        mnl_attr_put_u32(request->nlh, FRA_SUPPRESS_PREFIXLEN, rule->suppress_prefixlen);
    mnl_attr_put_u8(request->nlh, FRA_PROTOCOL,
                    rule->protocol != 0 ? rule->protocol : IFCONF_PROTOCOL);
}

int ifconf_rule_add(struct ifconf_socket *conf, const struct ifconf_rule *rule)
{
    struct request request;
    if ((rule->table == 0) != rule->unreachable)
        return -EINVAL;
    request_rule(&request, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule);
    int rc = request_run(conf, &request, NULL, NULL);
    return rc == -EEXIST ? 0 : rc;
}

int ifconf_rule_del(struct ifconf_socket *conf, const struct ifconf_rule *rule)
{
    struct request request;
    if ((rule->table == 0) != rule->unreachable)
        return -EINVAL;
    request_rule(&request, RTM_DELRULE, 0, rule);
    int rc = request_run(conf, &request, NULL, NULL);
    return rc == -ENOENT || rc == -EAFNOSUPPORT ? 0 : rc;
}

struct listing {
    struct vector found;
    uint8_t protocol;
};

static bool is_foreign(const struct fib_rule_hdr *hdr, const struct nlattr **attrs)
{
    static const uint16_t others[] = {FRA_IIFNAME,     FRA_OIFNAME,     FRA_GOTO,
                                      FRA_L3MDEV,      FRA_UID_RANGE,   FRA_IP_PROTO,
                                      FRA_SPORT_RANGE, FRA_DPORT_RANGE, FRA_SUPPRESS_IFGROUP};
    bool known = hdr->action == FR_ACT_TO_TBL || hdr->action == FR_ACT_UNREACHABLE;
    if (!known || hdr->src_len != 0 || hdr->dst_len != 0 || hdr->tos != 0)
        return true;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const struct nlattr *attr = attrs[others[i]];
        bool none = attr == NULL || (others[i] == FRA_SUPPRESS_IFGROUP &&
                                     attr_u32(attr, NO_SUPPRESS) == NO_SUPPRESS);
        if (!none)
            return true;
    }
    return false;
}

static int take_rule(const struct nlmsghdr *nlh, void *ctx)
{
    struct listing *listing = ctx;
    const struct fib_rule_hdr *hdr = mnl_nlmsg_get_payload(nlh);
    const struct nlattr *attrs[FRA_DPORT_RANGE + 1];
    if (nlh->nlmsg_type != RTM_NEWRULE || mnl_nlmsg_get_payload_len(nlh) < sizeof *hdr)
        return 0;
    attrs_parse(nlh, sizeof *hdr, attrs, FRA_DPORT_RANGE);
    uint8_t protocol = attrs[FRA_PROTOCOL] != NULL ? mnl_attr_get_u8(attrs[FRA_PROTOCOL]) : 0;
    if (listing->protocol != 0 && protocol != listing->protocol)
        return 0;
    struct ifconf_rule *out = vector_add(&listing->found, sizeof *out);
    if (out == NULL)
        return -ENOMEM;
    out->family = family_of_af(hdr->family);
    out->priority = attr_u32(attrs[FRA_PRIORITY], 0);
    out->table = attr_u32(attrs[FRA_TABLE], hdr->table);
    out->unreachable = hdr->action == FR_ACT_UNREACHABLE;
    out->fwmark = attr_u32(attrs[FRA_FWMARK], 0);
    uint32_t mask = attr_u32(attrs[FRA_FWMASK], UINT32_MAX);
    out->fwmask = mask == UINT32_MAX ? 0 : mask;
    out->invert = (hdr->flags & FIB_RULE_INVERT) != 0;
    uint32_t suppress = attr_u32(attrs[FRA_SUPPRESS_PREFIXLEN], NO_SUPPRESS);
    out->has_suppress = suppress != NO_SUPPRESS;
    out->suppress_prefixlen = out->has_suppress ? suppress : 0;
    out->protocol = protocol;
    out->foreign = is_foreign(hdr, attrs);
    return 0;
}

int ifconf_rule_list(struct ifconf_socket *conf, uint8_t family, uint8_t protocol,
                     struct ifconf_rule **out, size_t *count)
{
    struct request request;
    struct listing listing = {.protocol = protocol};
    struct fib_rule_hdr *hdr = request_init(&request, RTM_GETRULE, NLM_F_DUMP, sizeof *hdr);
    hdr->family = af_of_family(family);
    int rc = request_run(conf, &request, take_rule, &listing);
    void *items = NULL;
    rc = vector_finish(&listing.found, rc, &items, count);
    if (rc == 0)
        *out = items;
    return rc;
}
