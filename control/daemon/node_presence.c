/* At each interval: what the streams and the tunnel say -> presence -> a few changes at a time,
 * until nothing is left to do: first the peers that expired, then what was seen. An expiry names
 * when its peer was last seen, which a note of the same interval would change. The next interval
 * retries a change that the store did not take. */
#include "control/daemon/node_presence.h"

#include "base/clock.h"
#include "base/log.h"
#include "control/api/mutation.h"
#include "control/api/watch_peer.h"
#include "control/cluster/cluster.h"
#include "control/daemon/node_parts.h"
#include "control/daemon/node_submit.h"
#include "control/state/presence.h"
#include "control/state/record_time.h"
#include "control/state/state.h"
#include "proto/mutation.pb-c.h"
#include "wg/path/path.h"

enum { SEEN_AT_ONCE = 64 }; /* peers of one change, which other changes wait for */

static void submit(struct node *node, const struct mutation_kind *kind,
                   const ProtobufCMessage *request, node_mutation_done *done)
{
    node->presence_requests++; /* `done` may be called at once */
    if (node_submit(node, kind, request, done) < 0)
        node->presence_requests--;
}

/* ---- seen ---- */

static void write_seen(struct node *node);

static void on_seen_written(void *ctx, const struct mutation *mutation, enum grpc_code status,
                            const struct err *err, uint64_t rev)
{
    struct node *node = ctx;
    (void)mutation;
    (void)rev;
    node->presence_requests--;
    if (status != GRPC_OK)
        log_debug("cannot record when peers were seen", F_STR("error", err->text));
    else if (!node->stopping)
        write_seen(node);
}

static void write_seen(struct node *node)
{
    struct change_seen seen[SEEN_AT_ONCE];
    Pb__PeersSeenRequest__Seen peers[SEEN_AT_ONCE];
    Pb__PeersSeenRequest__Seen *pointers[SEEN_AT_ONCE];
    Pb__PeersSeenRequest request = PB__PEERS_SEEN_REQUEST__INIT;
    request.n_peers =
        presence_collect(node->presence, cluster_state(node->cluster), seen, SEEN_AT_ONCE);
    request.peers = pointers;
    for (size_t i = 0; i < request.n_peers; i++) {
        pb__peers_seen_request__seen__init(&peers[i]);
        peers[i].id = (char *)(uintptr_t)seen[i].id; /* protobuf-c's messages have no const */
        peers[i].seen_ns = seen[i].seen_ns;
        peers[i].absent_s = seen[i].absent_s;
        pointers[i] = &peers[i];
    }
    if (request.n_peers > 0)
        submit(node, &mutation_peers_seen, &request.base, on_seen_written);
}

/* ---- not seen for too long ---- */

static void follow(struct node *node);

static void on_removed(void *ctx, const struct mutation *mutation, enum grpc_code status,
                       const struct err *err, uint64_t rev)
{
    struct node *node = ctx;
    char id[9];
    node->presence_requests--;
    if (status != GRPC_OK) {
        log_debug("cannot remove a peer that was not seen for --peer-expiry",
                  F_STR("error", err->text));
        return;
    }
    if (mutation->changed)
        log_info("deauthorized a peer that was not seen for --peer-expiry",
                 F_STR("peer", log_short_id(id, mutation_subject(mutation))), F_INT("rev", rev));
    if (mutation->changed && !node->stopping)
        follow(node);
}

static void remove_expired(struct node *node)
{
    const struct state *state = cluster_state(node->cluster);
    Pb__ExpirePeerRequest request = PB__EXPIRE_PEER_REQUEST__INIT;
    const char *id = presence_expired(node->presence, state);
    const struct state_peer *peer = id != NULL ? state_peer(state, id) : NULL;
    if (peer == NULL)
        return;
    request.id = (char *)(uintptr_t)id;
    request.seen_ns = record_time_ns(peer->pb->last_seen);
    submit(node, &mutation_expire_peer, &request.base, on_removed);
}

/* Removes one peer that expired. Without any, writes what was seen. */
static void follow(struct node *node)
{
    size_t before = node->presence_requests;
    remove_expired(node);
    if (node->presence_requests == before)
        write_seen(node);
}

/* ---- looking ---- */

static void see_watcher(void *ctx, const struct watcher *watcher)
{
    const struct node *node = ctx;
    const struct state_peer *peer = state_peer(cluster_state(node->cluster), watcher->id);
    if (peer != NULL)
        presence_see(node->presence, peer->public_key);
}

/* False if the tunnel cannot be asked: absence proves nothing then. */
static bool look(struct node *node)
{
    struct path_info info;
    if (tunnel_info(node->tunnel, &info) < 0)
        return false;
    presence_begin(node->presence, clock_boottime_ns(), clock_realtime_ns());
    watch_peer_each(node->watch, see_watcher, node);
    for (size_t i = 0; i < info.device.peer_count; i++)
        presence_see_tunnel(node->presence, &info.device.peers[i]);
    presence_end(node->presence, cluster_state(node->cluster));
    path_info_fini(&info);
    return true;
}

static void on_presence_timer(uv_timer_t *timer)
{
    struct node *node = timer->data;
    if (node->stopping || cluster_state(node->cluster) == NULL || node->presence_requests > 0 ||
        !look(node))
        return;
    follow(node);
}

int node_presence_start(struct node *node)
{
    int code = presence_create(&node->presence, node->config->peer_expiry_ns, node->seed);
    if (code < 0)
        return code;
    uint64_t interval_ms = presence_interval_ns(node->presence) / NS_PER_MS;
    return uv_timer_start(&node->presence_timer, on_presence_timer, interval_ms, interval_ms);
}
