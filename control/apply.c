/* The order within one plan matters. Something new works at once: address, then engine, then route,
 * so that no packet meets a route without a peer behind it. Something old stops at once: the engine
 * first, then the route. The engine is in memory and takes a change whole; the kernel's part is a
 * list of independent requests, each of which may fail without spoiling the others. */
#include "control/apply.h"

#include "base/bytes.h"
#include "base/log.h"
#include "control/nft.h"
#include "control/plan_part.h"
#include "tun/ifconf.h"
#include "tun/tun.h"
#include "wg/uapi/uapi_socket.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    MARK_BASE = 0x48440000, /* "HD": the upper half of every mark of ours */
    RULE_PRIORITY = 5200,   /* in front of the main table's rule */
    MTU_OVERHEAD = 80,      /* of an IPv6 header, a UDP header and WireGuard's data message */
    MTU_MIN = 1280,         /* what IPv6 needs */
    MTU_MAX = 8920,         /* jumbo frames; more gains nothing */
    MTU_DEFAULT = 1420,
};

#define NFT_TABLE "heimdall_" /* and the interface's name */

struct apply {
    struct plan plan;
    struct ifconf_socket *conf;
    struct path *path;
    struct uapi_socket *uapi;
    uv_async_t *gone; /* from the path's thread; freed when closed */
    void *ctx;
    void (*closed)(void *ctx, const char *reason);
    char *node_interface;
    char interface_name[IFCONF_NAME_LEN];
    char nft_table[sizeof NFT_TABLE + IFCONF_NAME_LEN];
    char reason[128]; /* written once by the path's thread before it rings `gone` */
    uint8_t public_key[WG_KEY_LEN];
    uint32_t ifindex;
    uint32_t mark; /* and table */
    uint32_t mtu;
    bool firewall;
    bool peer_to_peer;
    bool ipv6;          /* the host has it */
    bool firewall_told; /* that nft does not work here */
};

uint32_t apply_mark_of(const char *interface_name)
{
    uint32_t hash = 2166136261U; /* FNV-1a, Fowler, Noll and Vo */
    for (; *interface_name != '\0'; interface_name++)
        hash = (hash ^ (uint8_t)*interface_name) * 16777619U;
    return MARK_BASE | ((hash ^ (hash >> 16)) & 0xffff);
}

/* Of the letters that nftables takes. */
static void name_table(struct apply *apply)
{
    char *at = apply->nft_table + strlen(NFT_TABLE);
    memcpy(apply->nft_table, NFT_TABLE, sizeof NFT_TABLE);
    for (const char *name = apply->interface_name; *name != '\0'; name++)
        *at++ = isalnum((unsigned char)*name) ? *name : '_';
    *at = '\0';
}

/* ---- what earlier runs left ---- */

static void clean_rules(struct ifconf_socket *conf, uint8_t family, uint32_t mark)
{
    struct ifconf_rule *rules = NULL;
    size_t count = 0;
    if (ifconf_rule_list(conf, family, IFCONF_PROTOCOL, &rules, &count) < 0)
        return;
    for (size_t i = 0; i < count; i++)
        if (rules[i].table == mark && !rules[i].foreign)
            (void)ifconf_rule_del(conf, &rules[i]);
    free(rules);
}

static void clean_routes(struct ifconf_socket *conf, uint8_t family, uint32_t mark)
{
    struct ifconf_route *routes = NULL;
    size_t count = 0;
    if (ifconf_route_list(conf, family, mark, IFCONF_PROTOCOL, &routes, &count) < 0)
        return;
    for (size_t i = 0; i < count; i++)
        (void)ifconf_route_del(conf, &routes[i]);
    free(routes);
}

static void clean(struct ifconf_socket *conf, uint32_t mark)
{
    for (uint8_t family = 4; family <= 6; family += 2) {
        clean_rules(conf, family, mark);
        clean_routes(conf, family, mark);
    }
}

/* ---- the kernel's part ---- */

static void warn(const char *what, const struct ip_prefix *prefix, int code)
{
    char text[IP_PREFIX_TEXT];
    log_warn(what, F_STR("network", ip_prefix_format(prefix, text)),
             F_STR("error", strerror(-code)));
}

static bool is_served(const struct apply *apply, const struct ip_prefix *prefix)
{
    return prefix->addr.family == 4 || apply->ipv6;
}

static void add_addresses(struct apply *apply, const struct ip_prefix *addrs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_served(apply, &addrs[i]))
            continue;
        int code = ifconf_addr_add(apply->conf, apply->ifindex, &addrs[i]);
        if (code == -EACCES && addrs[i].addr.family == 6)
            apply->ipv6 = false;
        else if (code < 0)
            warn("an address of the tunnel cannot be set", &addrs[i], code);
    }
}

static void del_addresses(struct apply *apply, const struct ip_prefix *addrs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_served(apply, &addrs[i]))
            (void)ifconf_addr_del(apply->conf, apply->ifindex, &addrs[i]);
}

static struct ifconf_route route_of(const struct apply *apply, const struct ip_prefix *prefix)
{
    struct ifconf_route route = {
        .prefix = *prefix, .table = apply->mark, .ifindex = apply->ifindex};
    for (size_t i = 0; i < apply->plan.address_count; i++)
        if (apply->plan.addresses[i].addr.family == prefix->addr.family)
            route.source = apply->plan.addresses[i].addr;
    return route;
}

static void set_routes(struct apply *apply, const struct ip_prefix *routes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ifconf_route route = route_of(apply, &routes[i]);
        int code = is_served(apply, &routes[i]) ? ifconf_route_set(apply->conf, &route) : 0;
        if (code < 0)
            warn("a route through the tunnel cannot be set", &routes[i], code);
    }
}

static void del_routes(struct apply *apply, const struct ip_prefix *routes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ifconf_route route = route_of(apply, &routes[i]);
        route.ifindex = 0;
        if (is_served(apply, &routes[i]))
            (void)ifconf_route_del(apply->conf, &route);
    }
}

static int add_rules(struct apply *apply, struct err *err)
{
    for (uint8_t family = 4; family <= 6; family += 2) {
        struct ifconf_rule rule =
            ifconf_rule_unmarked(family, apply->mark, apply->mark, RULE_PRIORITY);
        int code = family == 4 || apply->ipv6 ? ifconf_rule_add(apply->conf, &rule) : 0;
        if (code == -EAFNOSUPPORT && family == 6)
            apply->ipv6 = false;
        else if (code < 0)
            return err_set_errno(err, code, "the routing rule of %s cannot be set",
                                 apply->interface_name);
    }
    return 0;
}

/* The way to an endpoint may be narrower than the interface it starts on, so the kernel is asked.
 */
static uint32_t wanted_mtu(struct apply *apply)
{
    uint32_t lowest = UINT32_MAX;
    struct ifconf_default route;
    struct ifconf_link link;
    for (size_t i = 0; i < apply->plan.peer_count; i++) {
        struct ip_addr dest;
        uint32_t mtu;
        endpoint_addr(&apply->plan.peers[i].endpoint, &dest);
        if (apply->plan.peers[i].has_endpoint &&
            ifconf_path_mtu(apply->conf, &dest, apply->mark, &mtu) == 0 && mtu < lowest)
            lowest = mtu;
    }
    if (lowest == UINT32_MAX && ifconf_default_get(apply->conf, 4, &route) == 0 &&
        ifconf_link_get(apply->conf, route.ifindex, &link) == 0)
        lowest = link.mtu;
    if (lowest == UINT32_MAX)
        return MTU_DEFAULT;
    if (lowest < MTU_MIN + MTU_OVERHEAD)
        return MTU_MIN;
    return lowest - MTU_OVERHEAD > MTU_MAX ? MTU_MAX : lowest - MTU_OVERHEAD;
}

static void set_mtu(struct apply *apply)
{
    uint32_t mtu = wanted_mtu(apply);
    if (mtu == apply->mtu)
        return;
    int code = ifconf_link_set_mtu(apply->conf, apply->ifindex, mtu);
    if (code == 0)
        apply->mtu = mtu;
    else
        log_warn("the tunnel's MTU cannot be set", F_INT("mtu", mtu),
                 F_STR("error", strerror(-code)));
}

static void set_firewall(struct apply *apply)
{
    struct err err;
    struct nft_config config = {
        .table = apply->nft_table,
        .tunnel = apply->interface_name,
        .interface = apply->node_interface,
        .overlays = apply->plan.overlay,
        .overlay_count = apply->plan.overlay_count,
        .peer_networks = apply->plan.peer_networks,
        .peer_network_count = apply->plan.peer_network_count,
        .peer_to_peer = apply->peer_to_peer,
        .clamp_mss = true,
    };
    if (nft_apply(&config, &err) == 0) {
        apply->firewall_told = false;
    } else if (!apply->firewall_told) {
        apply->firewall_told = true;
        log_warn("the firewall is not set up: networks behind this node are reached only if they "
                 "know the way back",
                 F_STR("error", err.text));
    }
}

/* Running nft takes as long as everything else together, so it is not run for a new route, which
 * our rules do not name. */
static bool needs_firewall(const struct plan *from, const struct plan *to)
{
    return !ip_prefixes_equal(from->overlay, from->overlay_count, to->overlay, to->overlay_count) ||
           !ip_prefixes_equal(from->peer_networks, from->peer_network_count, to->peer_networks,
                              to->peer_network_count);
}

/* ---- plans ---- */

int apply_plan(struct apply *apply, struct plan *plan, struct err *err)
{
    struct plan_delta delta;
    int code = plan_diff(&apply->plan, plan, &delta);
    if (code < 0) {
        plan_fini(plan);
        return err_set_errno(err, code, "a new plan cannot be compared");
    }
    bool firewall = apply->firewall && needs_firewall(&apply->plan, plan);
    if (delta.wg.peer_count > 0)
        code = path_configure(apply->path, &delta.wg, err);
    if (code < 0) {
        plan_fini(plan);
        goto out;
    }
    del_routes(apply, delta.routes_removed, delta.routes_removed_count);
    del_addresses(apply, delta.addresses_removed, delta.addresses_removed_count);
    plan_fini(&apply->plan);
    apply->plan = *plan;
    plan_init(plan);
    add_addresses(apply, delta.addresses_added, delta.addresses_added_count);
    set_mtu(apply);
    /* routes have the address as their source, and went with the former one */
    if (delta.addresses_added_count > 0)
        set_routes(apply, apply->plan.routes, apply->plan.route_count);
    else
        set_routes(apply, delta.routes_added, delta.routes_added_count);
    if (firewall)
        set_firewall(apply);
out:
    plan_delta_fini(&delta);
    return code;
}

int apply_part(struct apply *apply, struct plan *part, const struct plan_touched *touched,
               struct err *err)
{
    struct plan taken;
    int code = plan_take(&apply->plan, part, touched, &taken);
    if (code < 0) {
        plan_fini(part);
        return err_set_errno(err, code, "a new plan cannot be compared");
    }
    struct plan rest = apply->plan;
    apply->plan = taken;
    code = apply_plan(apply, part, err);
    int merged = plan_merge(&apply->plan, &rest);
    return code == 0 && merged < 0 ? err_set_errno(err, merged, "the plan is lost") : code;
}

int apply_renew(struct apply *apply, const uint8_t public_key[WG_KEY_LEN], struct err *err)
{
    for (size_t i = 0; i < apply->plan.peer_count; i++) {
        struct wg_peer_config peers[2] = {{.remove = true}, apply->plan.peers[i]};
        if (memcmp(peers[1].public_key, public_key, WG_KEY_LEN) != 0)
            continue;
        memcpy(peers[0].public_key, public_key, WG_KEY_LEN);
        struct wg_device_config config = {.peers = peers, .peer_count = 2};
        return path_configure(apply->path, &config, err);
    }
    return 0;
}

const struct plan *apply_current(const struct apply *apply)
{
    return &apply->plan;
}

/* ---- the UAPI socket ---- */

static int uapi_get(void *ctx, struct uapi_info *out)
{
    struct apply *apply = ctx;
    struct path_info info;
    int code = path_info(apply->path, &info);
    if (code < 0)
        return code;
    *out = (struct uapi_info){
        .device = info.device, .listen_port = info.listen_port, .fwmark = info.fwmark};
    info.device = (struct wg_device_info){0};
    path_info_fini(&info);
    return 0;
}

/* `wg show` is a convenience: without its socket the tunnel runs all the same. */
static void open_uapi(struct apply *apply, uv_loop_t *loop)
{
    struct err err;
    struct uapi_socket_options options = {
        .interface_name = apply->interface_name,
        .listen_fd = -1,
        .read_only = true,
        .ctx = apply,
        .get = uapi_get,
    };
    if (uapi_socket_open(&apply->uapi, loop, &options, &err) < 0)
        log_warn("wg(8) cannot show this tunnel", F_STR("error", err.text));
}

/* ---- opening and closing ---- */

static void on_path_closed(void *ctx, const char *reason)
{
    struct apply *apply = ctx;
    strncpy(apply->reason, reason, sizeof apply->reason - 1);
    (void)uv_async_send(apply->gone);
}

static void on_gone(uv_async_t *async)
{
    struct apply *apply = async->data;
    if (apply != NULL)
        apply->closed(apply->ctx, apply->reason);
}

static void free_async(uv_handle_t *handle)
{
    free(handle);
}

static int open_async(struct apply *apply, uv_loop_t *loop)
{
    apply->gone = malloc(sizeof *apply->gone);
    if (apply->gone == NULL)
        return -ENOMEM;
    int code = uv_async_init(loop, apply->gone, on_gone);
    if (code < 0) {
        free(apply->gone);
        apply->gone = NULL;
        return code;
    }
    apply->gone->data = apply;
    return 0;
}

static int open_path(struct apply *apply, const struct apply_options *options, struct err *err)
{
    struct tun *tun = NULL;
    int code = tun_open(&tun, options->interface_name, err);
    if (code < 0)
        return code;
    apply->ifindex = tun_ifindex(tun);
    struct path_options path_options = {.tun = tun, .on_closed = on_path_closed, .ctx = apply};
    code = path_create(&apply->path, &path_options, err);
    if (code < 0) {
        tun_close(tun);
        return code;
    }
    struct wg_device_config config = {
        .has_private_key = true,
        .has_listen_port = true,
        .has_fwmark = true,
        .listen_port = options->listen_port,
        .fwmark = apply->mark,
    };
    memcpy(config.private_key, options->private_key, sizeof config.private_key);
    code = path_start(apply->path, err);
    if (code == 0)
        code = path_configure(apply->path, &config, err);
    bytes_wipe(config.private_key, sizeof config.private_key);
    return code;
}

static int learn_public_key(struct apply *apply, struct err *err)
{
    struct path_info info;
    int code = path_info(apply->path, &info);
    if (code < 0)
        return err_set_errno(err, code, "the tunnel cannot be asked for its key");
    memcpy(apply->public_key, info.device.public_key, sizeof apply->public_key);
    path_info_fini(&info);
    return 0;
}

static void enable_forwarding(const struct apply *apply)
{
    bool was;
    int code = ifconf_forwarding_enable(4, &was);
    if (code == 0 && apply->ipv6)
        code = ifconf_forwarding_enable(6, &was);
    if (code < 0)
        log_warn("the kernel does not forward packets and cannot be told to: only this host is "
                 "reached through its tunnel",
                 F_STR("error", strerror(-code)));
}

static int bring_up(struct apply *apply, const struct apply_options *options, struct err *err)
{
    int code = learn_public_key(apply, err);
    if (code < 0)
        return code;
    apply->ipv6 = ifconf_ipv6_enabled(apply->interface_name);
    if (!apply->ipv6)
        log_warn("IPv6 is switched off on this host: the network is served over IPv4 only");
    set_mtu(apply);
    code = ifconf_link_set_up(apply->conf, apply->ifindex, true);
    if (code < 0)
        return err_set_errno(err, code, "interface %s cannot be set up", apply->interface_name);
    code = add_rules(apply, err);
    if (code < 0)
        return code;
    if (apply->firewall)
        enable_forwarding(apply);
    open_uapi(apply, options->loop);
    return 0;
}

int apply_open(struct apply **out, const struct apply_options *options, struct err *err)
{
    *out = NULL;
    struct apply *apply = calloc(1, sizeof *apply);
    if (apply == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    plan_init(&apply->plan);
    apply->ctx = options->ctx;
    apply->closed = options->closed;
    apply->firewall = options->firewall;
    apply->peer_to_peer = options->peer_to_peer;
    apply->mark = apply_mark_of(options->interface_name);
    strncpy(apply->interface_name, options->interface_name, sizeof apply->interface_name - 1);
    name_table(apply);
    int code = ifconf_open(&apply->conf);
    if (code < 0) {
        err_set_errno(err, code, "no netlink socket");
        goto fail;
    }
    if (options->node_interface != NULL) {
        apply->node_interface = strdup(options->node_interface);
        if (apply->node_interface == NULL)
            code = -ENOMEM;
    }
    if (code == 0)
        code = open_async(apply, options->loop);
    if (code < 0) {
        err_set_errno(err, code, "the tunnel cannot be set up");
        goto fail;
    }
    code = open_path(apply, options, err);
    if (code < 0)
        goto fail;
    clean(apply->conf, apply->mark);
    code = bring_up(apply, options, err);
    if (code < 0)
        goto fail;
    *out = apply;
    return 0;
fail:
    apply_close(apply);
    return code;
}

void apply_close(struct apply *apply)
{
    if (apply == NULL)
        return;
    uapi_socket_close(apply->uapi);
    if (apply->path != NULL) {
        if (apply->firewall)
            (void)nft_remove(apply->nft_table, NULL);
        clean(apply->conf, apply->mark);
        path_destroy(apply->path);
    }
    if (apply->gone != NULL) {
        apply->gone->data = NULL; /* what was sent and not yet delivered goes nowhere */
        uv_close((uv_handle_t *)apply->gone, free_async);
    }
    ifconf_close(apply->conf);
    plan_fini(&apply->plan);
    free(apply->node_interface);
    free(apply);
}

int apply_info(struct apply *apply, struct path_info *out)
{
    return path_info(apply->path, out);
}

uint32_t apply_fwmark(const struct apply *apply)
{
    return apply->mark;
}

const uint8_t *apply_public_key(const struct apply *apply)
{
    return apply->public_key;
}
