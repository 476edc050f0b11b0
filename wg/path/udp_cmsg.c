#include "wg/path/udp_cmsg.h"

#include <assert.h>
#include <netinet/in.h>
#include <string.h>

static_assert(CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int)) <= UDP_CMSG_ROOM,
              "room for both control messages");

/* Appends one control message; msg_controllen counts what is filled so far. */
static void append(struct msghdr *msg, int level, int type, const void *data, size_t len)
{
    struct cmsghdr *cmsg =
        (struct cmsghdr *)(void *)((unsigned char *)msg->msg_control + msg->msg_controllen);
    memset(cmsg, 0, CMSG_SPACE(len));
    cmsg->cmsg_level = level;
    cmsg->cmsg_type = type;
    cmsg->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(cmsg), data, len);
    msg->msg_controllen += CMSG_SPACE(len);
}

static void append_source(struct msghdr *msg, const struct wg_endpoint *to)
{
    if (to->source.family == 4 && to->remote.sa.sa_family == AF_INET) {
        struct in_pktinfo info = {0};
        memcpy(&info.ipi_spec_dst, to->source.bytes, 4);
        append(msg, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    } else if (to->source.family == 6 && to->remote.sa.sa_family == AF_INET6) {
        struct in6_pktinfo info = {0};
        memcpy(&info.ipi6_addr, to->source.bytes, 16);
        if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
            info.ipi6_ifindex = to->ifindex;
        append(msg, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    }
}

void udp_cmsg_encode(struct msghdr *msg, union udp_cmsg_buffer *room,
                     const struct udp_message *message)
{
    const struct wg_endpoint *to = message->endpoint;
    msg->msg_control = room;
    msg->msg_controllen = 0;
    if (!message->source_refused)
        append_source(msg, to);
    if (message->ds != 0) {
        int value = message->ds;
        bool ipv4 = to->remote.sa.sa_family == AF_INET;
        append(msg, ipv4 ? IPPROTO_IP : IPPROTO_IPV6, ipv4 ? IP_TOS : IPV6_TCLASS, &value,
               sizeof value);
    }
    if (msg->msg_controllen == 0)
        msg->msg_control = NULL;
}

static void read_source4(const struct cmsghdr *cmsg, struct wg_endpoint *from)
{
    struct in_pktinfo info;
    memcpy(&info, CMSG_DATA(cmsg), sizeof info);
    ip_addr_from_bytes(&from->source, 4, (const uint8_t *)&info.ipi_spec_dst);
    from->ifindex = (uint32_t)info.ipi_ifindex;
}

static void read_source6(const struct cmsghdr *cmsg, struct wg_endpoint *from)
{
    struct in6_pktinfo info;
    memcpy(&info, CMSG_DATA(cmsg), sizeof info);
    ip_addr_from_bytes(&from->source, 6, (const uint8_t *)&info.ipi6_addr);
    from->ifindex = info.ipi6_ifindex;
}

void udp_cmsg_decode(struct msghdr *msg, struct wg_endpoint *from, uint8_t *ds)
{
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL; cmsg = CMSG_NXTHDR(msg, cmsg)) {
        size_t len = cmsg->cmsg_len - CMSG_LEN(0);
        if (cmsg->cmsg_level == IPPROTO_IP) {
            if (cmsg->cmsg_type == IP_PKTINFO && len >= sizeof(struct in_pktinfo))
                read_source4(cmsg, from);
            else if ((cmsg->cmsg_type == IP_TOS || cmsg->cmsg_type == IP_RECVTOS) && len >= 1)
                memcpy(ds, CMSG_DATA(cmsg), 1); /* one byte, not an int */
        } else if (cmsg->cmsg_level == IPPROTO_IPV6) {
            int value;
            if (cmsg->cmsg_type == IPV6_PKTINFO && len >= sizeof(struct in6_pktinfo)) {
                read_source6(cmsg, from);
            } else if (cmsg->cmsg_type == IPV6_TCLASS && len >= sizeof value) {
                memcpy(&value, CMSG_DATA(cmsg), sizeof value);
                *ds = (uint8_t)value;
            }
        }
    }
}
