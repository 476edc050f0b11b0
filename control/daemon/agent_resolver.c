#include "control/daemon/agent_resolver.h"

#include "base/err.h"
#include "base/log.h"
#include "control/daemon/agent_parts.h"
#include "control/host/datadir.h"
#include "control/host/resolver_setter.h"
#include "control/host/resolver_watch.h"
#include "control/host/tunnel.h"

#include <stdio.h>
#include <string.h>

int agent_resolver_open(struct agent *agent, struct err *err)
{
    agent->paths = resolver_paths_default(datadir_path(agent->datadir));
    int code = resolver_setter_open(&agent->resolver_setter, &agent->loop, &agent->paths);
    return code == 0 ? 0 : err_set_errno(err, code, "no worker for the resolver");
}

void agent_resolver_close(struct agent *agent)
{
    resolver_watch_close(agent->resolver_watch);
    agent->resolver_watch = NULL;
    resolver_setter_close(agent->resolver_setter);
    agent->resolver_setter = NULL;
}

void agent_resolver_restore(struct agent *agent, void (*restored)(void *ctx))
{
    agent->dns_count = 0;
    resolver_setter_restore(agent->resolver_setter, restored, agent);
}

void agent_resolver_set(struct agent *agent, const struct plan *plan, const char *domain)
{
    size_t count = plan->dns_count < RESOLVER_NAMESERVERS ? plan->dns_count : RESOLVER_NAMESERVERS;
    if (count == 0) {
        agent_resolver_restore(agent, NULL);
        return;
    }
    if (count == agent->dns_count && strcmp(domain, agent->dns_domain) == 0 &&
        memcmp(agent->dns, plan->dns, count * sizeof plan->dns[0]) == 0)
        return;
    memcpy(agent->dns, plan->dns, count * sizeof plan->dns[0]);
    agent->dns_count = count;
    snprintf(agent->dns_domain, sizeof agent->dns_domain, "%s", domain);
    struct resolver_setup setup = {
        .nameservers = agent->dns,
        .nameserver_count = count,
        .domain = agent->dns_domain,
        .interface = agent->config->daemon.interface_name,
        .keep_former = true,
    };
    resolver_setter_apply(agent->resolver_setter, &setup);
}

void agent_resolver_set_again(void *ctx)
{
    struct agent *agent = ctx;
    char domain[sizeof agent->dns_domain];
    if (agent->dns_count == 0)
        return;
    memcpy(domain, agent->dns_domain, sizeof domain);
    agent->dns_count = 0;
    agent_resolver_set(agent, tunnel_current(agent->tunnel), domain);
}

void agent_resolver_watch(struct agent *agent)
{
    int code = resolver_watch_open(&agent->resolver_watch, &agent->loop, &agent->paths,
                                   agent_resolver_set_again, agent);
    if (code < 0)
        log_warn("cannot watch the host's resolv.conf for changes",
                 F_STR("error", uv_strerror(code)));
}
