#include "tun/nft_watch.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>

enum {
    RECEIVE_BUFFER = 32768,
    FAMILY_INET = 1, /* NFPROTO_INET; its header clashes with those of the C library */
    ANSWER_MS = 2000,
};

struct nft_watch {
    struct mnl_socket *socket;
};

int nft_watch_open(struct nft_watch **out)
{
    int group = NFNLGRP_NFTABLES;
    struct nft_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return -ENOMEM;
    watch->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int rc = 0;
    if (watch->socket == NULL || mnl_socket_bind(watch->socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
        mnl_socket_setsockopt(watch->socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0)
        rc = -errno;
    if (rc < 0) {
        nft_watch_close(watch);
        return rc;
    }
    *out = watch;
    return 0;
}

void nft_watch_close(struct nft_watch *watch)
{
    if (watch == NULL)
        return;
    if (watch->socket != NULL)
        mnl_socket_close(watch->socket);
    free(watch);
}

int nft_watch_fd(const struct nft_watch *watch)
{
    return mnl_socket_get_fd(watch->socket);
}

bool nft_watch_read(struct nft_watch *watch)
{
    uint32_t buf[RECEIVE_BUFFER / 4];
    bool news = false;
    for (;;) {
        ssize_t n = mnl_socket_recvfrom(watch->socket, buf, sizeof buf);
        if (n < 0 && errno != ENOBUFS && errno != ENOSPC && errno != EINTR)
            return news;
        news = true; /* lost messages are news too */
    }
}

/* ---- looking at a table ---- */

struct look {
    const char *name;
    struct nft_table_mark *mark;
};

static uint64_t handle_of(const struct nlattr *attr)
{
    uint64_t value = 0;
    if (mnl_attr_get_payload_len(attr) == sizeof value)
        memcpy(&value, mnl_attr_get_payload(attr), sizeof value);
    return be64toh(value);
}

/* The name and the handle of a table or rule; attributes 1 and `handle_type`. */
static bool take(const struct nlmsghdr *nlh, const struct look *look, uint16_t handle_type,
                 uint64_t *handle)
{
    const struct nlattr *attr = mnl_nlmsg_get_payload_offset(nlh, sizeof(struct nfgenmsg));
    const char *tail = mnl_nlmsg_get_payload_tail(nlh);
    bool found = false;
    *handle = 0;
    for (; mnl_attr_ok(attr, (int)(tail - (const char *)attr)); attr = mnl_attr_next(attr)) {
        if (mnl_attr_get_type(attr) == NFTA_TABLE_NAME)
            found = strcmp(mnl_attr_get_str(attr), look->name) == 0;
        else if (mnl_attr_get_type(attr) == handle_type)
            *handle = handle_of(attr);
    }
    return found;
}

static_assert((int)NFTA_TABLE_NAME == (int)NFTA_RULE_TABLE, "one attribute names the table");

static int take_table(const struct nlmsghdr *nlh, void *ctx)
{
    const struct look *look = ctx;
    uint64_t handle;
    if (take(nlh, look, NFTA_TABLE_HANDLE, &handle))
        look->mark->table = handle;
    return MNL_CB_OK;
}

static int take_rule(const struct nlmsghdr *nlh, void *ctx)
{
    const struct look *look = ctx;
    uint64_t handle;
    if (take(nlh, look, NFTA_RULE_HANDLE, &handle)) {
        look->mark->rules += handle;
        look->mark->count++;
    }
    return MNL_CB_OK;
}

/* Asks for all tables, or rules of the table, and hands each to `callback`. */
static int dump(struct mnl_socket *socket, int type, mnl_cb_t callback, struct look *look)
{
    uint32_t buf[RECEIVE_BUFFER / 4];
    struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
    nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
    nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    nlh->nlmsg_seq = (uint32_t)type;
    struct nfgenmsg *header = mnl_nlmsg_put_extra_header(nlh, sizeof *header);
    header->nfgen_family = FAMILY_INET;
    header->version = NFNETLINK_V0;
    if (type == NFT_MSG_GETRULE)
        mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, look->name);
    if (mnl_socket_sendto(socket, nlh, nlh->nlmsg_len) < 0)
        return -errno;
    for (;;) {
        ssize_t n = mnl_socket_recvfrom(socket, buf, sizeof buf);
        if (n < 0)
            return -errno;
        int rc = mnl_cb_run(buf, (size_t)n, (uint32_t)type, mnl_socket_get_portid(socket), callback,
                            look);
        if (rc <= MNL_CB_STOP)
            return rc < 0 ? -errno : 0;
    }
}

int nft_table_observe(const char *name, struct nft_table_mark *out)
{
    struct look look = {name, out};
    struct timeval limit = {.tv_sec = ANSWER_MS / 1000}; /* the kernel answers at once */
    *out = (struct nft_table_mark){0};
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    int rc = 0;
    if (socket == NULL)
        return -errno;
    if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
        setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0)
        rc = -errno;
    if (rc == 0)
        rc = dump(socket, NFT_MSG_GETTABLE, take_table, &look);
    if (rc == 0 && out->table != 0)
        rc = dump(socket, NFT_MSG_GETRULE, take_rule, &look);
    if (rc == -ENOENT) /* the table went meanwhile */
        rc = 0;
    mnl_socket_close(socket);
    return rc;
}

bool nft_table_mark_equal(const struct nft_table_mark *a, const struct nft_table_mark *b)
{
    return a->table == b->table && a->rules == b->rules && a->count == b->count;
}

static int take_generation(const struct nlmsghdr *nlh, void *ctx)
{
    const struct nlattr *attr = mnl_nlmsg_get_payload_offset(nlh, sizeof(struct nfgenmsg));
    const char *tail = mnl_nlmsg_get_payload_tail(nlh);
    for (; mnl_attr_ok(attr, (int)(tail - (const char *)attr)); attr = mnl_attr_next(attr))
        if (mnl_attr_get_type(attr) == NFTA_GEN_ID &&
            mnl_attr_get_payload_len(attr) == sizeof(uint32_t))
            *(uint32_t *)ctx = be32toh(mnl_attr_get_u32(attr));
    return MNL_CB_OK;
}

int nft_generation(uint32_t *out)
{
    uint32_t buf[RECEIVE_BUFFER / 4];
    struct timeval limit = {.tv_sec = ANSWER_MS / 1000}; /* the kernel answers at once */
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    *out = 0;
    if (socket == NULL)
        return -errno;
    (void)setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
    nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN);
    nlh->nlmsg_flags = NLM_F_REQUEST;
    nlh->nlmsg_seq = 1;
    struct nfgenmsg *header = mnl_nlmsg_put_extra_header(nlh, sizeof *header);
    header->nfgen_family = 0;
    header->version = NFNETLINK_V0;
    ssize_t n = -1;
    if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0 &&
        mnl_socket_sendto(socket, nlh, nlh->nlmsg_len) >= 0)
        n = mnl_socket_recvfrom(socket, buf, sizeof buf);
    int rc = n < 0 ? -errno : 0;
    if (n > 0 &&
        mnl_cb_run(buf, (size_t)n, 1, mnl_socket_get_portid(socket), take_generation, out) < 0)
        rc = -errno;
    mnl_socket_close(socket);
    return rc;
}
