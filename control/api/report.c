#include "control/api/report.h"

#include "base/clock.h"
#include "control/api/live.h"
#include "control/api/problems.h"
#include "control/state/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A host's part of the tunnel, as a message with what it points at. */
struct tunnel {
    Heimdall__V1__TunnelStatus pb;
    Google__Protobuf__Timestamp last_handshake;
    char endpoint[ENDPOINT_TEXT];
};

struct node_entry {
    Heimdall__V1__NodeStatus pb;
    struct tunnel tunnel;
    PB(Node) self; /* of the node that answers: it lives now */
    Google__Protobuf__Timestamp now;
};

struct peer_entry {
    Heimdall__V1__PeerStatus pb;
    struct tunnel tunnel;
    struct live_peer live;
};

struct status {
    Heimdall__V1__StatusResponse pb;
    Google__Protobuf__Timestamp started;
    struct node_entry *nodes;
    struct peer_entry *peers;
    struct problems problems;
};

/* NULL without an answer of the tunnel. */
static Heimdall__V1__TunnelStatus *tunnel_fill(struct tunnel *out, const struct wg_peer_info *info)
{
    if (info == NULL)
        return NULL;
    heimdall__v1__tunnel_status__init(&out->pb);
    if (endpoint_is_set(&info->endpoint)) {
        endpoint_format(&info->endpoint, out->endpoint);
        out->pb.endpoint = out->endpoint;
    }
    if (live_timestamp(&out->last_handshake, info->last_handshake_ns))
        out->pb.last_handshake = &out->last_handshake;
    out->pb.rx_bytes = info->rx_bytes;
    out->pb.tx_bytes = info->tx_bytes;
    return &out->pb;
}

static void node_fill(struct node_entry *out, const struct status_facts *facts,
                      const struct state_node *node)
{
    heimdall__v1__node_status__init(&out->pb);
    out->pb.node = node->pb;
    if (strcmp(node->id, facts->node_id) != 0) {
        out->pb.tunnel = tunnel_fill(&out->tunnel, live_find(facts->live, node->public_key));
        return;
    }
    out->self = *node->pb;
    if (live_timestamp(&out->now, facts->now_ns))
        out->self.updated = &out->now;
    out->pb.node = &out->self;
}

static void peer_fill(struct peer_entry *out, const struct status_facts *facts,
                      const struct state_peer *peer)
{
    const struct wg_peer_info *info = live_find(facts->live, peer->public_key);
    const struct state_authorization *authorization = state_authorization(facts->state, peer->id);
    uint64_t for_ns;
    heimdall__v1__peer_status__init(&out->pb);
    live_peer_fill(&out->live, peer, info);
    out->pb.peer = &out->live.pb;
    out->pb.tunnel = tunnel_fill(&out->tunnel, info);
    out->pb.watching = facts->watching(facts->ctx, peer->id, &for_ns);
    if (out->pb.watching && live_timestamp(&out->live.last_seen, facts->now_ns))
        out->live.pb.last_seen = &out->live.last_seen;
    out->pb.rekey = authorization != NULL && authorization->pb->rekey;
}

static void authorization_fill(struct peer_entry *out,
                               const struct state_authorization *authorization)
{
    heimdall__v1__peer_status__init(&out->pb);
    PB_FN(peer__init)(&out->live.pb);
    out->live.pb.id = authorization->pb->id;
    out->live.pb.name = authorization->pb->name;
    out->pb.peer = &out->live.pb;
    out->pb.rekey = authorization->pb->rekey;
}

static int add_nodes(struct status *status, const struct status_facts *facts)
{
    size_t count = state_node_count(facts->state);
    status->nodes = calloc(count + 1, sizeof *status->nodes);
    status->pb.nodes = calloc(count + 1, sizeof *status->pb.nodes);
    if (status->nodes == NULL || status->pb.nodes == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        node_fill(&status->nodes[i], facts, state_node_at(facts->state, i));
        status->pb.nodes[i] = &status->nodes[i].pb;
    }
    status->pb.n_nodes = count;
    return 0;
}

/* First those with a record, then those that never connected. */
static int add_peers(struct status *status, const struct status_facts *facts)
{
    size_t peers = state_peer_count(facts->state);
    size_t authorizations = state_authorization_count(facts->state);
    status->peers = calloc(peers + authorizations + 1, sizeof *status->peers);
    status->pb.peers = calloc(peers + authorizations + 1, sizeof *status->pb.peers);
    if (status->peers == NULL || status->pb.peers == NULL)
        return -ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i < peers; i++)
        peer_fill(&status->peers[n++], facts, state_peer_at(facts->state, i));
    for (size_t i = 0; i < authorizations; i++) {
        const struct state_authorization *authorization = state_authorization_at(facts->state, i);
        if (state_peer(facts->state, authorization->id) == NULL)
            authorization_fill(&status->peers[n++], authorization);
    }
    for (size_t i = 0; i < n; i++)
        status->pb.peers[i] = &status->peers[i].pb;
    status->pb.n_peers = n;
    return 0;
}

static void add_problems(struct status *status, const struct status_facts *facts)
{
    problems_find(&status->problems, facts);
    status->pb.problems = status->problems.list;
    status->pb.n_problems = status->problems.count;
}

int status_create(struct status **out, const struct status_facts *facts)
{
    *out = NULL;
    struct status *status = calloc(1, sizeof *status);
    if (status == NULL)
        return -ENOMEM;
    heimdall__v1__status_response__init(&status->pb);
    /* protobuf-c's messages have no const; nothing writes there */
    status->pb.version = (char *)(uintptr_t)facts->version;
    status->pb.node_id = (char *)(uintptr_t)facts->node_id;
    status->pb.master_id = status->pb.node_id; /* one node is its own master */
    status->pb.cluster_id = (char *)(uintptr_t)state_settings(facts->state)->cluster;
    status->pb.epoch = state_epoch(facts->state);
    status->pb.rev = state_rev(facts->state);
    if (live_timestamp(&status->started, facts->host->started_ns))
        status->pb.started = &status->started;
    if (add_nodes(status, facts) < 0 || add_peers(status, facts) < 0) {
        status_destroy(status);
        return -ENOMEM;
    }
    add_problems(status, facts);
    *out = status;
    return 0;
}

void status_cut(struct status *status, size_t size)
{
    enum { TAG_AND_LENGTH = 1 + 5 };
    size_t peers = status->pb.n_peers;
    size_t n = 0;
    if (protobuf_c_message_get_packed_size(&status->pb.base) <= size)
        return;
    status->pb.n_peers = 0;
    size_t taken = protobuf_c_message_get_packed_size(&status->pb.base) + (size_t)2 * PROBLEM_TEXT;
    for (; n < peers; n++) {
        taken += TAG_AND_LENGTH + protobuf_c_message_get_packed_size(&status->peers[n].pb.base);
        if (taken > size)
            break;
    }
    status->pb.n_peers = n;
    problems_add_cut(&status->problems, n, peers);
    status->pb.n_problems = status->problems.count;
}

void status_destroy(struct status *status)
{
    if (status == NULL)
        return;
    free(status->pb.nodes);
    free(status->pb.peers);
    free(status->nodes);
    free(status->peers);
    free(status);
}

const Heimdall__V1__StatusResponse *status_response(const struct status *status)
{
    return &status->pb;
}
