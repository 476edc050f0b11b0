#include "control/api/report.h"

#include "base/clock.h"
#include "control/api/facts.h"
#include "control/api/live.h"
#include "control/api/problems.h"
#include "control/state/record_time.h"
#include "control/state/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A host's tunnel, as a message with its storage. */
struct tunnel_view {
    Pb__TunnelStatus pb;
    Google__Protobuf__Timestamp last_handshake;
    char endpoint[ENDPOINT_TEXT];
};

struct node_entry {
    Pb__NodeStatus pb;
    struct tunnel_view tunnel;
    Pb__Node self; /* of the answering node, which is alive now */
    Google__Protobuf__Timestamp now;
};

struct peer_entry {
    Pb__PeerStatus pb;
    struct tunnel_view tunnel;
    struct live_peer live;
};

struct report {
    Pb__StatusResponse pb;
    Google__Protobuf__Timestamp started;
    struct node_entry *nodes;
    struct peer_entry *peers;
    struct problems problems;
};

/* Returns NULL when the tunnel has no such host. */
static Pb__TunnelStatus *tunnel_fill(struct tunnel_view *out, const struct wg_peer_info *info)
{
    if (info == NULL)
        return NULL;
    pb__tunnel_status__init(&out->pb);
    if (endpoint_is_set(&info->endpoint)) {
        endpoint_format(&info->endpoint, out->endpoint);
        out->pb.endpoint = out->endpoint;
    }
    if (info->last_handshake_ns != 0) {
        out->last_handshake = record_time(info->last_handshake_ns);
        out->pb.last_handshake = &out->last_handshake;
    }
    out->pb.rx_bytes = info->rx_bytes;
    out->pb.tx_bytes = info->tx_bytes;
    return &out->pb;
}

static void node_fill(struct node_entry *out, const struct report_facts *facts,
                      const struct state_node *node)
{
    pb__node_status__init(&out->pb);
    out->pb.node = node->pb;
    if (strcmp(node->id, facts->node_id) != 0) {
        out->pb.tunnel = tunnel_fill(&out->tunnel, live_find(facts->live, node->public_key));
        return;
    }
    out->self = *node->pb;
    out->now = record_time(facts->now_ns);
    out->self.updated = &out->now;
    out->pb.node = &out->self;
}

static void peer_fill(struct peer_entry *out, const struct report_facts *facts,
                      const struct state_peer *peer)
{
    const struct wg_peer_info *info = live_find(facts->live, peer->public_key);
    const struct state_authorization *authorization = state_authorization(facts->state, peer->id);
    pb__peer_status__init(&out->pb);
    live_peer_fill(&out->live, facts->live, peer);
    out->pb.peer = &out->live.pb;
    out->pb.tunnel = tunnel_fill(&out->tunnel, info);
    out->pb.watching = live_is_watching(facts->live, peer->id, NULL);
    out->pb.rekey = authorization != NULL && authorization->pb->rekey;
}

static void authorization_fill(struct peer_entry *out,
                               const struct state_authorization *authorization)
{
    pb__peer_status__init(&out->pb);
    pb__peer__init(&out->live.pb);
    out->live.pb.id = authorization->pb->id;
    out->live.pb.name = authorization->pb->name;
    out->pb.peer = &out->live.pb;
    out->pb.rekey = authorization->pb->rekey;
}

static int add_nodes(struct report *report, const struct report_facts *facts)
{
    size_t count = state_node_count(facts->state);
    report->nodes = calloc(count + 1, sizeof *report->nodes);
    report->pb.nodes = calloc(count + 1, sizeof *report->pb.nodes);
    if (report->nodes == NULL || report->pb.nodes == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        node_fill(&report->nodes[i], facts, state_node_at(facts->state, i));
        report->pb.nodes[i] = &report->nodes[i].pb;
    }
    report->pb.n_nodes = count;
    return 0;
}

/* Adds peers with a record, then those that never connected. */
static int add_peers(struct report *report, const struct report_facts *facts)
{
    size_t peers = state_peer_count(facts->state);
    size_t authorizations = state_authorization_count(facts->state);
    report->peers = calloc(peers + authorizations + 1, sizeof *report->peers);
    report->pb.peers = calloc(peers + authorizations + 1, sizeof *report->pb.peers);
    if (report->peers == NULL || report->pb.peers == NULL)
        return -ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i < peers; i++)
        peer_fill(&report->peers[n++], facts, state_peer_at(facts->state, i));
    for (size_t i = 0; i < authorizations; i++) {
        const struct state_authorization *authorization = state_authorization_at(facts->state, i);
        if (state_peer(facts->state, authorization->id) == NULL)
            authorization_fill(&report->peers[n++], authorization);
    }
    for (size_t i = 0; i < n; i++)
        report->pb.peers[i] = &report->peers[i].pb;
    report->pb.n_peers = n;
    return 0;
}

static void add_problems(struct report *report, const struct report_facts *facts)
{
    problems_find(&report->problems, facts);
    report->pb.problems = report->problems.list;
    report->pb.n_problems = report->problems.count;
}

int report_create(struct report **out, const struct report_facts *facts)
{
    *out = NULL;
    struct report *report = calloc(1, sizeof *report);
    if (report == NULL)
        return -ENOMEM;
    pb__status_response__init(&report->pb);
    /* protobuf-c's messages have no const; nothing writes to them */
    report->pb.version = (char *)(uintptr_t)facts->version;
    report->pb.node_id = (char *)(uintptr_t)facts->node_id;
    report->pb.master_id = report->pb.node_id; /* a single node is its own master */
    report->pb.cluster_id = (char *)(uintptr_t)state_settings(facts->state)->cluster;
    report->pb.epoch = state_epoch(facts->state);
    report->pb.rev = state_rev(facts->state);
    if (facts->host->started_ns != 0) {
        report->started = record_time(facts->host->started_ns);
        report->pb.started = &report->started;
    }
    if (add_nodes(report, facts) < 0 || add_peers(report, facts) < 0) {
        report_destroy(report);
        return -ENOMEM;
    }
    add_problems(report, facts);
    *out = report;
    return 0;
}

void report_cut(struct report *report, size_t size)
{
    enum { TAG_AND_LENGTH = 1 + 5 };
    size_t peers = report->pb.n_peers;
    size_t n = 0;
    if (protobuf_c_message_get_packed_size(&report->pb.base) <= size)
        return;
    report->pb.n_peers = 0;
    size_t taken = protobuf_c_message_get_packed_size(&report->pb.base) + (size_t)2 * PROBLEM_TEXT;
    for (; n < peers; n++) {
        taken += TAG_AND_LENGTH + protobuf_c_message_get_packed_size(&report->peers[n].pb.base);
        if (taken > size)
            break;
    }
    report->pb.n_peers = n;
    problems_add_cut(&report->problems, n, peers);
    report->pb.n_problems = report->problems.count;
}

void report_destroy(struct report *report)
{
    if (report == NULL)
        return;
    free(report->pb.nodes);
    free(report->pb.peers);
    free(report->nodes);
    free(report->peers);
    free(report);
}

const Pb__StatusResponse *report_response(const struct report *report)
{
    return &report->pb;
}
