/* At each interval: what the streams and the tunnel say -> presence -> a few changes at a time,
 * until nothing is left to do. The next interval retries a change that the store did not take. */
#include "control/daemon/node_presence.h"

#include "base/clock.h"
#include "base/log.h"
#include "control/api/watch_peer.h"
#include "control/cluster/cluster.h"
#include "control/cluster/writer.h"
#include "control/daemon/node_parts.h"
#include "control/state/presence.h"
#include "control/state/state.h"
#include "wg/path/path.h"

#include <errno.h>
#include <stdio.h>

static void submit(struct node *node, const struct writer_request *request)
{
    node->presence_requests++;
    writer_submit(cluster_writer(node->cluster), request);
}

/* ---- seen ---- */

static enum grpc_code build_seen(void *ctx, struct change *change, const struct state *state,
                                 struct err *err)
{
    struct node *node = ctx;
    enum grpc_code code = presence_build_seen(node->presence, change, state, err);
    node->presence_found = change->op_count > 0;
    return code;
}

static void on_seen_written(void *ctx, enum grpc_code status, const struct err *err, uint64_t rev);

static void write_seen(struct node *node)
{
    submit(node, &(struct writer_request){node, build_seen, on_seen_written});
}

static void on_seen_written(void *ctx, enum grpc_code status, const struct err *err, uint64_t rev)
{
    struct node *node = ctx;
    (void)rev;
    node->presence_requests--;
    if (status != GRPC_OK)
        log_debug("cannot record when peers were seen", F_STR("error", err->text));
    else if (node->presence_found && !node->stopping)
        write_seen(node);
}

/* ---- not seen for too long ---- */

static enum grpc_code build_removal(void *ctx, struct change *change, const struct state *state,
                                    struct err *err)
{
    struct node *node = ctx;
    const char *id = presence_expired(node->presence, state);
    snprintf(node->expired_id, sizeof node->expired_id, "%s", id != NULL ? id : "");
    if (id != NULL)
        return change_deauthorize_peer(change, state, id, err);
    change_init(change);
    return GRPC_OK;
}

static void on_removed(void *ctx, enum grpc_code status, const struct err *err, uint64_t rev);

static void remove_expired(struct node *node)
{
    submit(node, &(struct writer_request){node, build_removal, on_removed});
}

static void on_removed(void *ctx, enum grpc_code status, const struct err *err, uint64_t rev)
{
    struct node *node = ctx;
    char id[9];
    node->presence_requests--;
    if (status != GRPC_OK) {
        log_debug("cannot remove a peer that was not seen for --peer-expiry",
                  F_STR("error", err->text));
    } else if (node->expired_id[0] != '\0') {
        log_info("deauthorized a peer that was not seen for --peer-expiry",
                 F_STR("peer", log_short_id(id, node->expired_id)), F_INT("rev", rev));
        if (!node->stopping)
            remove_expired(node);
    }
}

/* ---- looking ---- */

static void see_watcher(void *ctx, const char *id, const uint64_t *since_ns)
{
    const struct node *node = ctx;
    const struct state_peer *peer = state_peer(cluster_state(node->cluster), id);
    (void)since_ns;
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
    write_seen(node);
    remove_expired(node);
}

int node_presence_start(struct node *node)
{
    int code = presence_create(&node->presence, node->config->peer_expiry_ns, node->seed);
    if (code < 0)
        return code;
    uint64_t interval_ms = presence_interval_ns(node->presence) / NS_PER_MS;
    return uv_timer_start(&node->presence_timer, on_presence_timer, interval_ms, interval_ms);
}
