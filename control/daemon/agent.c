/* The life of a peer. The tunnel does not depend on the connection to a node: it keeps what a node
 * said last, and is emptied only when a node that has proved itself refuses this peer. */
#include "control/daemon/agent.h"

#include "base/bytes.h"
#include "base/log.h"
#include "control/daemon/agent_link.h"
#include "control/daemon/agent_news.h"
#include "control/daemon/agent_nodes.h"
#include "control/daemon/agent_parts.h"
#include "control/daemon/agent_resolver.h"
#include "control/daemon/metrics_server.h"
#include "control/host/confine.h"
#include "control/host/datadir.h"
#include "control/host/resolver_helper.h"
#include "control/host/tool.h"
#include "control/host/tunnel.h"
#include "control/rpc/transport_tls.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static void stop(struct agent *agent);

/* ---- coming up ---- */

static void fail(struct agent *agent, const struct err *err)
{
    if (agent->code == 0) {
        agent->code = err->code < 0 ? err->code : -EIO;
        *agent->err = *err;
    }
    stop(agent);
}

/* A connection from an address that is gone would be found dead much later. */
static void on_network_changed(void *ctx)
{
    struct agent *agent = ctx;
    agent_report_exit(agent, tunnel_current(agent->tunnel)->exit);
    agent_link_probe(agent);
}

static int load(struct agent *agent, struct err *err)
{
    const struct peer_config *config = agent->config;
    if (config->name != NULL)
        snprintf(agent->name, sizeof agent->name, "%s", config->name);
    else
        identity_host_label(agent->name, "peer");
    int code = address_parse(&agent->addresses[0], config->addr, true, err);
    agent->address_count = 1;
    if (code == 0 && config->tls.insecure)
        code = transport_tls_create_plaintext(&agent->tls, err);
    else if (code == 0 && config->tls.cert != NULL)
        code = transport_tls_create_certificate(&agent->tls, config->tls.cert, config->tls.key,
                                                config->tls.ca, err);
    if (code == 0)
        code = datadir_open(&agent->datadir, config->data_dir, err);
    if (code == 0)
        code = identity_load_peer(&agent->identity, agent->datadir, config->id, err);
    if (code == 0)
        agent_nodes_load(agent);
    if (code == 0 && agent->tls == NULL)
        code =
            transport_tls_create_psk_client(&agent->tls, TRANSPORT_PEER, agent->identity.id, err);
    return code;
}

static void write_metrics(void *ctx, struct metrics_text *text)
{
    struct agent *agent = ctx;
    struct path_info info;
    metrics_of_process(text, "hpeer");
    metrics_single(text, "heimdall_connected", METRICS_GAUGE,
                   "1 while a node has let this peer in and is connected.",
                   agent->news == NEWS_CONNECTED ? 1 : 0);
    if (agent->tunnel == NULL || tunnel_info(agent->tunnel, &info) < 0)
        return;
    metrics_of_tunnel(text, &agent->tunnel_totals, &info);
    path_info_fini(&info);
}

static int open_metrics(struct agent *agent, struct err *err)
{
    if (!endpoint_is_set(&agent->config->daemon.metrics_address))
        return 0;
    return metrics_server_open(&agent->metrics, &agent->loop,
                               &agent->config->daemon.metrics_address, write_metrics, agent, err);
}

/* Without its helpers the daemon can change nothing of the host any more. */
static void on_helper_gone(void *ctx)
{
    struct agent *agent = ctx;
    struct err err;
    if (agent->stopping)
        return;
    err_set(&err, -ECHILD,
            "a helper process (heimdall-tools) is gone: this program ends, so that its supervisor "
            "restarts it");
    fail(agent, &err);
}

static void watch_helpers(struct agent *agent)
{
    helper_watch_open(&agent->helpers[0], &agent->loop, tool_helper(), on_helper_gone, agent);
    helper_watch_open(&agent->helpers[1], &agent->loop, resolver_helper(), on_helper_gone, agent);
}

static int start(struct agent *agent, struct err *err)
{
    int code = resolver_helper_start(agent->config->data_dir);
    if (code < 0)
        return err_set_errno(err, code, "cannot start the helper that keeps the host's resolver");
    code = tool_helper_start();
    if (code < 0)
        return err_set_errno(err, code, "cannot start the helper that runs resolvectl");
    code = load(agent, err);
    if (code < 0)
        return code;
    log_info("starting hpeer", F_STR("version", HEIMDALL_VERSION), F_STR("name", agent->name));
    watch_helpers(agent);
    confine_self(); /* the helper runs, and there are no threads yet */
    (void)log_start();
    code = agent_resolver_open(agent, err);
    if (code < 0)
        return code;
    struct tunnel_options options = {
        .loop = &agent->loop,
        .interface_name = agent->config->daemon.interface_name,
        .private_key = agent->identity.private_key,
        .ctx = agent,
        .recreated = agent_resolver_set_again,
        .network_changed = on_network_changed,
    };
    code = tunnel_open(&agent->tunnel, &options, err);
    if (code < 0)
        return code;
    bytes_to_base64(agent->public_key, tunnel_public_key(agent->tunnel), WG_KEY_LEN);
    code = open_metrics(agent, err);
    if (code < 0)
        return code;
    agent_resolver_watch(agent);
    agent_link_start(agent);
    return 0;
}

static void agent_stop(void *ctx)
{
    stop(ctx);
}

static void agent_reload(void *ctx)
{
    struct agent *agent = ctx;
    config_reload_peer(agent->config);
}

static int open_loop(struct agent *agent)
{
    const struct signals_events events = {agent, agent_stop, agent_reload};
    int code = uv_loop_init(&agent->loop);
    if (code < 0)
        return code;
    signals_open(&agent->signals, &agent->loop, &events);
    (void)uv_timer_init(&agent->loop, &agent->timer);
    agent->timer.data = agent;
    (void)uv_timer_init(&agent->loop, &agent->patience);
    agent->patience.data = agent;
    return 0;
}

/* ---- going down ---- */

static void stop(struct agent *agent)
{
    if (agent->stopping)
        return;
    agent->stopping = true;
    agent_link_hang_up(agent);
    agent_resolver_close(agent);
    metrics_server_close(agent->metrics);
    agent->metrics = NULL;
    tunnel_close(agent->tunnel);
    agent->tunnel = NULL;
    uv_close((uv_handle_t *)&agent->timer, NULL);
    uv_close((uv_handle_t *)&agent->patience, NULL);
    signals_close(&agent->signals);
    for (size_t i = 0; i < 2; i++)
        helper_watch_close(&agent->helpers[i]);
}

int agent_run(struct peer_config *config, struct err *err)
{
    struct agent *agent = calloc(1, sizeof *agent);
    struct err cause;
    if (agent == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    agent->config = config;
    agent->err = err;
    int code = open_loop(agent);
    if (code < 0) {
        free(agent);
        return err_set_errno(err, code, "no event loop");
    }
    if (start(agent, &cause) < 0)
        fail(agent, &cause);
    (void)uv_run(&agent->loop, UV_RUN_DEFAULT);
    code = agent->code;
    if (uv_loop_close(&agent->loop) < 0)
        log_debug("the loop was left with open handles");
    tool_helper_end();
    resolver_helper_end();
    transport_tls_destroy(agent->tls);
    identity_fini(&agent->identity);
    datadir_close(agent->datadir);
    bytes_wipe(agent, sizeof *agent);
    free(agent);
    return code;
}
