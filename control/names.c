#include "control/names.h"

#include "base/bytes.h"
#include "base/log.h"
#include "control/plan.h"
#include "control/resolver.h"
#include "dns/server.h"
#include "dns/upstream.h"
#include "dns/zone.h"
#include "tun/ifconf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESSES_MAX = 2 };

struct names {
    const struct names_options *options;
    struct resolver_paths paths;
    struct dns_server *server;
    struct upstream *upstream;
    union endpoint listening[ADDRESSES_MAX]; /* asked for, whether or not it worked */
    size_t listening_count;
    bool upstream_tried;
    bool is_served; /* as asked */
};

void names_clean(const char *data_dir)
{
    struct err err;
    struct resolver_paths paths = resolver_paths_default(data_dir);
    if (resolver_restore(&paths, &err) < 0)
        log_warn("the resolver of an earlier run cannot be put back", F_STR("error", err.text));
}

int names_open(struct names **out, const struct names_options *options)
{
    *out = NULL;
    struct names *names = calloc(1, sizeof *names);
    if (names == NULL)
        return -ENOMEM;
    names->options = options;
    names->paths = resolver_paths_default(options->data_dir);
    int code = dns_server_create(&names->server, options->loop);
    if (code < 0) {
        free(names);
        return code;
    }
    *out = names;
    return 0;
}

/* Where to listen: what the option says, else this node's addresses in the tunnel. */
static size_t wanted_addresses(const struct names *names, const struct plan *plan,
                               union endpoint out[ADDRESSES_MAX])
{
    size_t count = 0;
    if (endpoint_is_set(&names->options->address)) {
        out[0] = names->options->address;
        return 1;
    }
    bool ipv6 = ifconf_ipv6_enabled(names->options->interface_name);
    for (size_t i = 0; i < plan->address_count && count < ADDRESSES_MAX; i++)
        if (plan->addresses[i].addr.family == 4 || ipv6)
            endpoint_from_addr(&out[count++], &plan->addresses[i].addr, 53);
    return count;
}

static size_t upstreams_from_options(const struct option_list *list,
                                     union endpoint out[RESOLVER_NAMESERVERS])
{
    size_t count = 0;
    for (size_t i = 0; i < list->count && count < RESOLVER_NAMESERVERS; i++) {
        struct ip_addr addr;
        if (!endpoint_parse(&out[count], list->values[i]) && ip_addr_parse(&addr, list->values[i]))
            endpoint_from_addr(&out[count], &addr, 53);
        count++;
    }
    return count;
}

/* Asked for before the host's resolver is pointed at us. */
static void open_upstream(struct names *names, const struct plan *plan)
{
    struct resolver_upstreams found = {.count = 0};
    struct ip_addr ours[ADDRESSES_MAX];
    struct err err;
    if (names->upstream_tried)
        return;
    names->upstream_tried = true;
    for (size_t i = 0; i < plan->address_count; i++)
        ours[i] = plan->addresses[i].addr;
    found.count = upstreams_from_options(names->options->upstreams, found.servers);
    if (found.count == 0 &&
        resolver_read(&names->paths, ours, plan->address_count, &found, &err) < 0)
        log_warn("the host's resolvers are not known", F_STR("error", err.text));
    if (found.count == 0) {
        log_info("no upstream resolver: only the network's own names are answered");
        return;
    }
    struct upstream_config config = {.servers = found.servers, .server_count = found.count};
    if (upstream_create(&names->upstream, names->options->loop, &config, &err) < 0)
        log_warn("other names cannot be resolved", F_STR("error", err.text));
    else
        dns_server_set_upstream(names->server, names->upstream);
}

/* This host asks us too, if we are where a resolver looks: port 53 of an address. */
static void point_resolver(const struct names *names)
{
    struct ip_addr nameservers[ADDRESSES_MAX];
    size_t count = 0;
    struct err err;
    for (size_t i = 0; i < names->listening_count; i++) {
        struct ip_addr addr;
        endpoint_addr(&names->listening[i], &addr);
        if (endpoint_port(&names->listening[i]) == 53 &&
            !bytes_is_zero_ct(addr.bytes, sizeof addr.bytes))
            nameservers[count++] = addr;
    }
    if (count == 0)
        return;
    struct resolver_setup setup = {
        .nameservers = nameservers,
        .nameserver_count = count,
        .domain = names->options->domain,
        .interface = names->options->interface_name,
        .keep_former = true,
    };
    if (resolver_apply(&names->paths, &setup, &err) < 0)
        log_warn("this host does not resolve the network's names", F_STR("error", err.text));
}

static void listen_on(struct names *names, const struct plan *plan)
{
    union endpoint wanted[ADDRESSES_MAX] = {0};
    struct err err;
    size_t count = wanted_addresses(names, plan, wanted);
    if (count == names->listening_count &&
        memcmp(wanted, names->listening, count * sizeof wanted[0]) == 0)
        return;
    memcpy(names->listening, wanted, sizeof wanted);
    names->listening_count = count;
    names->is_served = false;
    if (count == 0)
        return;
    if (dns_server_listen(names->server, wanted, count, &err) < 0) {
        log_warn("DNS is not served as asked", F_STR("error", err.text));
    } else {
        names->is_served = true;
        point_resolver(names);
    }
}

/* The overlay's own hosts may ask for other names, nobody else. */
static void allow_recursion(const struct names *names, const struct plan *plan)
{
    if (dns_server_set_recursion(names->server, plan->overlay, plan->overlay_count) < 0)
        log_warn("out of memory: who may ask DNS is unchanged");
}

void names_update(struct names *names, const struct plan *plan, uint32_t serial)
{
    struct zone *zone =
        plan_zone(plan, names->options->domain, names->options->ns, serial, names->options->seed);
    if (zone == NULL)
        log_error("the zone of the network's names cannot be made");
    else
        dns_server_set_zone(names->server, zone);
    zone_put(zone);
    open_upstream(names, plan);
    allow_recursion(names, plan);
    listen_on(names, plan);
}

bool names_are_served(const struct names *names)
{
    return names->is_served;
}

void names_repoint(struct names *names)
{
    if (names->is_served)
        point_resolver(names);
}

void names_stats(const struct names *names, struct dns_server_stats *out)
{
    dns_server_stats(names->server, out);
}

void names_close(struct names *names)
{
    struct err err;
    if (names == NULL)
        return;
    if (resolver_restore(&names->paths, &err) < 0)
        log_error("the resolver cannot be put back", F_STR("error", err.text));
    dns_server_destroy(names->server);
    upstream_destroy(names->upstream);
    free(names);
}
