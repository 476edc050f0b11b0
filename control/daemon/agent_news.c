#include "control/daemon/agent_news.h"

#include "base/log.h"
#include "control/daemon/agent_parts.h"
#include "control/host/tunnel.h"
#include "control/rpc/client.h"

#include <stdio.h>
#include <string.h>

/* True when this state, with this text, is news. */
static bool is_news(struct agent *agent, enum agent_news news, const char *text)
{
    if (agent->news == news && strcmp(agent->news_text, text) == 0)
        return false;
    agent->news = news;
    snprintf(agent->news_text, sizeof agent->news_text, "%s", text);
    return true;
}

void agent_report_waiting(struct agent *agent, const char *why)
{
    char addr[ADDRESS_TEXT];
    char message[ADDRESS_TEXT + 64];
    address_format(&agent->addresses[0], addr);
    snprintf(message, sizeof message, "waiting for %s to be reachable", addr);
    if (is_news(agent, NEWS_WAITING, ""))
        log_info(message, F_STR("reason", why));
    else
        log_debug("still waiting", F_STR("reason", why));
}

void agent_report_unauthorized(struct agent *agent)
{
    char message[ACCESS_ID_MAX + 128];
    snprintf(message, sizeof message,
             "not authorized; waiting. Run on a node: hctl peers authorize %s", agent->identity.id);
    if (is_news(agent, NEWS_REFUSED, "not authorized"))
        log_warn(message);
}

void agent_report_refused(struct agent *agent, const char *why)
{
    if (is_news(agent, NEWS_REFUSED, why))
        log_error("refused; waiting", F_STR("reason", why));
}

void agent_report_connected(struct agent *agent, const char *address)
{
    char node[ADDRESS_TEXT];
    address_format(rpc_client_address(agent->client), node);
    if (is_news(agent, NEWS_CONNECTED, address))
        log_info("connected", F_STR("node", node), F_STR("address", address),
                 F_STR("interface", agent->config->daemon.interface_name));
}

void agent_report_exit(struct agent *agent, enum plan_exit exit)
{
    const char *name = agent->config->exit_node;
    bool passed = exit == PLAN_EXIT_ON && !tunnel_exit_holds(agent->tunnel);
    if (exit == agent->exit_news && passed == agent->exit_passed)
        return;
    agent->exit_news = exit;
    agent->exit_passed = passed;
    switch (exit) {
    case PLAN_EXIT_OFF:
        return;
    case PLAN_EXIT_UNKNOWN:
        log_error("there is no such node: traffic leaves this host directly (option --exit-node; "
                  "hctl nodes list shows ids)",
                  F_STR("exit_node", name));
        return;
    case PLAN_EXIT_UNPUBLISHED:
        log_warn("the exit node publishes no default route: traffic leaves this host directly. Run "
                 "on a node: hctl routes create --node-id ID --network 0.0.0.0/0",
                 F_STR("exit_node", name));
        return;
    case PLAN_EXIT_ON:
        if (passed)
            log_warn("another program's routing rule or route leads traffic past the exit node: "
                     "remove it, or give that rule a number above 5203 (ip rule)",
                     F_STR("exit_node", name));
        else
            log_info("all other traffic goes through the exit node", F_STR("exit_node", name));
        return;
    }
}

void agent_report_nameless(struct agent *agent)
{
    if (agent->name_refusal[0] != '\0')
        log_warn("connected without a name: choose one with --name",
                 F_STR("reason", agent->name_refusal));
    agent->name_refusal[0] = '\0';
}
