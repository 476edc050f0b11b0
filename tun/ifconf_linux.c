#include "tun/ifconf_linux.h"

#include <assert.h>
#include <errno.h>
#include <linux/if.h>
#include <stdlib.h>
#include <string.h>

enum {
    RECEIVE_BUFFER = 32768, /* one netlink datagram, as the kernel sizes its dumps */
};

static_assert((int)IFCONF_NAME_LEN == (int)IFNAMSIZ, "interface names");

int ifconf_open(struct ifconf_socket **out)
{
    struct ifconf_socket *conf = calloc(1, sizeof *conf);
    if (conf == NULL)
        return -ENOMEM;
    conf->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (conf->socket == NULL || mnl_socket_bind(conf->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
        int rc = -errno;
        ifconf_close(conf);
        return rc;
    }
    int on = 1; /* without it the kernel ignores the dump's filter */
    mnl_socket_setsockopt(conf->socket, NETLINK_GET_STRICT_CHK, &on, sizeof on);
    *out = conf;
    return 0;
}

void ifconf_close(struct ifconf_socket *conf)
{
    if (conf == NULL)
        return;
    if (conf->socket != NULL)
        mnl_socket_close(conf->socket);
    free(conf);
}

/* ---- requests and answers */

void *request_init(struct request *request, uint16_t type, uint16_t flags, size_t header_len)
{
    request->nlh = mnl_nlmsg_put_header(request->buf);
    request->nlh->nlmsg_type = type;
    request->nlh->nlmsg_flags = NLM_F_REQUEST | flags;
    return mnl_nlmsg_put_extra_header(request->nlh, header_len);
}

void request_put_addr(struct request *request, uint16_t attr, const struct ip_addr *addr)
{
    mnl_attr_put(request->nlh, attr, ip_addr_len(addr), addr->bytes);
}

struct answer {
    uint32_t seq;
    bool expects_ack;
    bool done;
    bool interrupted;
};

static int take_error(const struct nlmsghdr *nlh, struct answer *answer)
{
    const struct nlmsgerr *error = mnl_nlmsg_get_payload(nlh);
    answer->done = true;
    if (mnl_nlmsg_get_payload_len(nlh) < sizeof error->error)
        return -EBADMSG;
    return error->error > 0 ? -error->error : error->error;
}

/* Handles one datagram of the answer. */
static int take_datagram(struct answer *answer, const void *buf, size_t len,
                         int (*take)(const struct nlmsghdr *nlh, void *ctx), void *ctx)
{
    int left = (int)len;
    int rc = 0;
    for (const struct nlmsghdr *nlh = buf; mnl_nlmsg_ok(nlh, left) && !answer->done;
         nlh = mnl_nlmsg_next(nlh, &left)) {
        if (nlh->nlmsg_seq != answer->seq)
            continue;
        if ((nlh->nlmsg_flags & NLM_F_DUMP_INTR) != 0)
            answer->interrupted = true;
        if (nlh->nlmsg_type == NLMSG_ERROR)
            return take_error(nlh, answer);
        if (nlh->nlmsg_type == NLMSG_DONE)
            answer->done = true;
        else if (nlh->nlmsg_type >= NLMSG_MIN_TYPE && take != NULL && rc == 0)
            rc = take(nlh, ctx);
        if ((nlh->nlmsg_flags & NLM_F_MULTI) == 0 && !answer->expects_ack)
            answer->done = true;
    }
    return rc;
}

int request_run(struct ifconf_socket *conf, struct request *request,
                int (*take)(const struct nlmsghdr *nlh, void *ctx), void *ctx)
{
    uint32_t buf[RECEIVE_BUFFER / 4];
    struct answer answer = {.seq = ++conf->seq, .expects_ack = take == NULL};
    int rc = 0;
    request->nlh->nlmsg_seq = answer.seq;
    if (answer.expects_ack)
        request->nlh->nlmsg_flags |= NLM_F_ACK;
    if (mnl_socket_sendto(conf->socket, request->nlh, request->nlh->nlmsg_len) < 0)
        return -errno;
    while (!answer.done) {
        ssize_t n = mnl_socket_recvfrom(conf->socket, buf, sizeof buf);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        int taken = take_datagram(&answer, buf, (size_t)n, take, ctx);
        rc = rc == 0 ? taken : rc;
    }
    return rc == 0 && answer.interrupted ? -EINTR : rc;
}

struct attr_table {
    const struct nlattr **attrs;
    uint16_t max;
};

static int take_attr(const struct nlattr *attr, void *data)
{
    struct attr_table *table = data;
    if (mnl_attr_get_type(attr) <= table->max)
        table->attrs[mnl_attr_get_type(attr)] = attr;
    return MNL_CB_OK;
}

void attrs_parse(const struct nlmsghdr *nlh, size_t header_len, const struct nlattr **attrs,
                 uint16_t max)
{
    struct attr_table table = {attrs, max};
    memset(attrs, 0, (max + 1u) * sizeof *attrs);
    mnl_attr_parse(nlh, (unsigned)header_len, take_attr, &table);
}

uint32_t attr_u32(const struct nlattr *attr, uint32_t otherwise)
{
    if (attr == NULL || mnl_attr_get_payload_len(attr) < sizeof otherwise)
        return otherwise;
    return mnl_attr_get_u32(attr);
}

void attr_addr(const struct nlattr *attr, uint8_t af, struct ip_addr *out)
{
    *out = (struct ip_addr){.family = family_of_af(af)};
    if (attr == NULL || out->family == 0 || mnl_attr_get_payload_len(attr) != ip_addr_len(out))
        *out = (struct ip_addr){0};
    else
        memcpy(out->bytes, mnl_attr_get_payload(attr), ip_addr_len(out));
}

uint8_t af_of_family(uint8_t family)
{
    return family == 4 ? AF_INET : AF_INET6;
}

uint8_t family_of_af(uint8_t af)
{
    return af == AF_INET ? 4 : af == AF_INET6 ? 6 : 0;
}

void *vector_add(struct vector *vector, size_t size)
{
    if (vector->count == vector->capacity) {
        size_t capacity = vector->capacity == 0 ? 16 : 2 * vector->capacity;
        void *items = realloc(vector->items, capacity * size);
        if (items == NULL)
            return NULL;
        vector->items = items;
        vector->capacity = capacity;
    }
    void *item = (char *)vector->items + vector->count++ * size;
    memset(item, 0, size);
    return item;
}

int vector_finish(struct vector *vector, int rc, void **out, size_t *count)
{
    if (rc < 0) {
        free(vector->items);
        return rc;
    }
    *out = vector->items;
    *count = vector->count;
    return 0;
}

/* ---- links */

static int take_link(const struct nlmsghdr *nlh, void *ctx)
{
    struct ifconf_link *out = ctx;
    const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
    const struct nlattr *attrs[IFLA_MTU + 1];
    if (nlh->nlmsg_type != RTM_NEWLINK || mnl_nlmsg_get_payload_len(nlh) < sizeof *ifi)
        return 0;
    attrs_parse(nlh, sizeof *ifi, attrs, IFLA_MTU);
    *out = (struct ifconf_link){
        .ifindex = (uint32_t)ifi->ifi_index,
        .mtu = attr_u32(attrs[IFLA_MTU], 0),
        .up = (ifi->ifi_flags & IFF_UP) != 0,
        .loopback = (ifi->ifi_flags & IFF_LOOPBACK) != 0,
    };
    if (attrs[IFLA_IFNAME] != NULL)
        strncpy(out->name, mnl_attr_get_str(attrs[IFLA_IFNAME]), sizeof out->name - 1);
    return 0;
}

static int link_query(struct ifconf_socket *conf, uint32_t ifindex, const char *name,
                      struct ifconf_link *out)
{
    struct request request;
    struct ifconf_link link = {0};
    struct ifinfomsg *ifi = request_init(&request, RTM_GETLINK, 0, sizeof *ifi);
    ifi->ifi_index = (int)ifindex;
    if (name != NULL)
        mnl_attr_put_strz(request.nlh, IFLA_IFNAME, name);
    int rc = request_run(conf, &request, take_link, &link);
    if (rc == 0)
        *out = link;
    return rc;
}

int ifconf_link_get(struct ifconf_socket *conf, uint32_t ifindex, struct ifconf_link *out)
{
    return ifindex == 0 ? -ENODEV : link_query(conf, ifindex, NULL, out);
}

int ifconf_link_find(struct ifconf_socket *conf, const char *name, struct ifconf_link *out)
{
    if (name[0] == '\0' || strlen(name) >= IFCONF_NAME_LEN)
        return -ENODEV;
    return link_query(conf, 0, name, out);
}

int ifconf_link_set_up(struct ifconf_socket *conf, uint32_t ifindex, bool up)
{
    struct request request;
    struct ifinfomsg *ifi = request_init(&request, RTM_NEWLINK, 0, sizeof *ifi);
    ifi->ifi_index = (int)ifindex;
    ifi->ifi_change = IFF_UP;
    ifi->ifi_flags = up ? IFF_UP : 0;
    return ifindex == 0 ? -ENODEV : request_run(conf, &request, NULL, NULL);
}

int ifconf_link_set_name(struct ifconf_socket *conf, uint32_t ifindex, const char *name)
{
    struct request request;
    struct ifinfomsg *ifi = request_init(&request, RTM_NEWLINK, 0, sizeof *ifi);
    ifi->ifi_index = (int)ifindex;
    mnl_attr_put_strz(request.nlh, IFLA_IFNAME, name);
    return ifindex == 0 ? -ENODEV : request_run(conf, &request, NULL, NULL);
}

int ifconf_link_set_mtu(struct ifconf_socket *conf, uint32_t ifindex, uint32_t mtu)
{
    struct request request;
    struct ifinfomsg *ifi = request_init(&request, RTM_NEWLINK, 0, sizeof *ifi);
    ifi->ifi_index = (int)ifindex;
    mnl_attr_put_u32(request.nlh, IFLA_MTU, mtu);
    return ifindex == 0 ? -ENODEV : request_run(conf, &request, NULL, NULL);
}

int ifconf_link_del(struct ifconf_socket *conf, uint32_t ifindex)
{
    struct request request;
    struct ifinfomsg *ifi = request_init(&request, RTM_DELLINK, 0, sizeof *ifi);
    ifi->ifi_index = (int)ifindex;
    int rc = ifindex == 0 ? 0 : request_run(conf, &request, NULL, NULL);
    return rc == -ENODEV ? 0 : rc;
}
