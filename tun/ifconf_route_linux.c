#include "tun/ifconf_linux.h"

#include <errno.h>
#include <string.h>

/* The part that all route requests have in common. */
static struct rtmsg *request_route(struct request *request, uint16_t type, uint16_t flags,
                                   const struct ifconf_route *route)
{
    struct ip_prefix prefix = route->prefix;
    ip_prefix_mask(&prefix);
    uint32_t table = route->table != 0 ? route->table : RT_TABLE_MAIN;
    struct rtmsg *rtm = request_init(request, type, flags, sizeof *rtm);
    rtm->rtm_family = af_of_family(prefix.addr.family);
    rtm->rtm_dst_len = prefix.len;
    rtm->rtm_table = table < 256 ? (uint8_t)table : RT_TABLE_UNSPEC;
    rtm->rtm_protocol = route->protocol != 0 ? route->protocol : IFCONF_PROTOCOL;
    mnl_attr_put_u32(request->nlh, RTA_TABLE, table);
    request_put_addr(request, RTA_DST, &prefix.addr);
    if (route->ifindex != 0)
        mnl_attr_put_u32(request->nlh, RTA_OIF, route->ifindex);
    if (route->metric != 0)
        mnl_attr_put_u32(request->nlh, RTA_PRIORITY, route->metric);
    return rtm;
}

int ifconf_route_set(struct ifconf_socket *conf, const struct ifconf_route *route)
{
    struct request request;
    if (route->prefix.addr.family == 0)
        return -EINVAL;
    struct rtmsg *rtm = request_route(&request, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route);
    rtm->rtm_type = route->is_throw ? RTN_THROW : RTN_UNICAST;
    bool direct = route->gateway.family == 0;
    rtm->rtm_scope = direct && route->prefix.addr.family == 4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
    if (!direct)
        request_put_addr(&request, RTA_GATEWAY, &route->gateway);
    if (route->source.family != 0)
        request_put_addr(&request, RTA_PREFSRC, &route->source);
    return request_run(conf, &request, NULL, NULL);
}

int ifconf_route_del(struct ifconf_socket *conf, const struct ifconf_route *route)
{
    struct request request;
    if (route->prefix.addr.family == 0)
        return -EINVAL;
    struct rtmsg *rtm = request_route(&request, RTM_DELROUTE, 0, route);
    rtm->rtm_scope = RT_SCOPE_NOWHERE; /* any */
    int rc = request_run(conf, &request, NULL, NULL);
    return rc == -ESRCH || rc == -ENODEV ? 0 : rc; /* a route goes with its interface */
}

struct listing {
    struct vector found;
    uint32_t table;
    uint8_t protocol;
};

/* The first of several next hops. */
static void take_multipath(const struct nlattr *attr, uint8_t af, struct ifconf_route *out)
{
    const struct rtnexthop *hop = mnl_attr_get_payload(attr);
    size_t len = mnl_attr_get_payload_len(attr);
    if (len < sizeof *hop || hop->rtnh_len < sizeof *hop || hop->rtnh_len > len)
        return;
    out->ifindex = (uint32_t)hop->rtnh_ifindex;
    const struct nlattr *inner = (const void *)(hop + 1);
    int left = (int)(hop->rtnh_len - sizeof *hop);
    for (; mnl_attr_ok(inner, left); inner = mnl_attr_next(inner)) {
        if (mnl_attr_get_type(inner) == RTA_GATEWAY)
            attr_addr(inner, af, &out->gateway);
        left -= MNL_ALIGN(inner->nla_len);
    }
}

static int take_route(const struct nlmsghdr *nlh, void *ctx)
{
    struct listing *listing = ctx;
    const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
    const struct nlattr *attrs[RTA_TABLE + 1];
    if (nlh->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(nlh) < sizeof *rtm)
        return 0;
    attrs_parse(nlh, sizeof *rtm, attrs, RTA_TABLE);
    uint32_t table = attr_u32(attrs[RTA_TABLE], rtm->rtm_table);
    bool listed = rtm->rtm_type == RTN_UNICAST || rtm->rtm_type == RTN_THROW;
    if (table != listing->table || !listed || (rtm->rtm_flags & RTM_F_CLONED) != 0 ||
        (listing->protocol != 0 && rtm->rtm_protocol != listing->protocol))
        return 0;
    struct ifconf_route *out = vector_add(&listing->found, sizeof *out);
    if (out == NULL)
        return -ENOMEM;
    out->prefix.addr.family = family_of_af(rtm->rtm_family);
    if (attrs[RTA_DST] != NULL)
        attr_addr(attrs[RTA_DST], rtm->rtm_family, &out->prefix.addr);
    out->prefix.len = rtm->rtm_dst_len;
    out->table = table;
    out->is_throw = rtm->rtm_type == RTN_THROW;
    out->ifindex = attr_u32(attrs[RTA_OIF], 0);
    out->metric = attr_u32(attrs[RTA_PRIORITY], 0);
    out->protocol = rtm->rtm_protocol;
    attr_addr(attrs[RTA_GATEWAY], rtm->rtm_family, &out->gateway);
    attr_addr(attrs[RTA_PREFSRC], rtm->rtm_family, &out->source);
    if (attrs[RTA_MULTIPATH] != NULL)
        take_multipath(attrs[RTA_MULTIPATH], rtm->rtm_family, out);
    return 0;
}

int ifconf_route_list(struct ifconf_socket *conf, uint8_t family, uint32_t table, uint8_t protocol,
                      struct ifconf_route **out, size_t *count)
{
    struct request request;
    struct listing listing = {.table = table != 0 ? table : RT_TABLE_MAIN, .protocol = protocol};
    struct rtmsg *rtm = request_init(&request, RTM_GETROUTE, NLM_F_DUMP, sizeof *rtm);
    rtm->rtm_family = af_of_family(family);
    mnl_attr_put_u32(request.nlh, RTA_TABLE, listing.table);
    int rc = request_run(conf, &request, take_route, &listing);
    if (rc == -ENOENT) /* this table was never used */
        rc = 0;
    void *items = NULL;
    rc = vector_finish(&listing.found, rc, &items, count);
    if (rc == 0)
        *out = items;
    return rc;
}

/* ---- questions about the way to an address */

struct path {
    uint32_t mtu;
    uint32_t ifindex;
    bool local;
};

static int take_path(const struct nlmsghdr *nlh, void *ctx)
{
    struct path *path = ctx;
    const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
    const struct nlattr *attrs[RTA_TABLE + 1];
    if (nlh->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(nlh) < sizeof *rtm)
        return 0;
    if (rtm->rtm_type != RTN_UNICAST && rtm->rtm_type != RTN_LOCAL)
        return -ENETUNREACH;
    attrs_parse(nlh, sizeof *rtm, attrs, RTA_TABLE);
    path->ifindex = attr_u32(attrs[RTA_OIF], 0);
    path->local = rtm->rtm_type == RTN_LOCAL;
    if (attrs[RTA_METRICS] == NULL)
        return 0;
    const struct nlattr *metric = mnl_attr_get_payload(attrs[RTA_METRICS]);
    int left = mnl_attr_get_payload_len(attrs[RTA_METRICS]);
    for (; mnl_attr_ok(metric, left); metric = mnl_attr_next(metric)) {
        if (mnl_attr_get_type(metric) == RTAX_MTU)
            path->mtu = attr_u32(metric, 0);
        left -= MNL_ALIGN(metric->nla_len);
    }
    return 0;
}

static int find_path(struct ifconf_socket *conf, const struct ip_addr *dest,
                     const struct ip_addr *source, uint32_t fwmark, struct path *path)
{
    struct request request;
    struct rtmsg *rtm = request_init(&request, RTM_GETROUTE, 0, sizeof *rtm);
    rtm->rtm_family = af_of_family(dest->family);
    rtm->rtm_dst_len = ip_addr_bits(dest);
    request_put_addr(&request, RTA_DST, dest);
    if (source != NULL) {
        rtm->rtm_src_len = ip_addr_bits(source);
        request_put_addr(&request, RTA_SRC, source);
    }
    if (fwmark != 0)
        mnl_attr_put_u32(request.nlh, RTA_MARK, fwmark);
    int rc = request_run(conf, &request, take_path, path);
    return rc == -EHOSTUNREACH || rc == -ESRCH || rc == -ENODEV ? -ENETUNREACH : rc;
}

int ifconf_way_get(struct ifconf_socket *conf, const struct ip_addr *dest,
                   const struct ip_addr *source, uint32_t fwmark, struct ifconf_way *out)
{
    struct path path = {0};
    int rc = find_path(conf, dest, source, fwmark, &path);
    if (rc == 0)
        *out = (struct ifconf_way){.ifindex = path.ifindex, .local = path.local};
    return rc;
}

int ifconf_path_mtu(struct ifconf_socket *conf, const struct ip_addr *dest, uint32_t fwmark,
                    uint32_t *mtu)
{
    struct path path = {0};
    int rc = find_path(conf, dest, NULL, fwmark, &path);
    struct ifconf_link link = {.mtu = path.mtu};
    if (rc == 0 && path.mtu == 0)
        rc = ifconf_link_get(conf, path.ifindex, &link);
    if (rc == 0)
        *mtu = link.mtu;
    return rc;
}
