/* Commits the cluster's settings and this node's record, which a new data dir does not have yet and
 * changed options may change, and the peers that options authorize. */
#include "control/daemon/node_bootstrap.h"

#include "base/clock.h"
#include "base/log.h"
#include "control/cluster/cluster.h"
#include "control/cluster/writer.h"
#include "control/daemon/node_parts.h"
#include "control/state/access.h"
#include "control/state/change.h"
#include "control/state/state.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

/* The option's network, the cluster's default, or none: an overlay has IPv6 for nodes and peers
 * alike, or for neither. */
static struct ip_prefix network6(const struct overlay6_option *option,
                                 const struct overlay6_option *other, struct ip_prefix fallback)
{
    if (other->mode == OVERLAY6_NONE)
        return (struct ip_prefix){0};
    switch (option->mode) {
    case OVERLAY6_AUTO:
        return fallback;
    case OVERLAY6_GIVEN:
        return option->prefix;
    case OVERLAY6_NONE:
        return (struct ip_prefix){0};
    }
    return (struct ip_prefix){0};
}

static enum grpc_code build_cluster(void *ctx, struct change *change, const struct state *state,
                                    struct err *err)
{
    const struct node *node = ctx;
    const struct node_config *config = node->config;
    char cluster[sizeof state_settings(state)->cluster];
    struct ip_prefix node_network6;
    struct ip_prefix peer_network6;
    memcpy(cluster, state_settings(state)->cluster, sizeof cluster);
    if (cluster[0] == '\0') {
        uint8_t random[16];
        if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
            change_init(change);
            err_set(err, -EIO, "no random bytes");
            return GRPC_INTERNAL;
        }
        access_make_uuid(random, cluster);
    }
    change_default_networks6(cluster, &node_network6, &peer_network6);
    struct change_cluster wanted = {
        .cluster = cluster,
        .node_network = config->node_network,
        .peer_network = config->peer_network,
        .node_network6 = network6(&config->node_network6, &config->peer_network6, node_network6),
        .peer_network6 = network6(&config->peer_network6, &config->node_network6, peer_network6),
    };
    return change_bootstrap_cluster(change, state, &wanted, err);
}

static enum grpc_code build_node(void *ctx, struct change *change, const struct state *state,
                                 struct err *err)
{
    const struct node *node = ctx;
    struct change_node self = {
        .id = node->identity.id,
        .name = node->name,
        .public_key = node->public_key,
        .addr = node->advertise,
        .endpoint_ip = node->endpoint_ip,
        .endpoint_port = node->config->endpoint_port,
        .interface_name = node->config->interface_name,
        .version = HEIMDALL_VERSION,
        .host_networks = node->host_networks,
        .host_network_count = node->host_network_count,
        .no_ipv6 = !tunnel_has_ipv6(node->tunnel),
        .now_ns = clock_realtime_ns(),
    };
    return change_put_node(change, state, &self, err);
}

/* The first --authorized-peer that is not authorized yet; one request is submitted for each. */
static enum grpc_code build_authorized(void *ctx, struct change *change, const struct state *state,
                                       struct err *err)
{
    const struct node *node = ctx;
    const struct option_list *list = &node->config->authorized_peers;
    change_init(change);
    for (size_t i = 0; i < list->count; i++)
        if (state_authorization(state, list->values[i]) == NULL)
            return change_authorize_peer(change, state, list->values[i], clock_realtime_ns(), err);
    return GRPC_OK;
}

static void on_bootstrap_done(void *ctx, enum grpc_code status, const struct err *err, uint64_t rev)
{
    struct node *node = ctx;
    (void)rev;
    node->bootstrap_requests--;
    if (node->stopping)
        return;
    if (status == GRPC_UNAVAILABLE) {
        log_warn("the store did not take the first changes; retrying", F_STR("error", err->text));
        cluster_restart_redis(node->cluster);
    } else if (status != GRPC_OK) {
        node->bootstrap_done(node, err);
    } else if (node->bootstrap_requests == 0 && !node->bootstrapped) {
        node->bootstrapped = true;
        node->bootstrap_done(node, NULL);
    }
}

void node_bootstrap(struct node *node, void (*done)(struct node *node, const struct err *err))
{
    struct writer *writer = cluster_writer(node->cluster);
    size_t authorized = node->config->authorized_peers.count;
    if (node->bootstrapped || node->bootstrap_requests > 0)
        return;
    node->bootstrap_done = done;
    node->bootstrap_requests = 2 + authorized;
    writer_submit(writer, &(struct writer_request){node, build_cluster, on_bootstrap_done});
    writer_submit(writer, &(struct writer_request){node, build_node, on_bootstrap_done});
    for (size_t i = 0; i < authorized && !node->stopping; i++)
        writer_submit(writer, &(struct writer_request){node, build_authorized, on_bootstrap_done});
}
