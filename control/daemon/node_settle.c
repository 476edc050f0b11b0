/* Once for each turn of the loop, the difference between the state and what runs is applied. Small
 * changes note what they touch (node_touch), so that a network of many peers pays only for those;
 * anything else is compared as a whole. What fails is retried as a whole with the next change. */
#include "control/daemon/node_settle.h"

#include "base/clock.h"
#include "base/log.h"
#include "control/api/keyring.h"
#include "control/api/watch_peer.h"
#include "control/cluster/cluster.h"
#include "control/daemon/checkup.h"
#include "control/daemon/node_parts.h"
#include "control/rpc/server.h"
#include "control/state/plan_node.h"
#include "control/state/presence.h"
#include "control/state/state.h"

#include <errno.h>

void node_touch(struct node *node, const struct record_op *op)
{
    const char *name;
    const struct state_peer *peer;
    const struct state *state = cluster_state(node->cluster);
    if (state == NULL)
        return;
    switch (record_key_parse(op->key, op->field, &name)) {
    case RECORD_UNKNOWN:
    case RECORD_MASTER:
    case RECORD_PEERIP: /* the peer's own record has it too */
    case RECORD_REQUEST:
        break;
    case RECORD_META:
    case RECORD_NODE:
    case RECORD_NODENETWORK:
        node->stale = true;
        break;
    case RECORD_PEER:
        peer = state_peer(state, name);
        if (op->kind == RECORD_SET && peer != NULL &&
            presence_is_only_seen(peer, op->value, op->len))
            break;
        plan_touch_peer(&node->touched, state, name);
        break;
    case RECORD_AUTHORIZATION:
        plan_touch_peer(&node->touched, state, name);
        break;
    case RECORD_ROUTE:
        node->routes = true;
        break;
    }
}

/* The keyring refuses new connections. Those that are open end here. */
static void on_deauthorized(void *ctx, const char *id)
{
    struct node *node = ctx;
    rpc_server_disconnect(node->rpc, TRANSPORT_PEER, id, "this peer is not authorized any more");
}

static void on_names_timer(uv_timer_t *timer);

/* Building the zone costs as much as there are names, so many changes in a row share one: each is
 * followed by a pause of ten times what it took. */
static void settle_names(struct node *node, bool at_once)
{
    enum { PAUSE_FACTOR = 10, PAUSE_MAX_MS = 200 };
    uint64_t start = clock_boottime_ns();
    if (node->names == NULL)
        return;
    if (!at_once && start < node->names_next_ns) {
        uv_timer_start(&node->names_timer, on_names_timer,
                       (node->names_next_ns - start) / NS_PER_MS + 1, 0);
        return;
    }
    uv_timer_stop(&node->names_timer);
    names_update(node->names, tunnel_current(node->tunnel),
                 (uint32_t)state_rev(cluster_state(node->cluster)));
    uint64_t end = clock_boottime_ns();
    uint64_t pause_ns = (end - start) * PAUSE_FACTOR;
    node->names_next_ns =
        end + (pause_ns < PAUSE_MAX_MS * NS_PER_MS ? pause_ns : PAUSE_MAX_MS * NS_PER_MS);
}

static void on_names_timer(uv_timer_t *timer)
{
    struct node *node = timer->data;
    if (cluster_state(node->cluster) != NULL && !node->stopping)
        settle_names(node, true);
}

/* Brings the data plane up to the state. 0, -ENOENT before the state has this node's record, or
 * another negative errno. */
static int settle_plan(struct node *node, bool whole)
{
    struct plan plan;
    struct err err;
    const struct plan_touched *touched = whole ? NULL : &node->touched;
    int code = plan_of_node(cluster_state(node->cluster), node->identity.id,
                            node->identity.cluster_key, touched, &plan);
    if (code == 0)
        code = tunnel_follow(node->tunnel, &plan, touched, &err);
    else if (code != -ENOENT)
        err_set_errno(&err, code, "no plan");
    plan_fini(&plan);
    if (code < 0 && code != -ENOENT)
        log_error("the tunnel does not follow the state", F_STR("error", err.text));
    return code;
}

int node_settle_keyring(struct node *node)
{
    return keyring_update(node->keyring, cluster_state(node->cluster), on_deauthorized, node);
}

static void settle_access(struct node *node, bool whole)
{
    int code = 0;
    if (node->keyring == NULL)
        return;
    if (whole)
        code = node_settle_keyring(node);
    for (size_t i = 0; i < node->touched.count && !whole && code == 0; i++)
        code = keyring_update_id(node->keyring, cluster_state(node->cluster),
                                 node->touched.peers[i].id, on_deauthorized, node);
    if (code < 0)
        log_error("out of memory: the list of who may connect is unchanged");
}

static void settle_watches(struct node *node, bool whole)
{
    if (node->watch == NULL)
        return;
    if (whole || node->routes)
        watch_peer_update(node->watch);
    for (size_t i = 0; i < node->touched.count && !whole && !node->routes; i++)
        watch_peer_update_peer(node->watch, node->touched.peers[i].id);
}

/* An authorization alone has no name. */
static bool touches_names(const struct node *node)
{
    for (size_t i = 0; i < node->touched.count; i++)
        if (node->touched.peers[i].existed ||
            state_peer(cluster_state(node->cluster), node->touched.peers[i].id) != NULL)
            return true;
    return false;
}

void node_settle(struct node *node)
{
    if (!node->dirty || cluster_state(node->cluster) == NULL || node->stopping)
        return;
    node->dirty = false;
    bool whole = node->stale || node->touched.too_many;
    bool names = whole || touches_names(node);
    int code = settle_plan(node, whole);
    if (code == 0 && names)
        settle_names(node, whole);
    settle_access(node, whole);
    settle_watches(node, whole);
    if (whole || node->routes)
        checkup_later(node->checkup);
    node->stale = code < 0; /* retried as a whole with the next change */
    node->routes = false;
    node->touched = (struct plan_touched){.count = 0};
}

static void on_prepare(uv_prepare_t *prepare)
{
    node_settle(prepare->data);
}

void node_settle_init(struct node *node)
{
    (void)uv_prepare_init(&node->loop, &node->settler);
    node->settler.data = node;
    (void)uv_prepare_start(&node->settler, on_prepare);
    (void)uv_timer_init(&node->loop, &node->names_timer);
    node->names_timer.data = node;
}

void node_settle_close(struct node *node)
{
    uv_close((uv_handle_t *)&node->settler, NULL);
    uv_close((uv_handle_t *)&node->names_timer, NULL);
}

void node_touch_all(struct node *node)
{
    node->dirty = true;
    node->stale = true;
}
