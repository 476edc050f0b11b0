#include "control/daemon/agent_follow.h"

#include "base/bytes.h"
#include "base/log.h"
#include "control/daemon/agent_news.h"
#include "control/daemon/agent_nodes.h"
#include "control/daemon/agent_parts.h"
#include "control/daemon/agent_resolver.h"
#include "control/host/tunnel.h"
#include "control/state/access.h"
#include "control/state/plan_peer.h"

#include <string.h>

/* The place of a node's run. The first one is reused when all are taken. */
static struct agent_run_of_node *run_of_node(struct agent *agent,
                                             const uint8_t public_key[WG_KEY_LEN])
{
    struct agent_run_of_node *free_place = &agent->runs[0];
    for (size_t i = AGENT_ADDRESSES_MAX; i-- > 0;) {
        if (memcmp(agent->runs[i].public_key, public_key, WG_KEY_LEN) == 0)
            return &agent->runs[i];
        if (bytes_is_zero_ct(agent->runs[i].public_key, WG_KEY_LEN))
            free_place = &agent->runs[i];
    }
    *free_place = (struct agent_run_of_node){0};
    memcpy(free_place->public_key, public_key, WG_KEY_LEN);
    return free_place;
}

/* A restarted node has forgotten the session, and WireGuard would find out only when data stays
 * unanswered for 15 seconds. */
static void notice_restart(struct agent *agent, const Pb__ConnectResponse *response)
{
    uint8_t public_key[WG_KEY_LEN];
    struct err err;
    if (response->node_run == 0 ||
        access_check_public_key(response->node_public_key, public_key, NULL) < 0)
        return;
    struct agent_run_of_node *run = run_of_node(agent, public_key);
    bool restarted = run->run != 0 && run->run != response->node_run;
    run->run = response->node_run;
    if (!restarted)
        return;
    log_debug("the node was restarted; renewing the tunnel to it");
    if (tunnel_renew(agent->tunnel, public_key, &err) < 0)
        log_warn("cannot renew the tunnel to the node", F_STR("error", err.text));
}

/* Names resolve now, for whoever waits for the news. */
static void report(struct agent *agent)
{
    if (agent->stopping || agent->client == NULL)
        return;
    agent_report_connected(agent, agent->address);
    agent_report_exit(agent, tunnel_current(agent->tunnel)->exit);
    agent_report_nameless(agent);
}

void agent_follow(struct agent *agent, const Pb__ConnectResponse *response)
{
    struct plan plan;
    struct err err;
    const struct plan_self self = {.exit_node = agent->config->exit_node,
                                   .id = agent->identity.id,
                                   .public_key = tunnel_public_key(agent->tunnel)};
    int code = plan_of_peer(response, &self, &plan, &err);
    if (code == 0)
        code = tunnel_follow(agent->tunnel, &plan, NULL, &err);
    plan_fini(&plan);
    if (code < 0) {
        agent_report_refused(agent, err.text);
        return;
    }
    notice_restart(agent, response);
    agent_resolver_set(agent, tunnel_current(agent->tunnel), response);
    agent_nodes_learn(agent, response);
    snprintf(agent->address, sizeof agent->address, "%s", response->address);
    agent_resolver_when_set(agent, report);
}

void agent_forget(struct agent *agent)
{
    struct plan plan;
    struct err err;
    plan_init(&plan);
    if (tunnel_follow(agent->tunnel, &plan, NULL, &err) < 0)
        log_error("cannot empty the tunnel", F_STR("error", err.text));
    agent_resolver_restore(agent, NULL);
    agent->address_count = 1;
}
