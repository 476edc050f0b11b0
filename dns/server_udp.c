#include "dns/server_udp.h"

#include "base/bytes.h"
#include "base/list.h"
#include "dns/server_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The socket is read in batches until it is empty or the budget of one turn of the loop is used.
 * Answers leave together after each batch, from the address that was asked: on a wildcard socket,
 * the kernel reports that address with each packet. */

enum {
    BATCH = 32,
    BATCHES_PER_TURN = 4,
    RECEIVE_BUFFER = 1 << 20, /* octets, for queries that arrive while the loop is busy */
    QUERY_MAX = 2048,         /* the kernel cuts a longer one, which is malformed then */
    CONTROL_LEN = CMSG_SPACE(sizeof(struct in6_pktinfo)),
};

struct server_udp {
    struct dns_server *server;
    int fd;
    uv_poll_t poll;
    struct list forwards;
};

struct packet {
    union endpoint client;
    _Alignas(struct cmsghdr) uint8_t control[CONTROL_LEN];
    size_t control_len;
    uint8_t in[QUERY_MAX];
    uint8_t out[DNS_UDP_EDNS];
};

struct server_batch {
    struct mmsghdr headers[BATCH];
    struct iovec vectors[BATCH];
    struct packet packets[BATCH];
};

/* A query that waits for the upstream, with the return address. */
struct udp_forward {
    struct forward forward;
    struct list link;
    struct server_udp *udp;
    union endpoint client;
    _Alignas(struct cmsghdr) uint8_t control[CONTROL_LEN];
    size_t control_len;
};

static bool is_wildcard(const union endpoint *endpoint)
{
    struct ip_addr addr;
    endpoint_addr(endpoint, &addr);
    return bytes_is_zero_ct(addr.bytes, sizeof addr.bytes);
}

static int open_socket(const union endpoint *addr)
{
    bool is_ipv6 = addr->sa.sa_family == AF_INET6;
    int on = 1;
    int size = RECEIVE_BUFFER;
    int fd = socket(addr->sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    int rc = is_ipv6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) : 0;
    if (rc == 0 && is_wildcard(addr))
        rc = is_ipv6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on)
                     : setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
    if (rc == 0)
        rc = bind(fd, &addr->sa, endpoint_len(addr));
    if (rc == 0)
        return fd;
    rc = -errno;
    close(fd);
    return rc;
}

static void send_forwarded(struct forward *forward, const uint8_t *response, size_t len)
{
    struct udp_forward *waiting = container_of(forward, struct udp_forward, forward);
    struct iovec vector = {.iov_base = (void *)(uintptr_t)response, .iov_len = len};
    struct msghdr header = {.msg_name = &waiting->client,
                            .msg_namelen = endpoint_len(&waiting->client),
                            .msg_iov = &vector,
                            .msg_iovlen = 1,
                            .msg_control = waiting->control,
                            .msg_controllen = waiting->control_len};
    server_count_answer(waiting->udp->server, response);
    if (sendmsg(waiting->udp->fd, &header, MSG_NOSIGNAL) < 0)
        waiting->udp->server->stats.dropped++;
    list_remove(&waiting->link);
    free(waiting);
}

/* Returns the length of an immediate answer, or 0. */
static size_t forward_packet(struct server_udp *udp, struct packet *packet, size_t len,
                             const struct dns_query *query)
{
    struct dns_server *server = udp->server;
    struct udp_forward *waiting = malloc(sizeof *waiting);
    if (waiting != NULL) {
        waiting->forward.query = *query;
        endpoint_addr(&packet->client, &waiting->forward.client);
        waiting->forward.transport = DNS_UDP;
        waiting->forward.done = send_forwarded;
        waiting->udp = udp;
        waiting->client = packet->client;
        waiting->control_len = packet->control_len;
        memcpy(waiting->control, packet->control, packet->control_len);
        if (forward_start(&server->forwarder, &waiting->forward, packet->in, len) == 0) {
            list_append(&udp->forwards, &waiting->link);
            server->stats.forwarded++;
            return 0;
        }
    }
    free(waiting);
    size_t out_len = answer_error(query, DNS_SERVFAIL, true, packet->out);
    server_count_answer(server, packet->out);
    return out_len;
}

/* Answers one packet. Returns the length of an immediate answer, or 0. */
static size_t handle_packet(struct server_udp *udp, struct packet *packet, size_t len)
{
    struct dns_server *server = udp->server;
    struct answer_context context = server_context(server, &packet->client, DNS_UDP);
    struct dns_query query;
    size_t out_len = 0;
    server->stats.udp_queries++;
    switch (answer_query(&context, packet->in, len, &query, packet->out, sizeof packet->out,
                         &out_len)) {
    case ANSWER_REPLY:
        server_count_answer(server, packet->out);
        return out_len;
    case ANSWER_FORWARD:
        return forward_packet(udp, packet, len, &query);
    case ANSWER_DROP:
        break;
    }
    server->stats.dropped++;
    return 0;
}

/* Sends the first `count` messages and skips those that the kernel refuses. */
static void send_batch(struct server_udp *udp, struct mmsghdr *headers, unsigned count)
{
    unsigned sent = 0;
    while (sent < count) {
        int rc = sendmmsg(udp->fd, headers + sent, count - sent, MSG_NOSIGNAL);
        if (rc < 0 && errno == EINTR)
            continue;
        if (rc <= 0)
            udp->server->stats.dropped++;
        sent += rc > 0 ? (unsigned)rc : 1;
    }
}

/* Keeps the address that was asked as the answer's source. The kernel chooses the route. */
static void keep_source(struct packet *packet, const struct msghdr *header)
{
    packet->control_len = 0;
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(header); cmsg != NULL;
         cmsg = CMSG_NXTHDR((struct msghdr *)(uintptr_t)header, cmsg)) {
        if (cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_PKTINFO) {
            ((struct in_pktinfo *)(void *)CMSG_DATA(cmsg))->ipi_ifindex = 0;
            packet->control_len = CMSG_SPACE(sizeof(struct in_pktinfo));
        } else if (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_PKTINFO) {
            packet->control_len = CMSG_SPACE(sizeof(struct in6_pktinfo));
        }
    }
}

static void prepare_receive(struct server_batch *batch)
{
    for (size_t i = 0; i < BATCH; i++) {
        struct packet *packet = &batch->packets[i];
        batch->vectors[i] = (struct iovec){.iov_base = packet->in, .iov_len = sizeof packet->in};
        batch->headers[i].msg_hdr = (struct msghdr){.msg_name = &packet->client,
                                                    .msg_namelen = sizeof packet->client,
                                                    .msg_iov = &batch->vectors[i],
                                                    .msg_iovlen = 1,
                                                    .msg_control = packet->control,
                                                    .msg_controllen = sizeof packet->control};
    }
}

/* Turns received packets into answers, packed at the front of the batch. */
static unsigned answer_batch(struct server_udp *udp, struct server_batch *batch, unsigned count)
{
    unsigned answers = 0;
    for (unsigned i = 0; i < count; i++) {
        struct packet *packet = &batch->packets[i];
        keep_source(packet, &batch->headers[i].msg_hdr);
        socklen_t name_len = batch->headers[i].msg_hdr.msg_namelen;
        size_t len = handle_packet(udp, packet, batch->headers[i].msg_len);
        if (len == 0)
            continue;
        batch->vectors[answers] = (struct iovec){.iov_base = packet->out, .iov_len = len};
        batch->headers[answers].msg_hdr =
            (struct msghdr){.msg_name = &packet->client,
                            .msg_namelen = name_len,
                            .msg_iov = &batch->vectors[answers],
                            .msg_iovlen = 1,
                            .msg_control = packet->control_len > 0 ? packet->control : NULL,
                            .msg_controllen = packet->control_len};
        answers++;
    }
    return answers;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct server_udp *udp = poll->data;
    struct server_batch *batch = udp->server->batch;
    (void)status;
    (void)events;
    for (int turn = 0; turn < BATCHES_PER_TURN; turn++) {
        prepare_receive(batch);
        int count = recvmmsg(udp->fd, batch->headers, BATCH, MSG_DONTWAIT, NULL);
        if (count <= 0)
            return;
        send_batch(udp, batch->headers, answer_batch(udp, batch, (unsigned)count));
        if (count < BATCH)
            return;
    }
}

int server_udp_open(struct server_udp **out, struct dns_server *server, const union endpoint *addr)
{
    struct server_udp *udp = calloc(1, sizeof *udp);
    if (server->batch == NULL)
        server->batch = malloc(sizeof *server->batch);
    if (udp == NULL || server->batch == NULL) {
        free(udp);
        return -ENOMEM;
    }
    udp->server = server;
    list_init(&udp->forwards);
    udp->fd = open_socket(addr);
    int rc = udp->fd;
    if (rc < 0)
        goto out_free;
    rc = uv_poll_init(server->loop, &udp->poll, udp->fd);
    if (rc < 0)
        goto out_close;
    server_handle_opened(server);
    udp->poll.data = udp;
    uv_poll_start(&udp->poll, UV_READABLE, on_readable);
    *out = udp;
    return 0;
out_close:
    close(udp->fd);
out_free:
    free(udp);
    return rc;
}

static void on_closed(uv_handle_t *handle)
{
    struct server_udp *udp = handle->data;
    struct dns_server *server = udp->server;
    free(udp);
    server_handle_closed(server);
}

void server_udp_close(struct server_udp *udp)
{
    if (udp == NULL)
        return;
    list_for_each_safe (at, &udp->forwards) {
        struct udp_forward *waiting = container_of(at, struct udp_forward, link);
        forward_cancel(&waiting->forward);
        list_remove(&waiting->link);
        free(waiting);
    }
    /* the descriptor is closed now, so that the address is free when this returns */
    uv_poll_stop(&udp->poll);
    uv_close((uv_handle_t *)&udp->poll, on_closed);
    close(udp->fd);
}
