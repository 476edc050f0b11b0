/* One loop on the main thread.
 *
 * Coming up: host and data dir -> helpers, Redis -> rights given up -> tunnel -> store, state ->
 * bootstrap -> API -> ready. Going down, in reverse: API -> names -> tunnel -> store, Redis ->
 * loop. fail() and a signal go down the same way, from whatever is up by then. */
#include "control/daemon/node.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/api/doctor.h"
#include "control/api/facts.h"
#include "control/api/health.h"
#include "control/api/heimdall.h"
#include "control/api/keyring.h"
#include "control/api/reflection.h"
#include "control/api/status.h"
#include "control/api/watch.h"
#include "control/api/watch_peer.h"
#include "control/cluster/cluster.h"
#include "control/daemon/checkup.h"
#include "control/daemon/metrics_server.h"
#include "control/daemon/node_bootstrap.h"
#include "control/daemon/node_host.h"
#include "control/daemon/node_listen.h"
#include "control/daemon/node_metrics.h"
#include "control/daemon/node_parts.h"
#include "control/daemon/node_presence.h"
#include "control/daemon/node_settle.h"
#include "control/host/confine.h"
#include "control/host/datadir.h"
#include "control/host/resolver_helper.h"
#include "control/host/socket_watch.h"
#include "control/host/tool.h"
#include "control/rpc/server.h"
#include "control/state/presence.h"
#include "control/state/state.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>

enum { GOODBYE_MS = 300 }; /* for calls that are being answered during a stop */

static void stop(struct node *node);
static void on_cluster_closed(void *ctx);

/* Ends the run; the first error counts. */
static void fail(struct node *node, const struct err *err)
{
    if (node->code == 0) {
        node->code = err->code < 0 ? err->code : -EIO;
        if (node->err != NULL)
            *node->err = *err;
    }
    stop(node);
}

/* ---- the control API ---- */

static const struct state *env_state(void *ctx)
{
    const struct node *node = ctx;
    return cluster_state(node->cluster);
}

static void env_settle(void *ctx)
{
    node_settle(ctx);
}

static void env_peer_connected(void *ctx, const uint8_t public_key[WG_KEY_LEN])
{
    struct node *node = ctx;
    struct err err;
    if (tunnel_forget_timestamp(node->tunnel, public_key, &err) < 0)
        log_warn("cannot take a peer whose clock went back", F_STR("error", err.text));
}

static const char *env_dns_domain(void *ctx)
{
    const struct node *node = ctx;
    return names_domain_for_peers(node->names);
}

static int env_tunnel_info(void *ctx, struct path_info *out)
{
    struct node *node = ctx;
    return tunnel_info(node->tunnel, out);
}

static void env_host(void *ctx, struct report_host *out)
{
    const struct node *node = ctx;
    *out = (struct report_host){
        .interface_name = node->config->daemon.interface_name,
        .data_dir = datadir_path(node->datadir),
        .started_ns = node->started_ns,
        .insecure = node->config->tls.insecure,
        .redis_runs = cluster_redis_runs(node->cluster),
        .takes_changes = cluster_takes_changes(node->cluster),
        .disk_full = cluster_disk_full(node->cluster),
        .address_problem = node_host_problem(node),
        .tunnel_problem = tunnel_problem(node->tunnel),
        .forwards = tunnel_forwards(node->tunnel),
        .firewall_problem = tunnel_firewall_problem(node->tunnel),
        .missing_sockets = {socket_watch_missing(node->socket_watch),
                            tunnel_missing_socket(node->tunnel),
                            cluster_missing_socket(node->cluster)},
        .serves_names = names_are_served(node->names),
    };
    out->probes = checkup_results(node->checkup, &out->probe_count);
    checkup_refresh(node->checkup);
}

static void env_checkup(void *ctx, void (*done)(void *ctx), void *done_ctx)
{
    const struct node *node = ctx;
    if (node->checkup != NULL)
        checkup_await(node->checkup, done, done_ctx);
    else
        done(done_ctx);
}

static void env_checkup_forget(void *ctx, void *done_ctx)
{
    const struct node *node = ctx;
    if (node->checkup != NULL)
        checkup_forget(node->checkup, done_ctx);
}

static struct tap *env_tap(void *ctx)
{
    const struct node *node = ctx;
    return path_tap(tunnel_path(node->tunnel));
}

static bool serves_peers(void *ctx)
{
    const struct node *node = ctx;
    return names_domain_for_peers(node->names) != NULL;
}

static int make_api(struct node *node)
{
    node->env = (struct api_env){
        .node_id = node->identity.id,
        .cluster_key = node->identity.cluster_key,
        .public_key = node->public_key,
        .run = node->run,
        .writer = cluster_writer(node->cluster),
        .ctx = node,
        .state = env_state,
        .settle = env_settle,
        .peer_connected = env_peer_connected,
        .tunnel_info = env_tunnel_info,
        .host = env_host,
        .dns_domain = env_dns_domain,
        .checkup = env_checkup,
        .tap = env_tap,
        .checkup_forget = env_checkup_forget,
    };
    int code = keyring_create(&node->keyring, node->identity.cluster_key, node->seed);
    if (code == 0)
        keyring_complete(node->keyring, &node->loop);
    node->rpc = rpc_server_create(&node->loop);
    if (code == 0 && node->rpc == NULL)
        code = -ENOMEM;
    if (code == 0)
        code = watch_peer_create(&node->watch, node->rpc, &node->env);
    if (code == 0)
        code = heimdall_service_create(&node->handlers, node->rpc, &node->env, node->watch);
    if (code == 0)
        code = status_create(&node->status, node->rpc, &node->env, node->watch);
    if (code == 0)
        code = doctor_create(&node->doctor, node->rpc, &node->env, node->watch);
    if (code == 0)
        code = watch_create(&node->events, node->rpc, &node->env);
    if (code == 0)
        code = rpc_health_create(&node->health, node->rpc);
    if (code == 0)
        code = rpc_reflection_create(&node->reflection, node->rpc);
    if (code == 0)
        code = node_settle_keyring(node);
    if (code == 0)
        code = node_presence_start(node);
    struct checkup_options checkup = {
        .loop = &node->loop,
        .tunnel = node->tunnel,
        .interface_name = node->config->daemon.interface_name,
        .peer_to_peer = node->config->allow_peer_to_peer,
        .ctx = node,
        .serves_peers = serves_peers,
    };
    if (code == 0)
        code = checkup_open(&node->checkup, &checkup);
    return code;
}

static void say_ready(const struct node *node)
{
    char gateway[IP_ADDR_TEXT] = "";
    const struct state_node *self = state_node(cluster_state(node->cluster), node->identity.id);
    if (self != NULL)
        ip_addr_format(&self->gateway, gateway);
    const char *addr = node->advertise[0] != '\0' ? node->advertise : "none yet";
    log_info("ready", F_STR("addr", addr), F_STR("gateway", gateway),
             F_INT("endpoint_port", node->config->endpoint_port));
    log_info("to let a peer in, run on this host: hctl peers authorize ID");
}

/* The store holds the cluster and this node's record: serve. */
static void on_bootstrapped(struct node *node, const struct err *cause)
{
    struct err err;
    if (cause != NULL) {
        fail(node, cause);
        return;
    }
    node_settle(node);
    log_info("starting as master", F_STR("id", node->identity.id), F_STR("name", node->name));
    int code = make_api(node);
    if (code < 0)
        err_set_errno(&err, code, "cannot set up the control API");
    if (code == 0)
        code = node_host_serve(node, &err);
    if (code == 0)
        code = node_listen_unix(node, &err);
    if (code < 0) {
        fail(node, &err);
        return;
    }
    node->ready = true;
    checkup_later(node->checkup);
    say_ready(node);
}

/* ---- coming up ---- */

/* The certificate of --cert, --key and --ca. */
static int load_certificate(struct node *node, struct err *err)
{
    const struct node_config *config = node->config;
    if (config->tls.insecure || config->tls.cert == NULL)
        return 0;
    return transport_tls_create_certificate(&node->tls, config->tls.cert, config->tls.key,
                                            config->tls.ca, err);
}

static int load_identity(struct node *node, struct err *err)
{
    const struct node_config *config = node->config;
    char key[ACCESS_ID_MAX + 1] = "";
    int code = 0;
    if (config->cluster_key_file != NULL)
        code = identity_read_key_option(config->cluster_key_file, key, err);
    else if (config->cluster_key != NULL)
        snprintf(key, sizeof key, "%s", config->cluster_key);
    if (code == 0)
        code = datadir_open(&node->datadir, config->data_dir, err);
    if (code == 0)
        code = identity_load_node(&node->identity, node->datadir, config->id,
                                  key[0] != '\0' ? key : NULL, err);
    bytes_wipe(key, sizeof key);
    if (code == 0 && node->identity.made_cluster_key)
        log_info("made a cluster key, which administrators of other hosts need",
                 F_STR("folder", datadir_path(node->datadir)), F_STR("file", "cluster.key"));
    return code;
}

static void on_tunnel_recreated(void *ctx)
{
    struct node *node = ctx;
    if (node->names != NULL)
        names_repoint(node->names);
}

static void on_network_changed(void *ctx)
{
    node_host_changed(ctx);
}

static int open_tunnel(struct node *node, struct err *err)
{
    struct tunnel_options options = {
        .loop = &node->loop,
        .interface_name = node->config->daemon.interface_name,
        .private_key = node->identity.private_key,
        .listen_port = node->config->endpoint_port,
        .firewall = true,
        .peer_to_peer = node->config->allow_peer_to_peer,
        .node_interface = node->config->node_interface,
        .ctx = node,
        .recreated = on_tunnel_recreated,
        .network_changed = on_network_changed,
    };
    int code = tunnel_open(&node->tunnel, &options, err);
    if (code < 0)
        return code;
    bytes_to_base64(node->public_key, tunnel_public_key(node->tunnel), WG_KEY_LEN);
    node->names_options = (struct names_options){
        .loop = &node->loop,
        .data_dir = datadir_path(node->datadir),
        .interface_name = node->config->daemon.interface_name,
        .domain = node->config->dns_domain,
        .ns = node->name,
        .address = node->config->dns_address,
        .upstreams = &node->config->dns_upstream,
        .upstream_tls = node->config->dns_upstream_tls,
    };
    memcpy(node->names_options.seed, node->seed, sizeof node->seed);
    code = names_open(&node->names, &node->names_options);
    return code == 0 ? 0 : err_set_errno(err, code, "cannot set up DNS");
}

static void node_stop(void *ctx)
{
    stop(ctx);
}

static void node_reload(void *ctx)
{
    struct node *node = ctx;
    config_reload_node(node->config);
}

static int open_loop(struct node *node)
{
    const struct signals_events events = {node, node_stop, node_reload};
    int code = uv_loop_init(&node->loop);
    if (code < 0)
        return code;
    signals_open(&node->signals, &node->loop, &events);
    node_settle_init(node);
    node_host_init(node);
    (void)uv_timer_init(&node->loop, &node->presence_timer);
    node->presence_timer.data = node;
    return 0;
}

/* Each connected peer is a file, and shells and containers often allow 1024. */
static void raise_file_limit(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur == files.rlim_max)
        return;
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
}

/* ---- the cluster ---- */

static void on_changing(void *ctx, const struct record_op *op)
{
    node_touch(ctx, op);
}

static void on_changed(void *ctx, const struct record_change *change)
{
    struct node *node = ctx;
    node->dirty = true;
    if (node->events != NULL)
        watch_changed(node->events, change);
}

static void on_reloaded(void *ctx, bool gap)
{
    struct node *node = ctx;
    if (node->events != NULL && gap)
        watch_lost(node->events);
    node_touch_all(node);
    node_settle(node);
}

static void on_promoted(void *ctx)
{
    node_bootstrap(ctx, on_bootstrapped);
}

static void on_cluster_failed(void *ctx, const struct err *err)
{
    if (err->code == -ENODATA)
        log_error(err->text);
    fail(ctx, err);
}

static int start_cluster(struct node *node, struct err *err)
{
    struct cluster_options options = {
        .loop = &node->loop,
        .datadir = node->datadir,
        .events = {.ctx = node,
                   .changing = on_changing,
                   .changed = on_changed,
                   .reloaded = on_reloaded,
                   .promoted = on_promoted,
                   .failed = on_cluster_failed,
                   .closed = on_cluster_closed},
    };
    memcpy(options.seed, node->seed, sizeof options.seed);
    int code = cluster_start(&node->cluster, &options, err);
    if (code == -ENODATA)
        log_error(err->text);
    return code;
}

/* Without its helpers the daemon can change nothing of the host any more. */
static void on_helper_gone(void *ctx)
{
    struct node *node = ctx;
    struct err err;
    if (node->stopping)
        return;
    err_set(&err, -ECHILD,
            "a helper process (heimdall-tools) is gone: this program ends, so that its supervisor "
            "restarts it");
    fail(node, &err);
}

static void watch_helpers(struct node *node)
{
    helper_watch_open(&node->helpers[0], &node->loop, tool_helper(), on_helper_gone, node);
    helper_watch_open(&node->helpers[1], &node->loop, resolver_helper(), on_helper_gone, node);
}

static int start(struct node *node, struct err *err)
{
    raise_file_limit();
    if (getrandom(node->seed, sizeof node->seed, 0) != (ssize_t)sizeof node->seed ||
        getrandom(&node->run, sizeof node->run, 0) != (ssize_t)sizeof node->run)
        return err_set(err, -EIO, "no random bytes");
    int code = resolver_helper_start(node->config->data_dir);
    if (code < 0)
        return err_set_errno(err, code, "cannot start the helper that keeps the host's resolver");
    code = tool_helper_start();
    if (code < 0)
        return err_set_errno(err, code, "cannot start the helper that runs nft");
    code = node_read_host(node, err);
    if (code == 0)
        code = load_certificate(node, err);
    if (code == 0)
        code = load_identity(node, err);
    if (code < 0)
        return code;
    log_info("starting heimdall", F_STR("version", HEIMDALL_VERSION));
    node_host_report(node);
    names_clean(datadir_path(node->datadir));
    code = start_cluster(node, err);
    if (code < 0)
        return code;
    watch_helpers(node);
    confine_self(); /* the helpers run, and there are no threads yet */
    (void)log_start();
    code = open_tunnel(node, err);
    if (code == 0)
        code = node_metrics_open(node, err);
    if (code == 0)
        code = cluster_open(node->cluster, err);
    return code;
}

/* ---- going down ---- */

/* What the API's last calls use ends after the writer. */
static void on_cluster_closed(void *ctx)
{
    struct node *node = ctx;
    node->cluster = NULL;
    heimdall_service_destroy(node->handlers);
    rpc_reflection_destroy(node->reflection);
    rpc_health_destroy(node->health);
    watch_destroy(node->events);
    doctor_destroy(node->doctor);
    status_destroy(node->status);
    watch_peer_destroy(node->watch);
    keyring_destroy(node->keyring);
    presence_destroy(node->presence);
    node->handlers = NULL;
    node->doctor = NULL;
    node->status = NULL;
    node->events = NULL;
    node->health = NULL;
    node->reflection = NULL;
    node->watch = NULL;
    node->keyring = NULL;
    node->presence = NULL;
    signals_close(&node->signals);
    for (size_t i = 0; i < 2; i++)
        helper_watch_close(&node->helpers[i]);
    node_settle_close(node);
    node_host_close(node);
    uv_close((uv_handle_t *)&node->presence_timer, NULL);
    node->stopped = true;
}

static void close_rest(void *ctx)
{
    struct node *node = ctx;
    rpc_server_destroy(node->rpc);
    node->rpc = NULL;
    metrics_server_close(node->metrics);
    node->metrics = NULL;
    names_close(node->names);
    node->names = NULL;
    checkup_close(node->checkup);
    node->checkup = NULL;
    tunnel_close(node->tunnel);
    node->tunnel = NULL;
    if (node->cluster != NULL)
        cluster_close(node->cluster);
    else
        on_cluster_closed(node);
}

static void stop(struct node *node)
{
    if (node->stopping)
        return;
    node->stopping = true;
    socket_watch_close(node->socket_watch);
    node->socket_watch = NULL;
    rpc_health_shut_down(node->health);
    if (node->rpc != NULL)
        rpc_server_shut_down(node->rpc, GOODBYE_MS, close_rest, node);
    else
        close_rest(node);
}

int node_run(struct node_config *config, struct err *err)
{
    struct node *node = calloc(1, sizeof *node);
    struct err cause;
    if (node == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    node->config = config;
    node->err = err;
    node->started_ns = clock_boottime_ns();
    int code = open_loop(node);
    if (code < 0) {
        free(node);
        return err_set_errno(err, code, "no event loop");
    }
    if (start(node, &cause) < 0)
        fail(node, &cause);
    (void)uv_run(&node->loop, UV_RUN_DEFAULT);
    code = node->code;
    if (uv_loop_close(&node->loop) < 0)
        log_debug("the loop was left with open handles");
    tool_helper_end();
    resolver_helper_end();
    transport_tls_destroy(node->tls);
    identity_fini(&node->identity);
    free(node->host_networks);
    datadir_close(node->datadir);
    bytes_wipe(node, sizeof *node);
    free(node);
    return code;
}
