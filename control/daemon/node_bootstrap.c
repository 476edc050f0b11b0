/* Commits the cluster's settings and this node's record, which a new data dir does not have yet and
 * changed options may change, and the peers that options authorize. */
#include "control/daemon/node_bootstrap.h"

#include "base/bytes.h"
#include "base/err.h"
#include "base/log.h"
#include "control/api/mutation.h"
#include "control/cluster/cluster.h"
#include "control/daemon/node_parts.h"
#include "control/daemon/node_submit.h"
#include "control/rpc/transport_key.h"
#include "control/state/access.h"
#include "control/state/change.h"
#include "control/state/state.h"
#include "proto/mutation.pb-c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { CLUSTER_ID_TEXT = sizeof((const struct state_settings *)0)->cluster };

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

/* protobuf-c's messages have no const. */
static char *borrow(const char *text)
{
    return (char *)(uintptr_t)text;
}

/* An empty text stands for no network. */
static char *network_text(char out[IP_PREFIX_TEXT], const struct ip_prefix *network)
{
    out[0] = '\0';
    if (network->addr.family != 0)
        ip_prefix_format(network, out);
    return out;
}

static void request_ended(struct node *node)
{
    if (--node->bootstrap_requests > 0 || node->bootstrap_failed || node->stopping)
        return;
    node->bootstrapped = true;
    node->bootstrap_done(node, NULL);
}

static void on_bootstrap_done(void *ctx, const struct mutation *mutation, enum grpc_code status,
                              const struct err *err, uint64_t rev)
{
    struct node *node = ctx;
    (void)mutation;
    (void)rev;
    bool first = status != GRPC_OK && !node->bootstrap_failed && !node->stopping;
    node->bootstrap_failed |= status != GRPC_OK;
    request_ended(node);
    if (first && status == GRPC_UNAVAILABLE) {
        log_warn("the store did not take the first changes; retrying", F_STR("error", err->text));
        cluster_restart_redis(node->cluster);
    } else if (first) {
        node->bootstrap_done(node, err);
    }
}

/* A request that cannot even be made fails as if the store had refused it. */
static void check_submitted(struct node *node, int code)
{
    struct err err;
    if (code == 0)
        return;
    err_set_errno(&err, code, "cannot bootstrap this node");
    on_bootstrap_done(node, NULL, GRPC_INTERNAL, &err, 0);
}

static void submit(struct node *node, const struct mutation_kind *kind,
                   const ProtobufCMessage *request)
{
    node->bootstrap_requests++; /* on_bootstrap_done may be called at once */
    check_submitted(node, node_submit(node, kind, request, on_bootstrap_done));
}

/* The cluster's id is made once, by the first node. 0 or -EIO. */
static int cluster_id(const struct state *state, char out[CLUSTER_ID_TEXT])
{
    uint8_t random[16];
    memcpy(out, state_settings(state)->cluster, CLUSTER_ID_TEXT);
    if (out[0] != '\0')
        return 0;
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return -EIO;
    access_make_id(random, out);
    return 0;
}

static void submit_cluster(struct node *node, char *id)
{
    const struct node_config *config = node->config;
    char texts[4][IP_PREFIX_TEXT];
    struct ip_prefix node6;
    struct ip_prefix peer6;
    Pb__BootstrapClusterRequest request = PB__BOOTSTRAP_CLUSTER_REQUEST__INIT;
    change_default_networks6(id, &node6, &peer6);
    node6 = network6(&config->node_network6, &config->peer_network6, node6);
    peer6 = network6(&config->peer_network6, &config->node_network6, peer6);
    request.cluster_id = id;
    request.node_network = network_text(texts[0], &config->node_network);
    request.peer_network = network_text(texts[1], &config->peer_network);
    request.node_network6 = network_text(texts[2], &node6);
    request.peer_network6 = network_text(texts[3], &peer6);
    submit(node, &mutation_bootstrap_cluster, &request.base);
}

/* ---- this node's record ---- */

/* The networks of this host as texts. The array and the texts are one allocation, or NULL. */
static char **host_networks(const struct node *node)
{
    size_t count = node->host_network_count;
    char **out = calloc(count + 1, sizeof *out + IP_PREFIX_TEXT);
    for (size_t i = 0; i < count && out != NULL; i++) {
        out[i] = (char *)(out + count + 1) + i * IP_PREFIX_TEXT;
        ip_prefix_format(&node->host_networks[i], out[i]);
    }
    return out;
}

/* A host without an address leaves what the record says of it. */
static void fill_addresses(const struct node *node, Pb__Node *self)
{
    const struct state_node *have = state_node(cluster_state(node->cluster), node->identity.id);
    bool waits = node->advertise[0] == '\0' || node->endpoint_ip[0] == '\0';
    self->addr = waits && have != NULL ? have->pb->addr : borrow(node->advertise);
    self->endpoint_ip = waits && have != NULL ? have->pb->endpoint_ip : borrow(node->endpoint_ip);
}

int node_put_self(struct node *node, node_mutation_done *done)
{
    Pb__PutNodeRequest request = PB__PUT_NODE_REQUEST__INIT;
    Pb__Node self = PB__NODE__INIT;
    Pb__KeyPair keypair = PB__KEY_PAIR__INIT;
    keypair.public_key = node->public_key;
    self.id = node->identity.id;
    self.name = node->name;
    self.keypair = &keypair;
    fill_addresses(node, &self);
    self.endpoint_port = node->config->endpoint_port;
    self.interface_name = borrow(node->config->daemon.interface_name);
    self.version = borrow(HEIMDALL_VERSION);
    self.psk_version = RECORD_PSK_VERSION;
    request.node = &self;
    request.no_ipv6 = !tunnel_has_ipv6(node->tunnel);
    request.host_networks = host_networks(node);
    request.n_host_networks = request.host_networks != NULL ? node->host_network_count : 0;
    int code = node_submit(node, &mutation_put_node, &request.base, done);
    free(request.host_networks);
    return code;
}

/* ---- the peers that options authorize ---- */

static void submit_authorized(struct node *node, const char *id)
{
    Pb__AuthorizePeerRequest request = PB__AUTHORIZE_PEER_REQUEST__INIT;
    uint8_t secret[TRANSPORT_STRETCHED_LEN];
    request.id = borrow(id);
    if (transport_stretch_bytes(secret, id) == 0)
        request.wire_secret = (ProtobufCBinaryData){sizeof secret, secret};
    submit(node, &mutation_authorize_peer, &request.base);
    bytes_wipe(secret, sizeof secret);
}

void node_bootstrap(struct node *node, void (*done)(struct node *node, const struct err *err))
{
    const struct option_list *authorized = &node->config->authorized_peers;
    char id[CLUSTER_ID_TEXT];
    if (node->bootstrapped || node->bootstrap_requests > 0)
        return;
    node->bootstrap_done = done;
    if (cluster_id(cluster_state(node->cluster), id) < 0) {
        done(node, &(struct err){-EIO, "no random bytes"});
        return;
    }
    node->bootstrap_failed = false;
    node->bootstrap_requests = 1; /* this call */
    submit_cluster(node, id);
    if (!node->stopping) { /* a refusal may have ended the run, and the tunnel with it */
        node->bootstrap_requests++;
        check_submitted(node, node_put_self(node, on_bootstrap_done));
    }
    for (size_t i = 0; i < authorized->count && !node->stopping; i++)
        if (state_authorization(cluster_state(node->cluster), authorized->values[i]) == NULL)
            submit_authorized(node, authorized->values[i]);
    request_ended(node);
}
