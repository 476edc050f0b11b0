#include "control/daemon/node_metrics.h"

#include "control/api/watch.h"
#include "control/api/watch_peer.h"
#include "control/cluster/cluster.h"
#include "control/cluster/writer.h"
#include "control/daemon/metrics.h"
#include "control/daemon/metrics_server.h"
#include "control/daemon/node_parts.h"
#include "control/rpc/server.h"
#include "control/state/state.h"
#include "dns/server_stats.h"
#include "dns/wire.h"

#include <string.h>

static const struct metrics_label none = {.name = NULL};

static void put_network(const struct node *node, struct metrics_text *text)
{
    const struct state *state = cluster_state(node->cluster);
    if (state == NULL)
        return;
    metrics_single(text, "heimdall_nodes", METRICS_GAUGE, "Nodes of the network.",
                   (double)state_node_count(state));
    metrics_single(text, "heimdall_peers", METRICS_GAUGE,
                   "Peers with an address: they have connected once.",
                   (double)state_peer_count(state));
    metrics_single(text, "heimdall_authorized_peers", METRICS_GAUGE, "Ids that may connect.",
                   (double)state_authorization_count(state));
    metrics_single(text, "heimdall_routes", METRICS_GAUGE, "Published networks.",
                   (double)state_route_count(state));
    metrics_single(text, "heimdall_damaged_records", METRICS_GAUGE,
                   "Records of the store that were skipped.", (double)state_damaged(state));
    metrics_single(text, "heimdall_store_epoch", METRICS_GAUGE, "Epoch of the store.",
                   (double)state_epoch(state));
    metrics_single(text, "heimdall_store_revision", METRICS_GAUGE,
                   "Changes since the network was made.", (double)state_rev(state));
}

static void put_store(const struct node *node, struct metrics_text *text)
{
    if (node->cluster == NULL)
        return;
    bool up = cluster_redis_runs(node->cluster);
    metrics_single(text, "heimdall_redis_up", METRICS_GAUGE, "1 while redis-server runs.",
                   up ? 1 : 0);
    metrics_single(text, "heimdall_redis_deaths_total", METRICS_COUNTER,
                   "How often redis-server died and was started again.",
                   (double)cluster_redis_deaths(node->cluster));
    if (cluster_writer(node->cluster) == NULL)
        return;
    const struct writer_stats *stats = writer_stats(cluster_writer(node->cluster));
    metrics_single(text, "heimdall_changes_refused_total", METRICS_COUNTER,
                   "Changes that made no sense or that the store did not take.",
                   (double)stats->refused);
    metrics_histogram(text, "heimdall_change_duration_seconds",
                      "From the request of a change until the store had it.", &stats->committed);
}

static void put_calls_of(void *ctx, const char *method, enum grpc_code code, uint64_t count)
{
    struct metrics_text *text = ctx;
    metrics_sample(text, (struct metrics_label){"method", method},
                   (struct metrics_label){"code", grpc_code_name((int)code)}, (double)count);
}

static void put_api(const struct node *node, struct metrics_text *text)
{
    if (node->rpc == NULL || node->watch == NULL || node->events == NULL)
        return;
    metrics_family(text, "heimdall_rpcs_total", METRICS_COUNTER,
                   "Calls of the control API that have ended.");
    rpc_server_each_count(node->rpc, put_calls_of, text);
    metrics_single(text, "heimdall_control_connections", METRICS_GAUGE,
                   "Open connections to the control API.",
                   (double)rpc_server_connection_count(node->rpc));
    metrics_single(text, "heimdall_watches", METRICS_GAUGE, "Peers that are told of changes now.",
                   (double)watch_peer_count(node->watch));
    metrics_single(text, "heimdall_change_streams", METRICS_GAUGE,
                   "Administrators that are told of changes now.",
                   (double)watch_count(node->events));
}

static void put_names(const struct node *node, struct metrics_text *text)
{
    static const struct {
        const char *name;
        unsigned rcode;
    } rcodes[] = {{"NOERROR", DNS_NOERROR},   {"FORMERR", DNS_FORMERR}, {"SERVFAIL", DNS_SERVFAIL},
                  {"NXDOMAIN", DNS_NXDOMAIN}, {"NOTIMP", DNS_NOTIMP},   {"REFUSED", DNS_REFUSED}};
    struct dns_server_stats stats;
    if (node->names == NULL)
        return;
    names_stats(node->names, &stats);
    metrics_family(text, "heimdall_dns_queries_total", METRICS_COUNTER, "DNS queries received.");
    metrics_sample(text, (struct metrics_label){"transport", "udp"}, none,
                   (double)stats.udp_queries);
    metrics_sample(text, (struct metrics_label){"transport", "tcp"}, none,
                   (double)stats.tcp_queries);
    metrics_family(text, "heimdall_dns_answers_total", METRICS_COUNTER, "DNS answers by code.");
    for (size_t i = 0; i < sizeof rcodes / sizeof rcodes[0]; i++)
        metrics_sample(text, (struct metrics_label){"rcode", rcodes[i].name}, none,
                       (double)stats.rcodes[rcodes[i].rcode]);
    metrics_single(text, "heimdall_dns_forwarded_total", METRICS_COUNTER,
                   "Queries for names of others, asked upstream.", (double)stats.forwarded);
    metrics_single(text, "heimdall_dns_dropped_total", METRICS_COUNTER,
                   "Queries that got no answer.", (double)stats.dropped);
}

static void put_tunnel(struct node *node, struct metrics_text *text)
{
    struct path_info info;
    if (node->tunnel == NULL || tunnel_info(node->tunnel, &info) < 0)
        return;
    metrics_of_tunnel(text, &node->tunnel_totals, &info);
    path_info_fini(&info);
}

static void write_all(void *ctx, struct metrics_text *text)
{
    struct node *node = ctx;
    metrics_of_process(text, "heimdall");
    metrics_single(text, "heimdall_ready", METRICS_GAUGE, "1 once the control API is served.",
                   node->ready ? 1 : 0);
    put_network(node, text);
    put_store(node, text);
    put_api(node, text);
    put_names(node, text);
    put_tunnel(node, text);
}

int node_metrics_open(struct node *node, struct err *err)
{
    if (!endpoint_is_set(&node->config->daemon.metrics_address))
        return 0;
    return metrics_server_open(&node->metrics, &node->loop, &node->config->daemon.metrics_address,
                               write_all, node, err);
}
