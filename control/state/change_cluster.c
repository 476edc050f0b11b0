#include "base/err.h"
#include "base/map.h"
#include "control/state/change_build.h"
#include "control/state/ipam.h"
#include "control/state/state.h"

#include <errno.h>
#include <string.h>

void change_default_networks6(const char *cluster, struct ip_prefix *node_network6,
                              struct ip_prefix *peer_network6)
{
    static const uint8_t seed[16] = "heimdall ULA";
    uint64_t hash = map_siphash(seed, cluster, strlen(cluster));
    struct ip_prefix network = {.addr = {.family = 6, .bytes = {0xfd}}, .len = 64};
    for (int i = 1; i <= 5; i++)
        network.addr.bytes[i] = (uint8_t)(hash >> (8 * i));
    *node_network6 = network;
    network.addr.bytes[6] = 0xff;
    network.addr.bytes[7] = 0xff;
    *peer_network6 = network;
}

static bool same_cluster(const struct state_settings *have, const struct change_cluster *want)
{
    return ip_prefix_equal(&have->node_network, &want->node_network) &&
           ip_prefix_equal(&have->peer_network, &want->peer_network) &&
           ip_prefix_equal(&have->node_network6, &want->node_network6) &&
           ip_prefix_equal(&have->peer_network6, &want->peer_network6);
}

static void add_meta(struct change *change, const char *field, const char *text)
{
    change_add(change, RECORD_HSET, RECORD_KEY_META, field, text, strlen(text));
}

static void add_meta_network(struct change *change, const char *field,
                             const struct ip_prefix *network)
{
    char text[IP_PREFIX_TEXT] = "";
    if (network->addr.family != 0)
        ip_prefix_format(network, text);
    add_meta(change, field, text);
}

static enum grpc_code refuse_other_networks(const struct state_settings *have, struct err *err)
{
    char node[IP_PREFIX_TEXT];
    char peer[IP_PREFIX_TEXT];
    char node6[IP_PREFIX_TEXT] = "none";
    if (have->node_network6.addr.family != 0)
        ip_prefix_format(&have->node_network6, node6);
    return REFUSE(err, GRPC_FAILED_PRECONDITION,
                  "networks of a cluster cannot change: this one was made with --node-network %s, "
                  "--peer-network %s and --node-network6 %s",
                  ip_prefix_format(&have->node_network, node),
                  ip_prefix_format(&have->peer_network, peer), node6);
}

static enum grpc_code bootstrap(struct change *change, const struct state *state,
                                const struct change_cluster *cluster, struct err *err)
{
    const struct state_settings *have = state_settings(state);
    if (strlen(cluster->cluster) >= sizeof have->cluster || cluster->cluster[0] == '\0')
        return REFUSE(err, GRPC_INVALID_ARGUMENT, "the cluster id must have 1 to 63 characters");
    if (have->cluster[0] != '\0' && strcmp(have->cluster, cluster->cluster) != 0)
        return REFUSE(err, GRPC_FAILED_PRECONDITION, "the data belongs to another cluster, %s",
                      have->cluster);
    if (have->cluster[0] != '\0' && !same_cluster(have, cluster))
        return refuse_other_networks(have, err);
    if (have->cluster[0] != '\0')
        return GRPC_OK;
    if (ipam_check_networks(&cluster->node_network, &cluster->peer_network, &cluster->node_network6,
                            &cluster->peer_network6, err) != 0)
        return GRPC_INVALID_ARGUMENT;
    add_meta(change, "layout", RECORD_LAYOUT);
    add_meta(change, "cluster", cluster->cluster);
    add_meta_network(change, "node_network", &cluster->node_network);
    add_meta_network(change, "peer_network", &cluster->peer_network);
    add_meta_network(change, "node_network6", &cluster->node_network6);
    add_meta_network(change, "peer_network6", &cluster->peer_network6);
    return GRPC_OK;
}

enum grpc_code change_bootstrap_cluster(struct change *change, const struct state *state,
                                        const struct change_cluster *cluster, struct err *err)
{
    change_begin(change, state);
    return change_finish(change, bootstrap(change, state, cluster, err), err);
}
