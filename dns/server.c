#include "dns/server.h"

#include "base/err.h"
#include "dns/server_state.h"
#include "dns/server_tcp.h"
#include "dns/server_udp.h"
#include "dns/zone.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DNS_PORT = 53 };

struct listener {
    struct list link;
    union endpoint addr;
    struct server_udp *udp;
    struct server_tcp *tcp;
};

int dns_server_create(struct dns_server **out, struct uv_loop_s *loop)
{
    struct dns_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return -ENOMEM;
    server->loop = loop;
    list_init(&server->listeners);
    list_init(&server->connections);
    forwarder_init(&server->forwarder, loop, server->scratch);
    server_handle_opened(server);
    *out = server;
    return 0;
}

static void listener_close(struct listener *listener)
{
    list_remove(&listener->link);
    server_udp_close(listener->udp);
    server_tcp_close(listener->tcp);
    free(listener);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct forwarder *forwarder = handle->data;
    server_handle_closed(container_of(forwarder, struct dns_server, forwarder));
}

void dns_server_destroy(struct dns_server *server)
{
    if (server == NULL)
        return;
    list_for_each_safe (at, &server->listeners) {
        listener_close(container_of(at, struct listener, link));
    }
    zone_put(server->zone);
    server->zone = NULL;
    server->closing = true;
    uv_close((uv_handle_t *)&server->forwarder.timer, on_timer_closed);
}

static int explain(struct err *err, int rc, const union endpoint *addr)
{
    char text[ENDPOINT_TEXT];
    endpoint_format(addr, text);
    if (rc == -EADDRINUSE)
        return err_set(err, rc,
                       "DNS: %s is taken by another program; stop it or choose another address "
                       "with --dns-address",
                       text);
    if (rc == -EACCES || rc == -EPERM)
        return err_set(err, rc,
                       "DNS: no permission to listen on %s; give CAP_NET_BIND_SERVICE (--cap-add "
                       "NET_BIND_SERVICE) or choose a port above 1023 with --dns-address",
                       text);
    if (rc == -EADDRNOTAVAIL)
        return err_set(err, rc, "DNS: %s is no address of this host; choose one with --dns-address",
                       text);
    return err_set_errno(err, rc, "DNS: cannot listen on %s (--dns-address)", text);
}

static int listener_open(struct dns_server *server, const union endpoint *addr)
{
    struct listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        return -ENOMEM;
    list_init(&listener->link);
    listener->addr = *addr;
    int rc = server_udp_open(&listener->udp, server, addr);
    if (rc == 0)
        rc = server_tcp_open(&listener->tcp, server, addr);
    if (rc < 0) {
        listener_close(listener);
        return rc;
    }
    list_append(&server->listeners, &listener->link);
    return 0;
}

/* Replaces port 0 by 53. */
static union endpoint whole_address(const union endpoint *addr)
{
    union endpoint whole = *addr;
    if (endpoint_port(addr) == 0 && addr->sa.sa_family == AF_INET6)
        whole.in6.sin6_port = htons(DNS_PORT);
    else if (endpoint_port(addr) == 0)
        whole.in.sin_port = htons(DNS_PORT);
    return whole;
}

static bool is_listed(const union endpoint *addr, const union endpoint *addrs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        union endpoint whole = whole_address(&addrs[i]);
        if (endpoint_equal(addr, &whole))
            return true;
    }
    return false;
}

static bool is_open(const struct dns_server *server, const union endpoint *addr)
{
    list_for_each (at, &server->listeners) {
        if (endpoint_equal(&container_of(at, struct listener, link)->addr, addr))
            return true;
    }
    return false;
}

int dns_server_listen(struct dns_server *server, const union endpoint *addrs, size_t count,
                      struct err *err)
{
    list_for_each_safe (at, &server->listeners) {
        struct listener *listener = container_of(at, struct listener, link);
        if (!is_listed(&listener->addr, addrs, count))
            listener_close(listener);
    }
    int first = 0;
    for (size_t i = 0; i < count; i++) {
        union endpoint addr = whole_address(&addrs[i]);
        int rc = is_open(server, &addr) ? 0 : listener_open(server, &addr);
        if (rc < 0 && first == 0)
            first = explain(err, rc, &addr);
    }
    return first;
}

void dns_server_set_zone(struct dns_server *server, struct zone *zone)
{
    struct zone *former = server->zone;
    server->zone = zone != NULL ? zone_ref(zone) : NULL;
    zone_put(former);
}

void dns_server_set_upstream(struct dns_server *server, struct upstream *upstream)
{
    forwarder_set_upstream(&server->forwarder, upstream);
}

void dns_server_set_stub(struct dns_server *server, struct stub *stub)
{
    forwarder_set_stub(&server->forwarder, stub);
}

int dns_server_set_recursion(struct dns_server *server, const struct ip_prefix *prefixes,
                             size_t count)
{
    struct ip_prefix *copy = NULL;
    if (count > 0) {
        copy = malloc(count * sizeof *copy);
        if (copy == NULL)
            return -ENOMEM;
        memcpy(copy, prefixes, count * sizeof *copy);
    }
    free(server->recursion);
    server->recursion = copy;
    server->recursion_count = count;
    return 0;
}

void dns_server_stats(const struct dns_server *server, struct dns_server_stats *out)
{
    *out = server->stats;
}
