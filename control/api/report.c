#include "control/api/report.h"

#include "base/clock.h"
#include "control/api/facts.h"
#include "control/api/live.h"
#include "control/api/page.h"
#include "control/api/problems.h"
#include "control/api/watch_peer.h"
#include "control/state/record_time.h"
#include "control/state/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CUT_RESERVE = 2 * PROBLEM_TEXT }; /* for the problem of a page that is cut */

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
    Google__Protobuf__Timestamp now;
    struct node_entry *nodes;
    struct peer_entry *peers;
    struct problems problems;
};

/* Returns NULL when the tunnel has no such host. */
static Pb__TunnelStatus *tunnel_fill(struct tunnel_view *out, const struct live *live,
                                     const struct wg_peer_info *info)
{
    if (info == NULL)
        return NULL;
    pb__tunnel_status__init(&out->pb);
    if (endpoint_is_set(&info->endpoint)) {
        endpoint_format(&info->endpoint, out->endpoint);
        out->pb.endpoint = out->endpoint;
    }
    if (info->last_handshake_boot_ns != 0) {
        out->last_handshake = live_time(live, info->last_handshake_boot_ns);
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
        out->pb.tunnel =
            tunnel_fill(&out->tunnel, facts->live, live_find(facts->live, node->public_key));
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
    out->pb.tunnel = tunnel_fill(&out->tunnel, facts->live, info);
    const struct watcher *watcher = live_watcher(facts->live, peer->id);
    out->pb.watching = watcher != NULL;
    out->pb.clock_ahead_s = watcher != NULL ? watcher->clock_ahead_s : 0;
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

/* An unpacked entry of one of the lists, at the walk's place. */
static const ProtobufCMessage *fill_next(struct report *report, const struct report_facts *facts,
                                         const struct walk *walk, size_t place)
{
    struct peer_entry *peer = &report->peers[report->pb.n_peers];
    struct node_entry *node = &report->nodes[report->pb.n_nodes];
    if (walk->part == WALK_NODES) {
        node_fill(node, facts, state_node_at(facts->state, place));
        return &node->pb.base;
    }
    if (walk->part == WALK_PEERS)
        peer_fill(peer, facts, state_peer_at(facts->state, place));
    else
        authorization_fill(peer, state_authorization_at(facts->state, place));
    return &peer->pb.base;
}

/* Authorizations are listed while there is no peer of that id. */
static bool is_listed(const struct report_facts *facts, const struct walk *walk, size_t place)
{
    return walk->part != WALK_AUTHORIZATIONS ||
           state_peer(facts->state, state_authorization_at(facts->state, place)->id) == NULL;
}

/* Adds records of the walk's part until the page is full or the part ends. */
static bool add_part(struct report *report, const struct report_facts *facts, struct page *page)
{
    struct walk *walk = &page->walk;
    size_t count = walk_count(walk, facts->state);
    for (size_t i = walk_place(walk, facts->state); i < count; i++) {
        if (is_listed(facts, walk, i)) {
            if (!page_takes(page, fill_next(report, facts, walk, i)))
                return false;
            if (walk->part == WALK_NODES)
                report->pb.n_nodes++;
            else
                report->pb.n_peers++;
        }
        walk_take(walk, facts->state, i);
    }
    return true;
}

/* Nodes, peers with a record, peers that never connected. */
static void add_entries(struct report *report, const struct report_facts *facts, struct page *page)
{
    static const enum walk_part next[] = {[WALK_NODES] = WALK_PEERS,
                                          [WALK_ROUTES] = WALK_END,
                                          [WALK_AUTHORIZATIONS] = WALK_END,
                                          [WALK_PEERS] = WALK_AUTHORIZATIONS};
    while (page->walk.part != WALK_END && add_part(report, facts, page))
        walk_begin(&page->walk, next[page->walk.part]);
}

static size_t least(size_t a, uint64_t b)
{
    return a < b ? a : (size_t)b;
}

/* One entry more than there can be: a record that does not fit is filled before it is measured. */
static int make_lists(struct report *report, const struct report_facts *facts,
                      const struct page *page)
{
    size_t nodes = least(state_node_count(facts->state), page->count) + 1;
    size_t peers = least(state_peer_count(facts->state) + state_authorization_count(facts->state),
                         page->count) +
                   1;
    report->nodes = calloc(nodes, sizeof *report->nodes);
    report->pb.nodes = calloc(nodes, sizeof *report->pb.nodes);
    report->peers = calloc(peers, sizeof *report->peers);
    report->pb.peers = calloc(peers, sizeof *report->pb.peers);
    if (report->nodes == NULL || report->pb.nodes == NULL || report->peers == NULL ||
        report->pb.peers == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < nodes; i++)
        report->pb.nodes[i] = &report->nodes[i].pb;
    for (size_t i = 0; i < peers; i++)
        report->pb.peers[i] = &report->peers[i].pb;
    return 0;
}

static void add_problems(struct report *report, const struct report_facts *facts)
{
    problems_find(&report->problems, facts);
    report->pb.problems = report->problems.list;
    report->pb.n_problems = report->problems.count;
}

static size_t count_peers(const struct state *state)
{
    size_t count = state_peer_count(state);
    for (size_t i = 0; i < state_authorization_count(state); i++)
        count += state_peer(state, state_authorization_at(state, i)->id) == NULL;
    return count;
}

static void add_cut(struct report *report, const struct report_facts *facts)
{
    problems_add_cut(&report->problems, report->pb.n_peers, count_peers(facts->state));
    report->pb.n_problems = report->problems.count;
}

int report_create(struct report **out, const struct report_facts *facts, struct page *page)
{
    bool first = !page->walk.begun && page->walk.part == WALK_NODES;
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
    report->now = record_time(facts->now_ns);
    report->pb.now = &report->now;
    if (facts->host->started_ns != 0) {
        report->started = live_time(facts->live, facts->host->started_ns);
        report->pb.started = &report->started;
    }
    if (make_lists(report, facts, page) < 0) {
        report_destroy(report);
        return -ENOMEM;
    }
    if (first)
        add_problems(report, facts);
    page_reserve(page, protobuf_c_message_get_packed_size(&report->pb.base) + CUT_RESERVE);
    add_entries(report, facts, page);
    if (page->incomplete && page->whole)
        add_cut(report, facts);
    report->pb.next_page_token = page_next(page);
    *out = report;
    return 0;
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
