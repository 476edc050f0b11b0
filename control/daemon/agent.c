/* What a peer does, over and over: dial -> Connect -> apply -> watch, and on every end of the watch
 * dial again after a pause. The tunnel does not depend on the connection: it keeps what it was told
 * last, and is emptied only when a node that has proved itself says that we are not authorized.
 *
 *   WAITING --opened, Connect answered--> CONNECTED --stream or connection lost--> WAITING
 *   any --refused--> REFUSED --let in again--> CONNECTED
 *
 * Each state is told once, not once a try. */
#include "control/daemon/agent.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/daemon/metrics.h"
#include "control/daemon/metrics_server.h"
#include "control/host/confine.h"
#include "control/host/datadir.h"
#include "control/host/identity.h"
#include "control/host/resolver.h"
#include "control/host/resolver_setter.h"
#include "control/host/resolver_watch.h"
#include "control/host/tool.h"
#include "control/host/tunnel.h"
#include "control/rpc/address.h"
#include "control/rpc/client.h"
#include "control/rpc/transport_tls.h"
#include "control/state/plan_peer.h"
#include "proto/cluster.pb-c.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ADDRESSES_MAX = 16, /* nodes that we try */
    PAUSE_MIN_MS = 200,
    PAUSE_MAX_MS = 2000,
    REPLACED_MIN_MS = 5000, /* after a copy of us has connected */
    REPLACED_MAX_MS = 60000,
    CONNECT_TIMEOUT_MS = 10000,
    DIAL_TIMEOUT_MS = 3000,
    PING_MS = 10000,
    PROBE_MS = 2000,
};

enum told { TOLD_NOTHING, TOLD_WAITING, TOLD_REFUSED, TOLD_CONNECTED };

/* The run of a node's process that answered last. */
struct run {
    uint8_t public_key[WG_KEY_LEN];
    uint64_t run;
};

struct agent {
    const struct peer_config *config;
    uv_loop_t loop;
    uv_signal_t signals[2];
    uv_timer_t timer; /* the pause before the next dial, or the poll of a node that does not push */
    struct datadir *datadir;
    struct identity identity;
    struct tunnel *tunnel;
    struct metrics_server *metrics;
    struct metrics_tunnel tunnel_totals;
    struct resolver_paths paths;
    struct resolver_watch *resolver_watch;
    struct resolver_setter *resolver_setter;
    struct transport_tls *tls;
    char name[ACCESS_NAME_MAX + 1];
    char name_refusal[512]; /* not told yet */
    char public_key[45];

    struct address addresses[ADDRESSES_MAX]; /* the first as configured, the others learned */
    size_t address_count;
    struct rpc_client *client; /* NULL between two dials */
    struct rpc_stream *stream;
    uint64_t pause_ms;
    uint64_t replaced_ms; /* the last pause of that kind */

    struct run runs[ADDRESSES_MAX]; /* of nodes that answered; an all-zero key is a free place */
    struct ip_addr dns[RESOLVER_NAMESERVERS]; /* what the resolver is set to */
    size_t dns_count;
    char dns_domain[256];

    enum told told;
    char told_text[512];
    enum plan_exit exit_told;
    bool stopping;
    int code;
    struct err *err;
};

static void dial(struct agent *agent);
static void stop(struct agent *agent);

/* ---- telling ---- */

/* True when this state, with this text, is news. */
static bool is_news(struct agent *agent, enum told told, const char *text)
{
    if (agent->told == told && strcmp(agent->told_text, text) == 0)
        return false;
    agent->told = told;
    snprintf(agent->told_text, sizeof agent->told_text, "%s", text);
    return true;
}

static void tell_waiting(struct agent *agent, const char *why)
{
    char addr[ADDRESS_TEXT];
    char message[ADDRESS_TEXT + 64];
    address_format(&agent->addresses[0], addr);
    snprintf(message, sizeof message, "waiting for %s to be reachable", addr);
    if (is_news(agent, TOLD_WAITING, ""))
        log_info(message, F_STR("reason", why));
    else
        log_debug("still waiting", F_STR("reason", why));
}

static void tell_unauthorized(struct agent *agent)
{
    char message[ACCESS_ID_MAX + 128];
    snprintf(message, sizeof message,
             "not authorized; waiting. Run on a node: hctl peers authorize %s", agent->identity.id);
    if (is_news(agent, TOLD_REFUSED, "not authorized"))
        log_warn(message);
}

static void tell_refused(struct agent *agent, const char *why)
{
    if (is_news(agent, TOLD_REFUSED, why))
        log_error("refused; waiting", F_STR("reason", why));
}

static void tell_connected(struct agent *agent, const char *address)
{
    char node[ADDRESS_TEXT];
    address_format(rpc_client_address(agent->client), node);
    if (is_news(agent, TOLD_CONNECTED, address))
        log_info("connected", F_STR("node", node), F_STR("address", address),
                 F_STR("interface", agent->config->interface_name));
}

static void tell_exit(struct agent *agent, enum plan_exit exit)
{
    const char *name = agent->config->exit_node;
    if (exit == agent->exit_told)
        return;
    agent->exit_told = exit;
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
        log_info("all other traffic goes through the exit node", F_STR("exit_node", name));
        return;
    }
}

/* ---- what a node told us ---- */

static void restore_resolver(struct agent *agent)
{
    agent->dns_count = 0;
    resolver_setter_restore(agent->resolver_setter, NULL, NULL);
}

static void set_resolver(struct agent *agent, const struct plan *plan, const char *domain)
{
    size_t count = plan->dns_count < RESOLVER_NAMESERVERS ? plan->dns_count : RESOLVER_NAMESERVERS;
    if (count == 0) {
        restore_resolver(agent);
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
        .interface = agent->config->interface_name,
        .keep_former = true,
    };
    resolver_setter_apply(agent->resolver_setter, &setup);
}

/* Other nodes, for when the configured one does not answer. */
static void learn_addresses(struct agent *agent, const Pb__ConnectResponse *response)
{
    agent->address_count = 1;
    for (size_t i = 0; i < response->n_node_addresses && agent->address_count < ADDRESSES_MAX;
         i++) {
        struct address *next = &agent->addresses[agent->address_count];
        if (address_parse(next, response->node_addresses[i], false, NULL) == 0 &&
            next->kind == ADDRESS_TCP && !address_equal(next, &agent->addresses[0]))
            agent->address_count++;
    }
}

/* The place of a node's run; the first one is reused when all are taken. */
static struct run *run_of(struct agent *agent, const uint8_t public_key[WG_KEY_LEN])
{
    struct run *free_place = &agent->runs[0];
    for (size_t i = ADDRESSES_MAX; i-- > 0;) {
        if (memcmp(agent->runs[i].public_key, public_key, WG_KEY_LEN) == 0)
            return &agent->runs[i];
        if (bytes_is_zero_ct(agent->runs[i].public_key, WG_KEY_LEN))
            free_place = &agent->runs[i];
    }
    *free_place = (struct run){0};
    memcpy(free_place->public_key, public_key, WG_KEY_LEN);
    return free_place;
}

/* A node that was started again has forgotten our session, and WireGuard would find out only when
 * data stays unanswered for 15 seconds. */
static void notice_restart(struct agent *agent, const Pb__ConnectResponse *response)
{
    uint8_t public_key[WG_KEY_LEN];
    struct err err;
    if (response->node_run == 0 ||
        access_check_public_key(response->node_public_key, public_key, NULL) < 0)
        return;
    struct run *run = run_of(agent, public_key);
    bool restarted = run->run != 0 && run->run != response->node_run;
    run->run = response->node_run;
    if (!restarted)
        return;
    log_debug("the node was started again; the tunnel to it is renewed");
    if (tunnel_renew(agent->tunnel, public_key, &err) < 0)
        log_warn("the tunnel to the node cannot be renewed", F_STR("error", err.text));
}

static void follow(struct agent *agent, const Pb__ConnectResponse *response)
{
    struct plan plan;
    struct err err;
    int code = plan_of_peer(response, agent->config->exit_node, &plan, &err);
    if (code == 0)
        code = tunnel_follow(agent->tunnel, &plan, NULL, &err);
    plan_fini(&plan);
    if (code < 0) {
        tell_refused(agent, err.text);
        return;
    }
    notice_restart(agent, response);
    set_resolver(agent, tunnel_current(agent->tunnel), response->dns_domain);
    learn_addresses(agent, response);
    tell_connected(agent, response->address);
    tell_exit(agent, tunnel_current(agent->tunnel)->exit);
}

static void forget(struct agent *agent)
{
    struct plan plan;
    struct err err;
    plan_init(&plan);
    if (tunnel_follow(agent->tunnel, &plan, NULL, &err) < 0)
        log_error("the tunnel cannot be emptied", F_STR("error", err.text));
    restore_resolver(agent);
    agent->address_count = 1;
}

/* ---- one connection ---- */

static void on_pause_over(uv_timer_t *timer)
{
    dial(timer->data);
}

static void hang_up(struct agent *agent)
{
    rpc_stream_cancel(agent->stream);
    agent->stream = NULL;
    rpc_client_destroy(agent->client);
    agent->client = NULL;
}

static void try_later(struct agent *agent)
{
    hang_up(agent);
    if (agent->stopping)
        return;
    (void)uv_timer_start(&agent->timer, on_pause_over, agent->pause_ms, 0);
    agent->pause_ms = agent->pause_ms * 2 < PAUSE_MAX_MS ? agent->pause_ms * 2 : PAUSE_MAX_MS;
}

static void on_unauthorized(struct agent *agent)
{
    if (tunnel_current(agent->tunnel)->peer_count > 0)
        forget(agent);
    tell_unauthorized(agent);
    try_later(agent);
}

/* A copy of us, with the same key, is at work: two would take each other's packets. */
static void on_replaced(struct agent *agent, const char *text)
{
    uint64_t longer_ms = agent->replaced_ms * 2;
    hang_up(agent);
    forget(agent);
    tell_refused(agent, text);
    agent->replaced_ms = longer_ms < REPLACED_MIN_MS   ? REPLACED_MIN_MS
                         : longer_ms < REPLACED_MAX_MS ? longer_ms
                                                       : REPLACED_MAX_MS;
    (void)uv_timer_start(&agent->timer, on_pause_over, agent->replaced_ms, 0);
}

static void on_watch_message(void *ctx, struct rpc_stream *stream, const ProtobufCMessage *message)
{
    (void)stream;
    log_debug("the node sent a new configuration");
    follow(ctx, (const Pb__ConnectResponse *)message);
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
        try_later(agent); /* another key took our place: Connect will be told the rest */
    } else if (code == GRPC_UNIMPLEMENTED) {
        (void)uv_timer_start(&agent->timer, on_poll, agent->config->update_interval_ns / NS_PER_MS,
                             0);
    } else {
        tell_waiting(agent, text);
        try_later(agent);
    }
}

static void watch(struct agent *agent)
{
    static const struct rpc_stream_events events = {on_watch_message, on_watch_finished};
    Pb__WatchPeerRequest request = PB__WATCH_PEER_REQUEST__INIT;
    request.id = agent->identity.id;
    request.public_key = agent->public_key;
    if (rpc_client_stream(&agent->stream, agent->client, "/heimdall.v1.Cluster/WatchPeer",
                          &request.base, &pb__connect_response__descriptor, &events, agent) < 0)
        try_later(agent);
}

/* One that nobody chose, the host's, is not worth waiting for. True when it may have been the
 * reason. */
static bool give_up_name(struct agent *agent, const char *why)
{
    if (agent->config->name != NULL || agent->name[0] == '\0')
        return false;
    snprintf(agent->name_refusal, sizeof agent->name_refusal, "%s", why);
    agent->name[0] = '\0';
    return true;
}

static void tell_nameless(struct agent *agent)
{
    if (agent->name_refusal[0] != '\0')
        log_warn("connected without a name: choose one with --name",
                 F_STR("reason", agent->name_refusal));
    agent->name_refusal[0] = '\0';
}

static void on_answer(void *ctx, enum grpc_code code, const char *text,
                      const ProtobufCMessage *response)
{
    struct agent *agent = ctx;
    switch (code) {
    case GRPC_OK:
        agent->pause_ms = PAUSE_MIN_MS;
        follow(agent, (const Pb__ConnectResponse *)response);
        tell_nameless(agent);
        if (agent->stream == NULL)
            watch(agent);
        return;
    case GRPC_UNAVAILABLE:
    case GRPC_DEADLINE_EXCEEDED:
    case GRPC_CANCELLED:
        tell_waiting(agent, text);
        break;
    case GRPC_UNAUTHENTICATED:
        on_unauthorized(agent);
        return;
    case GRPC_PERMISSION_DENIED:
        if (tunnel_current(agent->tunnel)->peer_count > 0)
            forget(agent);
        tell_refused(agent, text);
        break;
    case GRPC_UNKNOWN:
    case GRPC_INVALID_ARGUMENT:
    case GRPC_ALREADY_EXISTS:
        if (give_up_name(agent, text)) {
            ask(agent);
            return;
        }
        tell_refused(agent, text);
        break;
    case GRPC_NOT_FOUND:
    case GRPC_RESOURCE_EXHAUSTED:
    case GRPC_FAILED_PRECONDITION:
    case GRPC_ABORTED:
    case GRPC_OUT_OF_RANGE:
    case GRPC_UNIMPLEMENTED:
    case GRPC_INTERNAL:
    case GRPC_DATA_LOSS:
        tell_refused(agent, text);
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

static void on_closed(void *ctx, struct rpc_client *client, const struct err *err)
{
    struct agent *agent = ctx;
    (void)client;
    /* Anyone on the way can send the alert that says so: the tunnel stays as it is. */
    if (err->code == TRANSPORT_EUNKNOWN)
        tell_unauthorized(agent);
    else if (err->code == TRANSPORT_EIMPOSTOR || err->code == TRANSPORT_ETLS ||
             err->code == TRANSPORT_EWRONGKEY)
        tell_refused(agent, err->text);
    else
        tell_waiting(agent, err->text);
    try_later(agent);
}

static void dial_now(struct agent *agent)
{
    static const struct rpc_client_events events = {on_opened, on_closed};
    const struct rpc_client_options options = {
        .addresses = agent->addresses,
        .count = agent->address_count,
        .tls = agent->tls,
        .fwmark = tunnel_fwmark(agent->tunnel),
        .connect_ms = DIAL_TIMEOUT_MS,
        .ping_ms = PING_MS,
    };
    struct err err;
    if (rpc_client_create(&agent->client, &agent->loop, &options, &events, agent, &err) == 0)
        return;
    agent->client = NULL;
    tell_waiting(agent, err.text);
    try_later(agent);
}

static void on_resolver_left(void *ctx)
{
    struct agent *agent = ctx;
    if (!agent->stopping)
        dial_now(agent);
}

/* A name that leads to the network is asked of the resolvers before it: the network's own are out
 * of reach now, and may know another host by this name. */
static void dial(struct agent *agent)
{
    const struct address *given = &agent->addresses[0];
    if (given->kind != ADDRESS_TCP || endpoint_is_set(&given->endpoint) || agent->dns_count == 0) {
        dial_now(agent);
        return;
    }
    agent->dns_count = 0;
    resolver_setter_restore(agent->resolver_setter, on_resolver_left, agent);
}

/* ---- coming up ---- */

static void fail(struct agent *agent, const struct err *err)
{
    if (agent->code == 0) {
        agent->code = err->code < 0 ? err->code : -EIO;
        *agent->err = *err;
    }
    stop(agent);
}

/* A resolver that knows interfaces has forgotten what it was told of the former one; a file was
 * written by something else. */
static void set_resolver_again(void *ctx)
{
    struct agent *agent = ctx;
    char domain[sizeof agent->dns_domain];
    if (agent->dns_count == 0)
        return;
    memcpy(domain, agent->dns_domain, sizeof domain);
    agent->dns_count = 0;
    set_resolver(agent, tunnel_current(agent->tunnel), domain);
}

static void watch_resolver(struct agent *agent)
{
    int code = resolver_watch_open(&agent->resolver_watch, &agent->loop, &agent->paths,
                                   set_resolver_again, agent);
    if (code < 0)
        log_warn("changes of the host's resolv.conf are not seen",
                 F_STR("error", uv_strerror(code)));
}

/* A connection from an address that is gone would be found dead much later. */
static void on_network_changed(void *ctx)
{
    const struct agent *agent = ctx;
    if (agent->client != NULL)
        rpc_client_probe(agent->client, PROBE_MS);
}

static int load(struct agent *agent, struct err *err)
{
    const struct peer_config *config = agent->config;
    if (config->name != NULL)
        snprintf(agent->name, sizeof agent->name, "%s", config->name);
    else
        config_host_label(agent->name, "peer");
    int code = address_parse(&agent->addresses[0], config->addr, true, err);
    agent->address_count = 1;
    if (code == 0 && config->insecure)
        code = transport_tls_create_plaintext(&agent->tls, err);
    else if (code == 0 && config->cert != NULL)
        code = transport_tls_create_certificate(&agent->tls, config->cert, config->key, config->ca,
                                                err);
    if (code == 0)
        code = datadir_open(&agent->datadir, config->data_dir, err);
    if (code == 0)
        code = identity_load_peer(&agent->identity, agent->datadir, config->id, err);
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
                   agent->told == TOLD_CONNECTED ? 1 : 0);
    if (agent->tunnel == NULL || tunnel_info(agent->tunnel, &info) < 0)
        return;
    metrics_of_tunnel(text, &agent->tunnel_totals, &info);
    path_info_fini(&info);
}

static int open_metrics(struct agent *agent, struct err *err)
{
    if (!endpoint_is_set(&agent->config->metrics_address))
        return 0;
    return metrics_server_open(&agent->metrics, &agent->loop, &agent->config->metrics_address,
                               write_metrics, agent, err);
}

static int start(struct agent *agent, struct err *err)
{
    int code = tool_helper_start();
    if (code < 0)
        return err_set_errno(err, code, "cannot start the helper that runs resolvectl");
    code = load(agent, err);
    if (code < 0)
        return code;
    log_info("starting hpeer", F_STR("version", HEIMDALL_VERSION), F_STR("name", agent->name));
    confine_self(); /* the helper runs, and there are no threads yet */
    agent->paths = resolver_paths_default(datadir_path(agent->datadir));
    code = resolver_setter_open(&agent->resolver_setter, &agent->loop, &agent->paths);
    if (code < 0)
        return err_set_errno(err, code, "no worker for the resolver");
    struct tunnel_options options = {
        .loop = &agent->loop,
        .interface_name = agent->config->interface_name,
        .private_key = agent->identity.private_key,
        .ctx = agent,
        .recreated = set_resolver_again,
        .network_changed = on_network_changed,
    };
    code = tunnel_open(&agent->tunnel, &options, err);
    if (code < 0)
        return code;
    bytes_to_base64(agent->public_key, tunnel_public_key(agent->tunnel), WG_KEY_LEN);
    code = open_metrics(agent, err);
    if (code < 0)
        return code;
    watch_resolver(agent);
    /* what a killed run left in it may lead nowhere */
    resolver_setter_restore(agent->resolver_setter, on_resolver_left, agent);
    return 0;
}

static void on_signal(uv_signal_t *handle, int number)
{
    log_info("stopping", F_STR("signal", number == SIGINT ? "SIGINT" : "SIGTERM"));
    stop(handle->data);
}

static int open_loop(struct agent *agent)
{
    static const int numbers[2] = {SIGTERM, SIGINT};
    int code = uv_loop_init(&agent->loop);
    if (code < 0)
        return code;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)uv_timer_init(&agent->loop, &agent->timer);
    agent->timer.data = agent;
    for (size_t i = 0; i < 2; i++) {
        (void)uv_signal_init(&agent->loop, &agent->signals[i]);
        agent->signals[i].data = agent;
        (void)uv_signal_start(&agent->signals[i], on_signal, numbers[i]);
    }
    return 0;
}

/* ---- going down ---- */

static void stop(struct agent *agent)
{
    if (agent->stopping)
        return;
    agent->stopping = true;
    hang_up(agent);
    resolver_watch_close(agent->resolver_watch);
    agent->resolver_watch = NULL;
    resolver_setter_close(agent->resolver_setter);
    agent->resolver_setter = NULL;
    metrics_server_close(agent->metrics);
    agent->metrics = NULL;
    tunnel_close(agent->tunnel);
    agent->tunnel = NULL;
    uv_close((uv_handle_t *)&agent->timer, NULL);
    for (size_t i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&agent->signals[i], NULL);
}

int agent_run(const struct peer_config *config, struct err *err)
{
    struct agent *agent = calloc(1, sizeof *agent);
    struct err cause;
    if (agent == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    agent->config = config;
    agent->err = err;
    agent->pause_ms = PAUSE_MIN_MS;
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
    transport_tls_destroy(agent->tls);
    identity_fini(&agent->identity);
    datadir_close(agent->datadir);
    bytes_wipe(agent, sizeof *agent);
    free(agent);
    return code;
}
