#include "control/daemon/names.h"

#include "base/bytes.h"
#include "base/log.h"
#include "control/host/resolver.h"
#include "control/host/resolver_helper.h"
#include "control/host/resolver_setter.h"
#include "control/host/resolver_watch.h"
#include "control/state/plan.h"
#include "control/state/plan_zone.h"
#include "dns/server.h"
#include "dns/upstream.h"
#include "dns/zone.h"
#include "tun/ifconf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A missing address to listen on, or a missing resolver to ask, is retried: the program that held
 * the port may end, and a host may learn its resolvers after its start. New resolvers of the host
 * are followed, at once where they replace our resolv.conf, else at the next look. */

enum {
    ADDRESSES_MAX = 2,
    OWN_MAX = ADDRESSES_MAX + 2,
    RETRY_MS = 3000,
    LOOK_MS = 30000, /* while nothing is missing */
};

struct names {
    const struct names_options *options;
    struct resolver_paths paths;
    struct resolver_watch *watch;
    struct resolver_setter *setter;
    struct dns_server *server;
    struct upstream *upstream;
    union endpoint upstreams[UPSTREAM_SERVERS_MAX]; /* the servers that `upstream` asks */
    size_t upstream_count;
    uv_timer_t retry;
    struct ip_addr own[OWN_MAX]; /* the tunnel's addresses, then the option's */
    size_t tunnel_count;         /* of `own` */
    size_t own_count;
    union endpoint listening[ADDRESSES_MAX]; /* as configured, whether or not it worked */
    size_t listening_count;
    bool upstream_told; /* that no upstream exists */
    bool is_served;     /* on all of `listening` */
};

void names_clean(const char *data_dir)
{
    struct err err;
    struct resolver_paths paths = resolver_paths_default(data_dir);
    if (resolver_helper_restore(&paths, &err) < 0)
        log_warn("the resolver of an earlier run cannot be put back", F_STR("error", err.text));
}

static struct ip_addr loopback(uint8_t family)
{
    struct ip_addr addr;
    (void)ip_addr_parse(&addr, family == 4 ? "127.0.0.1" : "::1");
    return addr;
}

/* Where to listen: the option's address, else this node's addresses in the tunnel. */
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

static bool is_tunnel(const struct names *names, const struct ip_addr *addr)
{
    for (size_t i = 0; i < names->tunnel_count; i++)
        if (ip_addr_equal(&names->own[i], addr))
            return true;
    return false;
}

/* Our own addresses, which are no upstream. */
static void learn_own(struct names *names, const struct plan *plan)
{
    const union endpoint *address = &names->options->address;
    size_t count = 0;
    for (size_t i = 0; i < plan->address_count && count < ADDRESSES_MAX; i++)
        names->own[count++] = plan->addresses[i].addr;
    names->tunnel_count = count;
    if (endpoint_is_set(address)) {
        endpoint_addr(address, &names->own[count]);
        if (bytes_is_zero_ct(names->own[count].bytes, sizeof names->own[count].bytes))
            names->own[count] = loopback(names->own[count].family);
        count++;
    }
    names->own_count = count;
}

static size_t upstreams_from_options(const struct option_list *list,
                                     union endpoint out[UPSTREAM_SERVERS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < list->count && count < UPSTREAM_SERVERS_MAX; i++) {
        struct ip_addr addr;
        if (!endpoint_parse(&out[count], list->values[i]) && ip_addr_parse(&addr, list->values[i]))
            endpoint_from_addr(&out[count], &addr, 0);
        count++;
    }
    return count;
}

/* The option's upstreams, else the host's own resolvers. `told`: their absence is logged. */
static size_t find_upstreams(const struct names *names, bool told,
                             union endpoint out[UPSTREAM_SERVERS_MAX])
{
    struct resolver_upstreams found = {.count = 0};
    struct err err;
    size_t count = upstreams_from_options(names->options->upstreams, out);
    if (count > 0)
        return count;
    int rc = resolver_read(&names->paths, names->own, names->own_count, &found, &err);
    if (rc < 0 && !told)
        log_warn("the host's resolvers are not known", F_STR("error", err.text));
    else if (found.count == 0 && !told)
        log_info("no upstream resolver: only the network's own names are answered");
    memcpy(out, found.servers, found.count * sizeof out[0]);
    return found.count;
}

static bool asks_already(const struct names *names, const union endpoint *servers, size_t count)
{
    bool same = names->upstream != NULL && names->upstream_count == count;
    for (size_t i = 0; i < count && same; i++)
        same = endpoint_equal(&names->upstreams[i], &servers[i]);
    return same;
}

/* Runs before the host's resolver is pointed at us, and whenever the host may have new ones. */
static void follow_upstreams(struct names *names)
{
    union endpoint servers[UPSTREAM_SERVERS_MAX];
    struct upstream *upstream = NULL;
    struct err err;
    bool told = names->upstream_told;
    size_t count = find_upstreams(names, told, servers);
    names->upstream_told = true;
    if (count == 0 || asks_already(names, servers, count))
        return;
    struct upstream_config config = {
        .servers = servers, .server_count = count, .tls_name = names->options->upstream_tls};
    if (upstream_create(&upstream, names->options->loop, &config, &err) < 0) {
        if (!told)
            log_warn("other names cannot be resolved", F_STR("error", err.text));
        return;
    }
    dns_server_set_upstream(names->server, upstream);
    if (told)
        log_info(names->upstream == NULL ? "other names are resolved now"
                                         : "other names are asked of the host's new resolvers");
    upstream_destroy(names->upstream);
    names->upstream = upstream;
    memcpy(names->upstreams, servers, count * sizeof servers[0]);
    names->upstream_count = count;
}

/* Points this host's resolver at us, if we serve port 53 of an address. */
static void point_resolver(const struct names *names)
{
    struct ip_addr nameservers[ADDRESSES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < names->listening_count; i++) {
        struct ip_addr addr;
        endpoint_addr(&names->listening[i], &addr);
        if (endpoint_port(&names->listening[i]) != 53)
            continue;
        bool is_any = bytes_is_zero_ct(addr.bytes, sizeof addr.bytes);
        nameservers[count++] = is_any ? loopback(addr.family) : addr;
    }
    if (count == 0)
        return;
    struct resolver_setup setup = {
        .nameservers = nameservers,
        .nameserver_count = count,
        .domain = names->options->domain,
        .interface = names->options->interface_name,
        /* `options rotate` would send names of the network to them */
        .keep_former = names->upstream == NULL,
    };
    resolver_setter_apply(names->setter, &setup, NULL, NULL);
}

/* Opens the listeners that are missing. `told`: a failure is logged already. */
static void serve(struct names *names, bool told)
{
    struct err err;
    names->is_served =
        dns_server_listen(names->server, names->listening, names->listening_count, &err) == 0;
    if (!names->is_served && !told)
        log_warn("DNS is not served as asked; this is tried again until it works",
                 F_STR("error", err.text));
    if (!names->is_served)
        return;
    if (told)
        log_info("DNS is served now");
    point_resolver(names);
}

static void listen_on(struct names *names, const struct plan *plan)
{
    union endpoint wanted[ADDRESSES_MAX] = {0};
    size_t count = wanted_addresses(names, plan, wanted);
    if (count == names->listening_count &&
        memcmp(wanted, names->listening, count * sizeof wanted[0]) == 0)
        return;
    memcpy(names->listening, wanted, sizeof wanted);
    names->listening_count = count;
    names->is_served = false;
    if (count > 0)
        serve(names, false);
}

static void on_retry(uv_timer_t *timer);

static void look_again(struct names *names)
{
    uint64_t ms = names->is_served && names->upstream != NULL ? LOOK_MS : RETRY_MS;
    if (!uv_is_active((uv_handle_t *)&names->retry) || uv_timer_get_due_in(&names->retry) > ms)
        (void)uv_timer_start(&names->retry, on_retry, ms, 0);
}

static void on_retry(uv_timer_t *timer)
{
    struct names *names = timer->data;
    follow_upstreams(names);
    if (!names->is_served && names->listening_count > 0)
        serve(names, true);
    look_again(names);
}

void names_repoint(struct names *names)
{
    if (names->is_served)
        point_resolver(names);
}

static void on_resolver_lost(void *ctx)
{
    struct names *names = ctx;
    follow_upstreams(names);
    names_repoint(names);
}

/* Only hosts of the overlay and this host may ask for foreign names. */
static void allow_recursion(const struct names *names, const struct plan *plan)
{
    static const char *const host[] = {"127.0.0.0/8", "::1/128"};
    enum { HOST_COUNT = sizeof host / sizeof host[0] };
    size_t count = plan->overlay_count;
    struct ip_prefix *allowed = calloc(count + HOST_COUNT, sizeof *allowed);
    if (allowed != NULL && count > 0)
        memcpy(allowed, plan->overlay, count * sizeof *allowed);
    for (size_t i = 0; i < HOST_COUNT && allowed != NULL; i++)
        (void)ip_prefix_parse(&allowed[count++], host[i]);
    if (allowed == NULL || dns_server_set_recursion(names->server, allowed, count) < 0)
        log_warn("out of memory: who may ask DNS is unchanged");
    free(allowed);
}

static void on_retry_closed(uv_handle_t *handle)
{
    free(handle->data);
}

int names_open(struct names **out, const struct names_options *options)
{
    *out = NULL;
    struct names *names = calloc(1, sizeof *names);
    if (names == NULL)
        return -ENOMEM;
    names->options = options;
    names->paths = resolver_paths_default(options->data_dir);
    (void)uv_timer_init(options->loop, &names->retry);
    names->retry.data = names;
    int code = resolver_setter_open(&names->setter, options->loop, &names->paths);
    if (code == 0)
        code = dns_server_create(&names->server, options->loop);
    if (code < 0) {
        resolver_setter_close(names->setter);
        uv_close((uv_handle_t *)&names->retry, on_retry_closed);
        return code;
    }
    code =
        resolver_watch_open(&names->watch, options->loop, &names->paths, on_resolver_lost, names);
    if (code < 0)
        log_warn("changes of the host's resolv.conf are not seen",
                 F_STR("error", uv_strerror(code)));
    *out = names;
    return 0;
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
    learn_own(names, plan);
    if (!names->upstream_told)
        follow_upstreams(names);
    allow_recursion(names, plan);
    listen_on(names, plan);
    look_again(names);
}

bool names_are_served(const struct names *names)
{
    return names->is_served;
}

const char *names_domain_for_peers(const struct names *names)
{
    for (size_t i = 0; i < names->listening_count; i++) {
        struct ip_addr addr;
        endpoint_addr(&names->listening[i], &addr);
        bool is_any = addr.family == 4 && bytes_is_zero_ct(addr.bytes, sizeof addr.bytes);
        if (endpoint_port(&names->listening[i]) == 53 && (is_any || is_tunnel(names, &addr)))
            return names->options->domain;
    }
    return NULL;
}

void names_stats(const struct names *names, struct dns_server_stats *out)
{
    dns_server_stats(names->server, out);
}

void names_close(struct names *names)
{
    if (names == NULL)
        return;
    resolver_watch_close(names->watch);
    resolver_setter_close(names->setter);
    dns_server_destroy(names->server);
    upstream_destroy(names->upstream);
    uv_close((uv_handle_t *)&names->retry, on_retry_closed);
}
