#include "control/daemon/agent_stub.h"

#include "base/err.h"
#include "base/log.h"
#include "control/host/resolver.h"
#include "dns/server.h"
#include "dns/stub.h"
#include "dns/zone.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    DNS_PORT = 53,
    FIRST_HOST = 53, /* 127.0.51.53, and those after it when another program has it */
    HOSTS = 8,
    LOOK_MS = 30000, /* how often the host's own resolvers are read */
    TTL_S = 30,
    NEGATIVE_TTL_S = 1, /* of names that may exist once a node is back */
};

struct agent_stub {
    const struct resolver_paths *paths;
    struct dns_server *server;
    struct stub *stub;
    struct ip_addr address;
    uv_timer_t look;
};

/* libc asks this one when resolv.conf names none. */
static union endpoint default_resolver(void)
{
    struct ip_addr addr;
    union endpoint server;
    (void)ip_addr_parse(&addr, "127.0.0.1");
    endpoint_from_addr(&server, &addr, DNS_PORT);
    return server;
}

static void read_resolvers(struct agent_stub *stub)
{
    struct resolver_upstreams found;
    struct err err;
    if (resolver_read(stub->paths, &stub->address, 1, &found, &err) < 0) {
        log_debug("cannot read the host's resolvers", F_STR("error", err.text));
        return;
    }
    if (found.count == 0)
        found.servers[found.count++] = default_resolver();
    stub_set_resolvers(stub->stub, found.servers, found.count);
}

static void on_look(uv_timer_t *timer)
{
    read_resolvers(timer->data);
}

static int listen_on_loopback(struct agent_stub *stub)
{
    struct err err;
    int rc = -EADDRNOTAVAIL;
    for (int i = 0; i < HOSTS && rc < 0; i++) {
        char text[IP_ADDR_TEXT];
        union endpoint endpoint;
        snprintf(text, sizeof text, "127.0.51.%d", FIRST_HOST + i);
        (void)ip_addr_parse(&stub->address, text);
        endpoint_from_addr(&endpoint, &stub->address, DNS_PORT);
        rc = dns_server_listen(stub->server, &endpoint, 1, &err);
        if (rc < 0 && rc != -EADDRINUSE)
            return rc;
    }
    return rc;
}

static void on_look_closed(uv_handle_t *handle)
{
    free(handle->data);
}

int agent_stub_open(struct agent_stub **out, const struct agent_stub_options *options)
{
    struct ip_prefix host;
    struct agent_stub *stub = calloc(1, sizeof *stub);
    *out = NULL;
    if (stub == NULL)
        return -ENOMEM;
    stub->paths = options->paths;
    (void)uv_timer_init(options->loop, &stub->look);
    stub->look.data = stub;
    (void)ip_prefix_parse(&host, "127.0.0.0/8");
    int rc = stub_create(&stub->stub, options->loop);
    if (rc == 0)
        rc = dns_server_create(&stub->server, options->loop);
    if (rc == 0)
        rc = dns_server_set_recursion(stub->server, &host, 1);
    if (rc == 0)
        rc = listen_on_loopback(stub);
    if (rc < 0) {
        agent_stub_close(stub);
        return rc;
    }
    dns_server_set_stub(stub->server, stub->stub);
    stub_set_outer_name(stub->stub, options->outer_name, options->mark);
    read_resolvers(stub);
    (void)uv_timer_start(&stub->look, on_look, LOOK_MS, LOOK_MS);
    *out = stub;
    return 0;
}

const struct ip_addr *agent_stub_address(const struct agent_stub *stub)
{
    return &stub->address;
}

static void add_network(struct zone_builder *builder, const char *text)
{
    struct ip_prefix network;
    if (!ip_prefix_parse(&network, text))
        return;
    ip_prefix_mask(&network);
    (void)zone_builder_add_network(builder, &network);
}

/* A node's name, and those of its networks that hold its own address: the others are published
 * ones, whose names are their own resolvers'. */
static void add_node(struct zone_builder *builder, const Pb__Peer *node)
{
    const char *const own[] = {node->peer_ip, node->peer_ip6};
    for (size_t i = 0; i < 2; i++) {
        struct ip_addr addr;
        if (!ip_addr_parse(&addr, own[i]))
            continue;
        (void)zone_builder_add_host(builder, node->name, &addr);
        for (size_t j = 0; j < node->n_allowed_ips; j++) {
            struct ip_prefix network;
            if (ip_prefix_parse(&network, node->allowed_ips[j]) && network.len > 0 &&
                ip_prefix_contains(&network, &addr))
                (void)zone_builder_add_network(builder, &network);
        }
    }
}

/* What is known without asking. NULL when memory is short or the domain is malformed. */
static struct zone *known_zone(const Pb__ConnectResponse *response)
{
    struct zone_config config = {.domain = response->dns_domain,
                                 .ns = "nodes",
                                 .serial = 1,
                                 .ttl = TTL_S,
                                 .negative_ttl = NEGATIVE_TTL_S};
    (void)!getrandom(config.seed, sizeof config.seed, 0);
    struct zone_builder *builder = zone_builder_create(&config);
    if (builder == NULL)
        return NULL;
    add_network(builder, response->address);
    add_network(builder, response->address6);
    for (size_t i = 0; i < response->n_peers; i++)
        add_node(builder, response->peers[i]);
    return zone_build(builder);
}

void agent_stub_follow(struct agent_stub *stub, const Pb__ConnectResponse *response,
                       const struct ip_addr *nodes, size_t count)
{
    struct zone *zone = known_zone(response);
    stub_set_overlay(stub->stub, zone, nodes, count);
    zone_put(zone);
    read_resolvers(stub);
}

void agent_stub_close(struct agent_stub *stub)
{
    if (stub == NULL)
        return;
    dns_server_destroy(stub->server);
    stub_destroy(stub->stub);
    uv_close((uv_handle_t *)&stub->look, on_look_closed);
}
