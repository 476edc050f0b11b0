/* Each state is reported once, not once for every attempt:
 *
 *   WAITING --opened, Connect answered--> CONNECTED --stream or connection lost--> WAITING
 *   any --refused--> REFUSED --let in again--> CONNECTED
 */
#include "control/daemon/agent_link.h"

#include "base/clock.h"
#include "base/log.h"
#include "control/daemon/agent_follow.h"
#include "control/daemon/agent_news.h"
#include "control/daemon/agent_nodes.h"
#include "control/daemon/agent_parts.h"
#include "control/daemon/agent_resolver.h"
#include "control/host/tunnel.h"
#include "control/rpc/client.h"
#include "control/rpc/transport_tls.h"
#include "control/state/record.h"
#include "control/state/record_time.h"
#include "proto/cluster.pb-c.h"

#include <stdio.h>
#include <string.h>

enum {
    PAUSE_MIN_MS = 200,
    PAUSE_MAX_MS = 2000,
    REPLACED_MIN_MS = 5000, /* after a copy of this peer has connected */
    REPLACED_MAX_MS = 60000,
    CONNECT_TIMEOUT_MS = 10000,
    DIAL_TIMEOUT_MS = 3000,
    PING_MS = 10000,
    PROBE_MS = 2000,
};

static void dial(struct agent *agent);

static void on_pause_over(uv_timer_t *timer)
{
    dial(timer->data);
}

void agent_link_probe(struct agent *agent)
{
    if (agent->client != NULL)
        rpc_client_probe(agent->client, PROBE_MS);
}

void agent_link_hang_up(struct agent *agent)
{
    rpc_stream_cancel(agent->stream);
    agent->stream = NULL;
    rpc_client_destroy(agent->client);
    agent->client = NULL;
}

static void try_later(struct agent *agent)
{
    agent_link_hang_up(agent);
    if (agent->stopping)
        return;
    (void)uv_timer_start(&agent->timer, on_pause_over, agent->pause_ms, 0);
    agent->pause_ms = agent->pause_ms * 2 < PAUSE_MAX_MS ? agent->pause_ms * 2 : PAUSE_MAX_MS;
}

static void on_unauthorized(struct agent *agent)
{
    if (tunnel_current(agent->tunnel)->peer_count > 0)
        agent_forget(agent);
    agent_report_unauthorized(agent);
    try_later(agent);
}

/* A copy of this peer, with the same key, is at work: two would take each other's packets. */
static void on_replaced(struct agent *agent, const char *text)
{
    uint64_t longer_ms = agent->replaced_ms * 2;
    agent_link_hang_up(agent);
    agent_forget(agent);
    agent_report_refused(agent, text);
    agent->replaced_ms = longer_ms < REPLACED_MIN_MS   ? REPLACED_MIN_MS
                         : longer_ms < REPLACED_MAX_MS ? longer_ms
                                                       : REPLACED_MAX_MS;
    (void)uv_timer_start(&agent->timer, on_pause_over, agent->replaced_ms, 0);
}

static void on_watch_message(void *ctx, struct rpc_stream *stream, const ProtobufCMessage *message)
{
    (void)stream;
    log_debug("the node sent a new configuration");
    agent_follow(ctx, (const Pb__ConnectResponse *)message);
}

static void ask(struct agent *agent);

static void on_poll(uv_timer_t *timer)
{
    ask(timer->data);
}

static void on_watch_finished(void *ctx, struct rpc_stream *stream, enum grpc_code code,
                              const char *text)
{
    struct agent *agent = ctx;
    (void)stream;
    agent->stream = NULL;
    if (code == GRPC_PERMISSION_DENIED) {
        on_unauthorized(agent);
    } else if (code == GRPC_ALREADY_EXISTS) {
        on_replaced(agent, text);
    } else if (code == GRPC_ABORTED) {
        try_later(agent); /* another key took this place: Connect says the rest */
    } else if (code == GRPC_UNIMPLEMENTED) {
        (void)uv_timer_start(&agent->timer, on_poll, agent->config->update_interval_ns / NS_PER_MS,
                             0);
    } else {
        agent_report_waiting(agent, text);
        try_later(agent);
    }
}

static void watch(struct agent *agent)
{
    static const struct rpc_stream_events events = {on_watch_message, on_watch_finished};
    Pb__WatchPeerRequest request = PB__WATCH_PEER_REQUEST__INIT;
    Google__Protobuf__Timestamp now = record_time(clock_realtime_ns());
    request.id = agent->identity.id;
    request.public_key = agent->public_key;
    request.now = &now;
    if (rpc_client_stream(&agent->stream, agent->client, "/heimdall.v1.Cluster/WatchPeer",
                          &request.base, &pb__connect_response__descriptor, &events, agent) < 0)
        try_later(agent);
}

/* A name that nobody chose, the host's, is not worth waiting for. True if it may have been the
 * reason of a refusal. */
static bool give_up_name(struct agent *agent, const char *why)
{
    if (agent->config->name != NULL || agent->name[0] == '\0')
        return false;
    snprintf(agent->name_refusal, sizeof agent->name_refusal, "%s", why);
    agent->name[0] = '\0';
    return true;
}

static void on_answer(void *ctx, enum grpc_code code, const char *text,
                      const ProtobufCMessage *response)
{
    struct agent *agent = ctx;
    switch (code) {
    case GRPC_OK:
        agent->pause_ms = PAUSE_MIN_MS;
        agent_follow(agent, (const Pb__ConnectResponse *)response);
        if (agent->stream == NULL)
            watch(agent);
        return;
    case GRPC_UNAVAILABLE:
    case GRPC_DEADLINE_EXCEEDED:
    case GRPC_CANCELLED:
        agent_report_waiting(agent, text);
        break;
    case GRPC_UNAUTHENTICATED:
        on_unauthorized(agent);
        return;
    case GRPC_PERMISSION_DENIED:
        if (tunnel_current(agent->tunnel)->peer_count > 0)
            agent_forget(agent);
        agent_report_refused(agent, text);
        break;
    case GRPC_UNKNOWN:
    case GRPC_INVALID_ARGUMENT:
    case GRPC_ALREADY_EXISTS:
        if (give_up_name(agent, text)) {
            ask(agent);
            return;
        }
        agent_report_refused(agent, text);
        break;
    case GRPC_NOT_FOUND:
    case GRPC_RESOURCE_EXHAUSTED:
    case GRPC_FAILED_PRECONDITION:
    case GRPC_ABORTED:
    case GRPC_OUT_OF_RANGE:
    case GRPC_UNIMPLEMENTED:
    case GRPC_INTERNAL:
    case GRPC_DATA_LOSS:
        agent_report_refused(agent, text);
        break;
    }
    try_later(agent);
}

static void ask(struct agent *agent)
{
    char version[] = HEIMDALL_VERSION;
    Pb__ConnectRequest request;
    pb__connect_request__init(&request);
    request.id = agent->identity.id;
    request.name = agent->name;
    request.public_key = agent->public_key;
    request.version = version;
    request.no_ipv6 = !tunnel_has_ipv6(agent->tunnel);
    request.psk_version = RECORD_PSK_VERSION;
    if (rpc_client_call(agent->client, "/dev.ehazlett.heimdall.api.v1.Heimdall/Connect",
                        &request.base, &pb__connect_response__descriptor, CONNECT_TIMEOUT_MS,
                        on_answer, agent) < 0)
        try_later(agent);
}

static void on_opened(void *ctx, struct rpc_client *client)
{
    char addr[ADDRESS_TEXT];
    log_debug("reached a node", F_STR("addr", address_format(rpc_client_address(client), addr)));
    ask(ctx);
}

static void agent_link_on_closed(void *ctx, struct rpc_client *client, const struct err *err)
{
    struct agent *agent = ctx;
    (void)client;
    /* Anyone on the path can send this alert, so the tunnel stays as it is. */
    if (err->code == TRANSPORT_EUNKNOWN)
        agent_report_unauthorized(agent);
    else if (err->code == TRANSPORT_EIMPOSTOR || err->code == TRANSPORT_ETLS ||
             err->code == TRANSPORT_EWRONGKEY)
        agent_report_refused(agent, err->text);
    else
        agent_report_waiting(agent, err->text);
    try_later(agent);
}

static void dial_now(struct agent *agent)
{
    static const struct rpc_client_events events = {on_opened, agent_link_on_closed};
    struct address candidates[AGENT_CANDIDATES_MAX];
    const struct rpc_client_options options = {
        .addresses = candidates,
        .count = agent_nodes_candidates(agent, candidates),
        .tls = agent->tls,
        .fwmark = tunnel_fwmark(agent->tunnel),
        .connect_ms = DIAL_TIMEOUT_MS,
        .ping_ms = PING_MS,
    };
    struct err err;
    if (rpc_client_create(&agent->client, &agent->loop, &options, &events, agent, &err) == 0)
        return;
    agent->client = NULL;
    agent_report_waiting(agent, err.text);
    try_later(agent);
}

static void on_resolver_left(void *ctx)
{
    struct agent *agent = ctx;
    if (!agent->stopping)
        dial_now(agent);
}

/* The stub looks up the node's name past the tunnel. A name of one label is looked up without the
 * network's search domain, which may know another host by it; so is every name without a stub. */
static void dial(struct agent *agent)
{
    const struct address *given = &agent->addresses[0];
    bool safe = agent->stub != NULL && strchr(given->host, '.') != NULL;
    if (given->kind != ADDRESS_TCP || endpoint_is_set(&given->endpoint) || safe ||
        agent->dns_count == 0) {
        dial_now(agent);
        return;
    }
    agent_resolver_restore(agent, on_resolver_left);
}

void agent_link_start(struct agent *agent)
{
    agent->pause_ms = PAUSE_MIN_MS;
    agent_resolver_restore(agent, on_resolver_left);
}
