#include "control/daemon/agent_resolver.h"

#include "base/err.h"
#include "base/log.h"
#include "control/daemon/agent_news.h"
#include "control/daemon/agent_parts.h"
#include "control/daemon/agent_stub.h"
#include "control/host/datadir.h"
#include "control/host/resolver_setter.h"
#include "control/host/resolver_watch.h"
#include "control/host/tunnel.h"
#include "dns/reserved.h"

#include <stdio.h>
#include <string.h>

enum { PATIENCE_MS = 1000 }; /* with a tool that hangs */

int agent_resolver_open(struct agent *agent, struct err *err)
{
    agent->paths = resolver_paths_default(datadir_path(agent->datadir));
    int code = resolver_setter_open(&agent->resolver_setter, &agent->loop, &agent->paths);
    return code == 0 ? 0 : err_set_errno(err, code, "no worker for the resolver");
}

static void on_last_restored(void *ctx)
{
    struct agent_stub *stub = ctx;
    agent_stub_close(stub);
}

/* The stub answers until the host's resolver is restored. */
void agent_resolver_close(struct agent *agent)
{
    resolver_watch_close(agent->resolver_watch);
    agent->resolver_watch = NULL;
    if (agent->resolver_setter != NULL)
        resolver_setter_restore(agent->resolver_setter, on_last_restored, agent->stub);
    agent->stub = NULL;
    resolver_setter_close(agent->resolver_setter);
    agent->resolver_setter = NULL;
}

void agent_resolver_restore(struct agent *agent, void (*restored)(void *ctx))
{
    agent->dns_count = 0;
    resolver_setter_restore(agent->resolver_setter, restored, agent);
}

/* Opened when it is first needed. Without a loopback port the host asks the nodes itself. */
static void open_stub(struct agent *agent)
{
    const struct address *given = &agent->addresses[0];
    bool named = given->kind == ADDRESS_TCP && !endpoint_is_set(&given->endpoint);
    const struct agent_stub_options options = {
        .loop = &agent->loop,
        .paths = &agent->paths,
        .outer_name = named ? given->host : NULL,
        .mark = tunnel_fwmark(agent->tunnel),
    };
    if (agent->stub != NULL || agent->stub_refused)
        return;
    int rc = agent_stub_open(&agent->stub, &options);
    if (rc >= 0)
        return;
    agent->stub_refused = true;
    log_warn("no port 53 of a loopback address for DNS: where systemd-resolved does not run, this "
             "host asks the "
             "nodes first for every name",
             F_STR("error", strerror(-rc)));
}

static void call_waiting(struct agent *agent)
{
    void (*then)(struct agent *) = agent->resolver_then;
    agent->resolver_then = NULL;
    (void)uv_timer_stop(&agent->patience);
    if (then != NULL)
        then(agent);
}

static void on_applied(void *ctx)
{
    struct agent *agent = ctx;
    if (--agent->resolver_busy == 0 && !agent->stopping)
        call_waiting(agent);
}

static void on_patience_over(uv_timer_t *timer)
{
    call_waiting(timer->data);
}

void agent_resolver_when_set(struct agent *agent, void (*then)(struct agent *agent))
{
    agent->resolver_then = then;
    if (agent->resolver_busy > 0)
        (void)uv_timer_start(&agent->patience, on_patience_over, PATIENCE_MS, 0);
    else
        call_waiting(agent);
}

static void apply(struct agent *agent)
{
    agent->resolver_busy++;
    struct resolver_setup setup = {
        .nameservers = agent->dns,
        .nameserver_count = agent->dns_count,
        .domain = agent->dns_domain,
        .interface = agent->config->daemon.interface_name,
        .keep_former = true,
    };
    if (agent->stub != NULL)
        setup.stub = *agent_stub_address(agent->stub);
    resolver_setter_apply(agent->resolver_setter, &setup, on_applied, agent);
}

/* The domain in lower case; false when there is none that the host may search. */
static bool take_domain(struct agent *agent, const char *domain, char out[256])
{
    size_t len = strlen(domain);
    if (len == 0 || len > 253)
        return false;
    for (size_t i = 0; i <= len; i++)
        out[i] = (char)(domain[i] >= 'A' && domain[i] <= 'Z' ? domain[i] + 'a' - 'A' : domain[i]);
    if (reserved_allows_domain(out))
        return true;
    if (!agent->domain_refused)
        log_warn("the node's domain would take names from the rest of DNS and is refused",
                 F_STR("domain", out));
    agent->domain_refused = true;
    return false;
}

void agent_resolver_set(struct agent *agent, const struct plan *plan,
                        const Pb__ConnectResponse *response)
{
    char domain[256];
    size_t count = plan->dns_count < RESOLVER_NAMESERVERS ? plan->dns_count : RESOLVER_NAMESERVERS;
    if (count == 0 || !take_domain(agent, response->dns_domain, domain)) {
        agent_resolver_restore(agent, NULL);
        return;
    }
    open_stub(agent);
    if (agent->stub != NULL)
        agent_stub_follow(agent->stub, response, plan->dns, plan->dns_count);
    if (count == agent->dns_count && strcmp(domain, agent->dns_domain) == 0 &&
        memcmp(agent->dns, plan->dns, count * sizeof plan->dns[0]) == 0)
        return;
    memcpy(agent->dns, plan->dns, count * sizeof plan->dns[0]);
    agent->dns_count = count;
    memcpy(agent->dns_domain, domain, strlen(domain) + 1);
    apply(agent);
}

void agent_resolver_set_again(void *ctx)
{
    struct agent *agent = ctx;
    if (agent->dns_count > 0)
        apply(agent);
}

void agent_resolver_watch(struct agent *agent)
{
    int code = resolver_watch_open(&agent->resolver_watch, &agent->loop, &agent->paths,
                                   agent_resolver_set_again, agent);
    if (code < 0)
        log_warn("cannot watch the host's resolv.conf for changes",
                 F_STR("error", uv_strerror(code)));
}
