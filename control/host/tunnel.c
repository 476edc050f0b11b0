/* The order within one plan matters. Something new works at once: address, then engine, then route,
 * so that no packet meets a route without a peer behind it. Something old stops at once: the engine
 * first, then the route. The engine is in memory and takes a change whole; the kernel's part is a
 * list of independent requests, each of which may fail without spoiling the others. */
#include "control/host/tunnel.h"

#include "base/bytes.h"
#include "base/log.h"
#include "control/host/interface.h"
#include "control/host/nft.h"
#include "control/state/plan_part.h"
#include "tun/route_watch.h"
#include "tun/tun.h"
#include "wg/uapi/uapi_socket.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    MARK_BASE = 0x48440000, /* "HD": the upper half of every mark of ours */
    REOPEN_MS = 1000,       /* the second pause before the interface is made anew; the first is 0 */
    REOPEN_DOUBLINGS = 5,   /* of the pauses that follow */
    SETTLED_MS = 60000,     /* an interface that lived this long may be made anew at once again */
    ROUTES_MS = 300,        /* for changes of routes and links to be looked at together */
};

#define NFT_TABLE "heimdall_" /* and the interface's name */

/* What the loop holds; it outlives the apply until all of it is closed. */
struct watchers {
    struct apply *apply; /* NULL: closing */
    unsigned open;
    uv_async_t gone;  /* from the path's thread */
    uv_timer_t again; /* until the interface is made anew */
    uv_poll_t routes;
    uv_timer_t routes_rest;
};

struct apply {
    struct plan plan;
    struct interface interface;
    struct path *path;
    struct uapi_socket *uapi;
    struct watchers *watchers;
    struct route_watch *route_watch; /* NULL: the MTU is what it was at the last change */
    void *ctx;
    void (*recreated)(void *ctx);
    void (*network_changed)(void *ctx);
    char *node_interface;
    char nft_table[sizeof NFT_TABLE + IFCONF_NAME_LEN];
    char reason[128]; /* written once by the path's thread before it rings `gone` */
    uint8_t public_key[WG_KEY_LEN];
    uint64_t made_ms;  /* when the interface was made last, in the loop's time */
    unsigned removals; /* since it last lived for SETTLED_MS, and attempts that failed */
    bool reopen_told;  /* that it cannot be made */
    bool firewall;
    bool peer_to_peer;
    bool firewall_told;  /* that nft does not work here */
    bool no_forwarding;  /* neither found on nor switched on */
    bool switched_on[2]; /* forwarding of IPv4 and IPv6, by us */
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
    for (const char *name = apply->interface.name; *name != '\0'; name++)
        *at++ = isalnum((unsigned char)*name) ? *name : '_';
    *at = '\0';
}

/* ---- the firewall ---- */

static void set_firewall(struct apply *apply)
{
    struct err err;
    struct nft_config config = {
        .table = apply->nft_table,
        .tunnel = apply->interface.name,
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
    interface_retract(&apply->interface, plan, &delta);
    plan_fini(&apply->plan);
    apply->plan = *plan;
    plan_init(plan);
    interface_extend(&apply->interface, &apply->plan, &delta);
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
        .interface_name = apply->interface.name,
        .listen_fd = -1,
        .read_only = true,
        .ctx = apply,
        .get = uapi_get,
    };
    if (uapi_socket_open(&apply->uapi, loop, &options, &err) < 0)
        log_warn("wg(8) cannot show this tunnel", F_STR("error", err.text));
}

/* ---- the interface comes back ---- */

static void on_path_closed(void *ctx, const char *reason)
{
    struct apply *apply = ctx;
    strncpy(apply->reason, reason, sizeof apply->reason - 1);
    (void)uv_async_send(&apply->watchers->gone);
}

static void on_again(uv_timer_t *timer);

/* 0, then ever longer. */
static void reopen_later(struct apply *apply)
{
    uint64_t pause_ms = 0;
    if (apply->removals > 0)
        pause_ms = (uint64_t)REOPEN_MS << (apply->removals - 1);
    if (apply->removals <= REOPEN_DOUBLINGS)
        apply->removals++;
    (void)uv_timer_start(&apply->watchers->again, on_again, pause_ms, 0);
}

/* Sessions went with the link; peers, endpoints and the port did not. */
static void on_again(uv_timer_t *timer)
{
    struct apply *apply = ((struct watchers *)timer->data)->apply;
    struct err err;
    int code = path_reopen(apply->path, &err);
    if (code < 0) {
        if (!apply->reopen_told)
            log_error("the tunnel's interface cannot be made again; it is tried further",
                      F_STR("error", err.text));
        apply->reopen_told = true;
        reopen_later(apply);
        return;
    }
    apply->reopen_told = false;
    apply->made_ms = uv_now(timer->loop);
    if (interface_come_up(&apply->interface, path_ifindex(apply->path), &apply->plan, &err) < 0)
        log_error("the tunnel does not come up", F_STR("error", err.text));
    else
        log_info("made the tunnel's interface again", F_STR("interface", apply->interface.name));
    if (apply->recreated != NULL)
        apply->recreated(apply->ctx);
}

static void on_gone(uv_async_t *async)
{
    struct apply *apply = ((struct watchers *)async->data)->apply;
    if (apply == NULL)
        return;
    log_warn("the tunnel's interface was removed", F_STR("interface", apply->interface.name),
             F_STR("reason", apply->reason));
    apply->interface.ifindex = 0;
    if (uv_now(async->loop) - apply->made_ms >= SETTLED_MS)
        apply->removals = 0;
    reopen_later(apply);
}

/* ---- routes and links of the host ---- */

static void on_routes_rest(uv_timer_t *timer)
{
    struct apply *apply = ((struct watchers *)timer->data)->apply;
    interface_heal(&apply->interface, &apply->plan);
    if (apply->network_changed != NULL)
        apply->network_changed(apply->ctx);
}

static void on_routes(uv_poll_t *poll, int status, int events)
{
    struct watchers *watchers = poll->data;
    (void)status;
    (void)events;
    if (watchers->apply != NULL && route_watch_read(watchers->apply->route_watch) &&
        !uv_is_active((uv_handle_t *)&watchers->routes_rest))
        (void)uv_timer_start(&watchers->routes_rest, on_routes_rest, ROUTES_MS, 0);
}

static int watch_routes(struct apply *apply, uv_loop_t *loop)
{
    struct watchers *watchers = apply->watchers;
    int code = route_watch_open(&apply->route_watch, true);
    if (code < 0)
        return code;
    code = uv_poll_init(loop, &watchers->routes, route_watch_fd(apply->route_watch));
    if (code < 0)
        return code;
    watchers->routes.data = watchers;
    watchers->open++;
    return uv_poll_start(&watchers->routes, UV_READABLE, on_routes);
}

/* ---- opening and closing ---- */

static void on_watcher_closed(uv_handle_t *handle)
{
    struct watchers *watchers = handle->data;
    if (--watchers->open == 0)
        free(watchers);
}

static int open_watchers(struct apply *apply, uv_loop_t *loop)
{
    struct watchers *watchers = calloc(1, sizeof *watchers);
    if (watchers == NULL)
        return -ENOMEM;
    int code = uv_async_init(loop, &watchers->gone, on_gone);
    if (code < 0) {
        free(watchers);
        return code;
    }
    (void)uv_timer_init(loop, &watchers->again);
    (void)uv_timer_init(loop, &watchers->routes_rest);
    watchers->gone.data = watchers->again.data = watchers->routes_rest.data = watchers;
    watchers->open = 3;
    watchers->apply = apply;
    apply->watchers = watchers;
    code = watch_routes(apply, loop);
    if (code < 0)
        log_warn("changes of the host's routes are not seen", F_STR("error", strerror(-code)));
    return 0;
}

static void close_watchers(struct watchers *watchers)
{
    if (watchers == NULL)
        return;
    bool has_routes = watchers->open == 4;
    watchers->apply = NULL; /* what was sent and not yet delivered goes nowhere */
    uv_close((uv_handle_t *)&watchers->gone, on_watcher_closed);
    uv_close((uv_handle_t *)&watchers->again, on_watcher_closed);
    uv_close((uv_handle_t *)&watchers->routes_rest, on_watcher_closed);
    if (has_routes)
        uv_close((uv_handle_t *)&watchers->routes, on_watcher_closed);
}

static int open_path(struct apply *apply, const struct apply_options *options, struct err *err)
{
    struct tun *tun = NULL;
    int code = tun_open(&tun, options->interface_name, err);
    if (code < 0)
        return code;
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
        .fwmark = apply->interface.mark,
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

/* One line tells it: who may not switch IPv4 on may not switch IPv6 on either. */
static void enable_forwarding(struct apply *apply)
{
    int code = 0;
    for (int i = 0; i < (apply->interface.ipv6 ? 2 : 1) && code == 0; i++) {
        bool was = true;
        code = ifconf_forwarding_enable(i == 0 ? 4 : 6, &was);
        apply->switched_on[i] = code == 0 && !was;
        apply->no_forwarding = code < 0;
        if (code < 0)
            log_warn("the kernel does not forward packets and cannot be told to: only this host is "
                     "reached through its tunnel",
                     F_INT("ip_version", i == 0 ? 4 : 6), F_STR("error", strerror(-code)));
    }
}

/* A host that did not forward before us does not do so after us. */
static void restore_forwarding(struct apply *apply)
{
    for (int i = 0; i < 2; i++)
        if (apply->switched_on[i])
            (void)ifconf_forwarding_disable(i == 0 ? 4 : 6);
}

static int bring_up(struct apply *apply, const struct apply_options *options, struct err *err)
{
    int code = learn_public_key(apply, err);
    if (code < 0)
        return code;
    code = interface_come_up(&apply->interface, path_ifindex(apply->path), &apply->plan, err);
    if (code < 0)
        return code;
    apply->made_ms = uv_now(options->loop);
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
    apply->recreated = options->recreated;
    apply->network_changed = options->network_changed;
    apply->firewall = options->firewall;
    apply->peer_to_peer = options->peer_to_peer;
    int code = interface_init(&apply->interface, options->interface_name,
                              apply_mark_of(options->interface_name));
    if (code < 0) {
        err_set_errno(err, code, "no netlink socket");
        goto fail;
    }
    name_table(apply);
    if (options->node_interface != NULL) {
        apply->node_interface = strdup(options->node_interface);
        if (apply->node_interface == NULL)
            code = -ENOMEM;
    }
    if (code == 0)
        code = open_watchers(apply, options->loop);
    if (code < 0) {
        err_set_errno(err, code, "the tunnel cannot be set up");
        goto fail;
    }
    code = open_path(apply, options, err);
    if (code < 0)
        goto fail;
    interface_clean(&apply->interface);
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
        restore_forwarding(apply);
        interface_clean(&apply->interface);
        path_destroy(apply->path);
    }
    close_watchers(apply->watchers);
    route_watch_close(apply->route_watch);
    interface_fini(&apply->interface);
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
    return apply->interface.mark;
}

bool apply_has_ipv6(const struct apply *apply)
{
    return apply->interface.ipv6;
}

bool apply_forwards(const struct apply *apply)
{
    return !apply->no_forwarding;
}

bool apply_has_firewall(const struct apply *apply)
{
    return !apply->firewall_told;
}

const uint8_t *apply_public_key(const struct apply *apply)
{
    return apply->public_key;
}
