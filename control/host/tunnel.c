/* The order within one plan matters. Something new works at once: address, then engine, then route,
 * so that no packet meets a route without a peer behind it. Something old stops at once: the engine
 * first, then the route. The engine is in memory and takes a change whole; the kernel's part is a
 * list of independent requests, each of which may fail without spoiling the others. */
#include "control/host/tunnel.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/log_once.h"
#include "control/host/firewall.h"
#include "control/host/forwarding.h"
#include "control/host/interface.h"
#include "control/host/socket_watch.h"
#include "control/host/tunnel_watch.h"
#include "control/state/plan_diff.h"
#include "control/state/plan_part.h"
#include "tun/tun.h"
#include "wg/uapi/uapi_socket.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    REOPEN_MS = 1000,     /* the second pause before the interface is made anew; the first is 0 */
    REOPEN_DOUBLINGS = 5, /* of the pauses that follow */
    SETTLED_MS = 60000,   /* an interface that lived this long may be made anew at once again */
};

#define NFT_TABLE "heimdall_" /* and the interface's name */

struct tunnel {
    struct plan plan;
    struct interface interface;
    struct path *path;
    uv_loop_t *loop;
    struct uapi_socket *uapi; /* NULL: wg(8) cannot show this tunnel */
    struct socket_watch *uapi_watch;
    struct tunnel_watch *watch;
    struct firewall *firewall; /* NULL: a peer's tunnel has none */
    struct forwarding forwarding;
    void *ctx;
    void (*recreated)(void *ctx);
    void (*network_changed)(void *ctx);
    char *node_interface;
    char reason[128]; /* written once by the path's thread before it rings the watch */
    uint8_t public_key[WG_KEY_LEN];
    uint64_t made_ns;  /* when the interface was made last */
    unsigned removals; /* since it last lived for SETTLED_MS, and attempts that failed */
    struct log_once reopen_failed;
    bool peer_to_peer;
};

static int open_firewall(struct tunnel *tunnel, uv_loop_t *loop)
{
    char table[sizeof NFT_TABLE + (size_t)3 * IFCONF_NAME_LEN] = NFT_TABLE;
    char *at = table + strlen(NFT_TABLE);
    for (const char *name = tunnel->interface.name; *name != '\0'; name++) {
        /* nftables' identifiers have these; no name has the slash */
        bool plain = isalnum((unsigned char)*name) || strchr("-_.", *name) != NULL;
        at += sprintf(at, plain ? "%c" : "/%02x", (unsigned char)*name);
    }
    return firewall_open(&tunnel->firewall, loop, table);
}

/* ---- the firewall ---- */

static void set_firewall(struct tunnel *tunnel)
{
    struct nft_config config = {
        .tunnel = tunnel->interface.name,
        .interface = tunnel->node_interface,
        .overlays = tunnel->plan.overlay,
        .overlay_count = tunnel->plan.overlay_count,
        .peer_networks = tunnel->plan.peer_networks,
        .peer_network_count = tunnel->plan.peer_network_count,
        .inbound = tunnel->plan.inbound,
        .inbound_count = tunnel->plan.inbound_count,
        .peer_to_peer = tunnel->peer_to_peer,
        .clamp_mss = true,
    };
    firewall_set(tunnel->firewall, &config);
}

/* The engine refuses what the firewall does, so that peers stay apart when nft is missing or
 * another program flushes its tables. */
static void keep_peers_apart(struct tunnel *tunnel, const struct plan *plan)
{
    size_t count = tunnel->peer_to_peer ? 0 : plan->peer_network_count;
    int code = path_keep_apart(tunnel->path, plan->peer_networks, count);
    if (code < 0)
        log_error("cannot keep peers apart", F_STR("interface", tunnel->interface.name),
                  F_STR("error", strerror(-code)));
}

/* A new route is no reason to run nft, unless it is inbound: the rules name no others. */
static bool needs_firewall(const struct plan *from, const struct plan *to)
{
    return !ip_prefixes_equal(from->overlay, from->overlay_count, to->overlay, to->overlay_count) ||
           !ip_prefixes_equal(from->peer_networks, from->peer_network_count, to->peer_networks,
                              to->peer_network_count) ||
           !ip_prefixes_equal(from->inbound, from->inbound_count, to->inbound, to->inbound_count);
}

/* ---- plans ---- */

static int follow_whole(struct tunnel *tunnel, struct plan *plan, struct err *err)
{
    struct plan_delta delta;
    int code = plan_diff(&tunnel->plan, plan, &delta);
    if (code < 0) {
        plan_fini(plan);
        return err_set_errno(err, code, "a new plan cannot be compared");
    }
    bool firewall = tunnel->firewall != NULL && needs_firewall(&tunnel->plan, plan);
    if (firewall)
        keep_peers_apart(tunnel, plan);
    if (delta.wg.peer_count > 0)
        code = path_configure(tunnel->path, &delta.wg, err);
    if (code < 0) {
        plan_fini(plan);
        goto out;
    }
    interface_retract(&tunnel->interface, plan, &delta);
    plan_fini(&tunnel->plan);
    tunnel->plan = *plan;
    plan_init(plan);
    interface_extend(&tunnel->interface, &tunnel->plan, &delta);
    if (firewall)
        set_firewall(tunnel);
out:
    plan_delta_fini(&delta);
    return code;
}

int tunnel_follow(struct tunnel *tunnel, struct plan *plan, const struct plan_touched *touched,
                  struct err *err)
{
    struct plan taken;
    if (touched == NULL)
        return follow_whole(tunnel, plan, err);
    int code = plan_take(&tunnel->plan, plan, touched, &taken);
    if (code < 0) {
        plan_fini(plan);
        return err_set_errno(err, code, "a new plan cannot be compared");
    }
    struct plan rest = tunnel->plan;
    tunnel->plan = taken;
    code = follow_whole(tunnel, plan, err);
    int merged = plan_merge(&tunnel->plan, &rest);
    return code == 0 && merged < 0 ? err_set_errno(err, merged, "the plan is lost") : code;
}

int tunnel_renew(struct tunnel *tunnel, const uint8_t public_key[WG_KEY_LEN], struct err *err)
{
    for (size_t i = 0; i < tunnel->plan.peer_count; i++) {
        if (memcmp(tunnel->plan.peers[i].public_key, public_key, WG_KEY_LEN) != 0)
            continue;
        struct wg_peer_config peers[2] = {{.remove = true}, tunnel->plan.peers[i]};
        memcpy(peers[0].public_key, public_key, WG_KEY_LEN);
        struct wg_device_config config = {.peers = peers, .peer_count = 2};
        int code = path_configure(tunnel->path, &config, err);
        bytes_wipe(peers, sizeof peers);
        return code;
    }
    return 0;
}

int tunnel_forget_timestamp(struct tunnel *tunnel, const uint8_t public_key[WG_KEY_LEN],
                            struct err *err)
{
    struct wg_peer_config peer = {.update_only = true, .forget_timestamp = true};
    memcpy(peer.public_key, public_key, WG_KEY_LEN);
    struct wg_device_config config = {.peers = &peer, .peer_count = 1};
    return path_configure(tunnel->path, &config, err);
}

static bool is_in_use(const struct wg_peer_info *info)
{
    enum { IN_USE_S = 180 }; /* sessions end by then */
    return info->last_handshake_boot_ns != 0 && info->keepalive_s == 0 &&
           clock_boottime_ns() - info->last_handshake_boot_ns < IN_USE_S * NS_PER_SEC;
}

static void set_keepalive(struct tunnel *tunnel, struct wg_device_config *config, uint16_t seconds)
{
    struct err err = {0};
    for (size_t i = 0; i < config->peer_count; i++)
        config->peers[i].keepalive_s = seconds;
    if (config->peer_count > 0 && path_configure(tunnel->path, config, &err) < 0)
        log_debug("cannot greet peers", F_STR("error", err.text));
}

/* A persistent keepalive that is switched on is sent at once. */
void tunnel_greet(struct tunnel *tunnel)
{
    enum { GREETING_S = 25 };
    struct path_info info;
    if (path_info(tunnel->path, &info) < 0)
        return;
    struct wg_device_config config = {.peer_count = 0};
    config.peers = calloc(info.device.peer_count + 1, sizeof *config.peers);
    for (size_t i = 0; i < info.device.peer_count && config.peers != NULL; i++)
        if (is_in_use(&info.device.peers[i])) {
            struct wg_peer_config *peer = &config.peers[config.peer_count++];
            *peer = (struct wg_peer_config){.update_only = true, .has_keepalive = true};
            memcpy(peer->public_key, info.device.peers[i].public_key, WG_KEY_LEN);
        }
    set_keepalive(tunnel, &config, GREETING_S);
    set_keepalive(tunnel, &config, 0);
    free(config.peers);
    path_info_fini(&info);
}

const struct plan *tunnel_current(const struct tunnel *tunnel)
{
    return &tunnel->plan;
}

/* ---- the UAPI socket ---- */

static int uapi_get(void *ctx, struct uapi_info *out)
{
    struct tunnel *tunnel = ctx;
    struct path_info info;
    int code = path_info(tunnel->path, &info);
    if (code < 0)
        return code;
    *out = (struct uapi_info){
        .device = info.device, .listen_port = info.listen_port, .fwmark = info.fwmark};
    info.device = (struct wg_device_info){0};
    path_info_fini(&info);
    return 0;
}

static int open_uapi(struct tunnel *tunnel, struct err *err)
{
    struct uapi_socket_options options = {
        .interface_name = tunnel->interface.name,
        .listen_fd = -1,
        .read_only = true,
        .ctx = tunnel,
        .get = uapi_get,
    };
    return uapi_socket_open(&tunnel->uapi, tunnel->loop, &options, err);
}

static int reopen_uapi(void *ctx)
{
    struct tunnel *tunnel = ctx;
    struct err err;
    uapi_socket_close(tunnel->uapi);
    tunnel->uapi = NULL;
    return open_uapi(tunnel, &err);
}

/* `wg show` is a convenience: without its socket the tunnel runs all the same. */
static void serve_uapi(struct tunnel *tunnel)
{
    struct err err;
    struct socket_watch_options watch = {
        .loop = tunnel->loop, .ctx = tunnel, .restore = reopen_uapi};
    int code = open_uapi(tunnel, &err);
    if (code < 0) {
        log_warn("wg(8) cannot show this tunnel", F_STR("error", err.text));
        return;
    }
    watch.path = uapi_socket_path(tunnel->uapi);
    code = socket_watch_open(&tunnel->uapi_watch, &watch);
    if (code < 0)
        log_warn("cannot watch the socket of wg(8)", F_STR("error", strerror(-code)));
}

/* ---- the interface comes back ---- */

static void on_path_closed(void *ctx, const char *reason)
{
    struct tunnel *tunnel = ctx;
    strncpy(tunnel->reason, reason, sizeof tunnel->reason - 1);
    tunnel_watch_ring(tunnel->watch);
}

/* The first time at once, then after ever longer pauses. */
static void reopen_later(struct tunnel *tunnel)
{
    uint64_t pause_ms = 0;
    if (tunnel->removals > 0)
        pause_ms = (uint64_t)REOPEN_MS << (tunnel->removals - 1);
    if (tunnel->removals <= REOPEN_DOUBLINGS)
        tunnel->removals++;
    tunnel_watch_pause(tunnel->watch, pause_ms);
}

/* Sessions went with the link; peers, endpoints and the port did not. */
static void on_again(void *ctx)
{
    struct tunnel *tunnel = ctx;
    struct err err;
    int code = path_reopen(tunnel->path, &err);
    if (code < 0) {
        if (log_once(&tunnel->reopen_failed))
            log_error("cannot recreate the tunnel's interface, retrying",
                      F_STR("interface", tunnel->interface.name), F_STR("error", err.text));
        reopen_later(tunnel);
        return;
    }
    (void)log_once_reset(&tunnel->reopen_failed);
    tunnel->made_ns = clock_boottime_ns();
    if (interface_come_up(&tunnel->interface, path_ifindex(tunnel->path), &tunnel->plan, &err) < 0)
        log_error("cannot bring the tunnel up", F_STR("error", err.text));
    else
        log_info("recreated the tunnel's interface", F_STR("interface", tunnel->interface.name));
    if (tunnel->recreated != NULL)
        tunnel->recreated(tunnel->ctx);
}

static void on_gone(void *ctx)
{
    struct tunnel *tunnel = ctx;
    log_warn("the tunnel's interface was removed", F_STR("interface", tunnel->interface.name),
             F_STR("reason", tunnel->reason));
    tunnel->interface.ifindex = 0;
    if (clock_boottime_ns() - tunnel->made_ns >= SETTLED_MS * NS_PER_MS)
        tunnel->removals = 0;
    reopen_later(tunnel);
}

static void on_host_changed(void *ctx)
{
    struct tunnel *tunnel = ctx;
    uint64_t now_ns = clock_boottime_ns();
    uint64_t wait_ms = interface_heal(&tunnel->interface, &tunnel->plan, now_ns);
    if (tunnel->firewall != NULL)
        forwarding_heal(&tunnel->forwarding, tunnel->interface.ipv6, now_ns, &wait_ms);
    if (wait_ms > 0)
        tunnel_watch_look_in(tunnel->watch, wait_ms);
    if (tunnel->network_changed != NULL)
        tunnel->network_changed(tunnel->ctx);
}

/* ---- opening and closing ---- */

static const struct tunnel_watch_events watch_events = {on_gone, on_again, on_host_changed};

static int open_path(struct tunnel *tunnel, const struct tunnel_options *options, struct err *err)
{
    struct tun *tun = NULL;
    int code = tun_open(&tun, options->interface_name, err);
    if (code < 0)
        return code;
    struct path_options path_options = {.tun = tun, .on_closed = on_path_closed, .ctx = tunnel};
    code = path_create(&tunnel->path, &path_options, err);
    if (code < 0) {
        tun_close(tun);
        return code;
    }
    struct wg_device_config config = {
        .has_private_key = true,
        .has_listen_port = true,
        .has_fwmark = true,
        .listen_port = options->listen_port,
        .fwmark = tunnel->interface.slot.mark,
    };
    memcpy(config.private_key, options->private_key, sizeof config.private_key);
    code = path_start(tunnel->path, err);
    if (code == 0)
        code = path_configure(tunnel->path, &config, err);
    bytes_wipe(config.private_key, sizeof config.private_key);
    return code;
}

static int learn_public_key(struct tunnel *tunnel, struct err *err)
{
    struct path_info info;
    int code = path_info(tunnel->path, &info);
    if (code < 0)
        return err_set_errno(err, code, "the tunnel cannot be asked for its key");
    memcpy(tunnel->public_key, info.device.public_key, sizeof tunnel->public_key);
    path_info_fini(&info);
    return 0;
}

static int bring_up(struct tunnel *tunnel, struct err *err)
{
    int code = learn_public_key(tunnel, err);
    if (code < 0)
        return code;
    code = interface_come_up(&tunnel->interface, path_ifindex(tunnel->path), &tunnel->plan, err);
    if (code < 0)
        return code;
    tunnel->made_ns = clock_boottime_ns();
    if (tunnel->firewall != NULL)
        forwarding_enable(&tunnel->forwarding, tunnel->interface.ipv6);
    serve_uapi(tunnel);
    return 0;
}

int tunnel_open(struct tunnel **out, const struct tunnel_options *options, struct err *err)
{
    *out = NULL;
    struct tunnel *tunnel = calloc(1, sizeof *tunnel);
    if (tunnel == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    plan_init(&tunnel->plan);
    tunnel->loop = options->loop;
    tunnel->ctx = options->ctx;
    tunnel->recreated = options->recreated;
    tunnel->network_changed = options->network_changed;
    tunnel->peer_to_peer = options->peer_to_peer;
    int code = interface_init(&tunnel->interface, options->interface_name);
    if (code < 0) {
        err_set_errno(err, code, "no netlink socket");
        goto fail;
    }
    if (options->node_interface != NULL) {
        tunnel->node_interface = strdup(options->node_interface);
        if (tunnel->node_interface == NULL)
            code = -ENOMEM;
    }
    if (code == 0)
        code = tunnel_watch_open(&tunnel->watch, options->loop, &watch_events, tunnel);
    if (code < 0) {
        err_set_errno(err, code, "the tunnel cannot be set up");
        goto fail;
    }
    code = open_path(tunnel, options, err);
    if (code < 0)
        goto fail;
    interface_clean(&tunnel->interface);
    if (options->firewall) /* not before the interface is ours, and with it the table's name */
        code = open_firewall(tunnel, options->loop);
    if (code < 0)
        err_set_errno(err, code, "the firewall cannot be set up");
    else
        code = bring_up(tunnel, err);
    if (code < 0)
        goto fail;
    *out = tunnel;
    return 0;
fail:
    tunnel_close(tunnel);
    return code;
}

void tunnel_close(struct tunnel *tunnel)
{
    if (tunnel == NULL)
        return;
    socket_watch_close(tunnel->uapi_watch);
    uapi_socket_close(tunnel->uapi);
    firewall_close(tunnel->firewall);
    if (tunnel->path != NULL) {
        forwarding_restore(&tunnel->forwarding);
        interface_clean(&tunnel->interface);
        path_destroy(tunnel->path);
    }
    tunnel_watch_close(tunnel->watch);
    interface_fini(&tunnel->interface);
    plan_fini(&tunnel->plan);
    free(tunnel->node_interface);
    free(tunnel);
}

int tunnel_info(struct tunnel *tunnel, struct path_info *out)
{
    return path_info(tunnel->path, out);
}

const char *tunnel_missing_socket(const struct tunnel *tunnel)
{
    return socket_watch_missing(tunnel->uapi_watch);
}

struct path *tunnel_path(const struct tunnel *tunnel)
{
    return tunnel->path;
}

uint32_t tunnel_fwmark(const struct tunnel *tunnel)
{
    return tunnel->interface.slot.mark;
}

uint32_t tunnel_table(const struct tunnel *tunnel)
{
    return tunnel->interface.slot.table;
}

bool tunnel_exit_holds(const struct tunnel *tunnel)
{
    return rules_exit_holds(&tunnel->interface.rules, tunnel->interface.ifindex);
}

bool tunnel_has_ipv6(const struct tunnel *tunnel)
{
    return tunnel->interface.ipv6;
}

const char *tunnel_problem(const struct tunnel *tunnel)
{
    return interface_problem(&tunnel->interface);
}

bool tunnel_forwards(const struct tunnel *tunnel)
{
    const struct forwarding *forwarding = &tunnel->forwarding;
    return tunnel->firewall == NULL ||
           (forwarding->works[0] && (!tunnel->interface.ipv6 || forwarding->works[1]));
}

const char *tunnel_firewall_problem(const struct tunnel *tunnel)
{
    return tunnel->firewall != NULL ? firewall_problem(tunnel->firewall) : NULL;
}

const uint8_t *tunnel_public_key(const struct tunnel *tunnel)
{
    return tunnel->public_key;
}
