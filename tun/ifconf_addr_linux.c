#include "tun/ifconf_linux.h"

#include <errno.h>
#include <linux/if_addr.h>

/* A request for one address of one interface, with the flags that an IPv6 address of a tunnel
 * needs: no other host can have it, and it must work at once. */
static void request_addr(struct request *request, uint16_t type, uint16_t flags, uint32_t ifindex,
                         const struct ip_prefix *addr)
{
    struct ifaddrmsg *ifa = request_init(request, type, flags, sizeof *ifa);
    ifa->ifa_family = af_of_family(addr->addr.family);
    ifa->ifa_prefixlen = addr->len;
    ifa->ifa_index = ifindex;
    request_put_addr(request, IFA_LOCAL, &addr->addr);
    request_put_addr(request, IFA_ADDRESS, &addr->addr);
    uint32_t flags_wanted = IFA_F_NOPREFIXROUTE; /* the caller sets the routes */
    if (addr->addr.family == 6)
        flags_wanted |= IFA_F_NODAD;
    mnl_attr_put_u32(request->nlh, IFA_FLAGS, flags_wanted);
}

int ifconf_addr_add(struct ifconf_socket *conf, uint32_t ifindex, const struct ip_prefix *addr)
{
    struct request request;
    if (addr->addr.family == 0)
        return -EINVAL;
    request_addr(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, ifindex, addr);
    int rc = request_run(conf, &request, NULL, NULL);
    return rc == -EEXIST ? 0 : rc;
}

int ifconf_addr_del(struct ifconf_socket *conf, uint32_t ifindex, const struct ip_prefix *addr)
{
    struct request request;
    if (addr->addr.family == 0)
        return -EINVAL;
    request_addr(&request, RTM_DELADDR, 0, ifindex, addr);
    int rc = request_run(conf, &request, NULL, NULL);
    return rc == -EADDRNOTAVAIL || rc == -ENXIO ? 0 : rc; /* ENXIO: no IPv6 on it */
}

struct listing {
    struct vector found;
    uint32_t ifindex;
};

static int take_addr(const struct nlmsghdr *nlh, void *ctx)
{
    struct listing *listing = ctx;
    const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
    const struct nlattr *attrs[IFA_FLAGS + 1];
    if (nlh->nlmsg_type != RTM_NEWADDR || mnl_nlmsg_get_payload_len(nlh) < sizeof *ifa ||
        (listing->ifindex != 0 && ifa->ifa_index != listing->ifindex))
        return 0;
    attrs_parse(nlh, sizeof *ifa, attrs, IFA_FLAGS);
    struct ip_addr addr;
    attr_addr(attrs[IFA_LOCAL] != NULL ? attrs[IFA_LOCAL] : attrs[IFA_ADDRESS], ifa->ifa_family,
              &addr);
    if (addr.family == 0)
        return 0;
    struct ifconf_addr *out = vector_add(&listing->found, sizeof *out);
    if (out == NULL)
        return -ENOMEM;
    uint32_t flags = attr_u32(attrs[IFA_FLAGS], ifa->ifa_flags);
    out->ifindex = ifa->ifa_index;
    out->prefix = (struct ip_prefix){.addr = addr, .len = ifa->ifa_prefixlen};
    out->global = ifa->ifa_scope == RT_SCOPE_UNIVERSE &&
                  (flags & (IFA_F_DEPRECATED | IFA_F_TENTATIVE | IFA_F_DADFAILED)) == 0;
    return 0;
}

int ifconf_addr_list(struct ifconf_socket *conf, uint32_t ifindex, struct ifconf_addr **out,
                     size_t *count)
{
    struct request request;
    struct listing listing = {.ifindex = ifindex};
    struct ifaddrmsg *ifa = request_init(&request, RTM_GETADDR, NLM_F_DUMP, sizeof *ifa);
    ifa->ifa_family = AF_UNSPEC;
    int rc = request_run(conf, &request, take_addr, &listing);
    void *items = NULL;
    rc = vector_finish(&listing.found, rc, &items, count);
    if (rc == 0)
        *out = items;
    return rc;
}
