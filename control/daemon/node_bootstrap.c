/* From an empty Redis to a running node: start redis-server (parked) -> load -> the tunnel comes up
 * with what is there -> promote under a new epoch -> commit the cluster's settings and our own
 * record
 * -> ready. When Redis dies later, the same without the last step: load, promote. The data plane
 * keeps what it has all the while. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/api/watch.h"
#include "control/cluster/redis_proc.h"
#include "control/cluster/store_redis.h"
#include "control/cluster/writer.h"
#include "control/daemon/node_parts.h"
#include "control/host/datadir.h"
#include "control/state/access.h"
#include "control/state/change.h"
#include "control/state/presence.h"
#include "control/state/state.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/statvfs.h>

enum {
    REDIS_DEATHS_MAX = 5,   /* before it has ever worked */
    DISK_LEAST = 64 * 1024, /* bytes: with less, one change more may not fit */
};

/* ---- from the store to the state ---- */

static const struct state *current_state(void *ctx)
{
    const struct node *node = ctx;
    return node->state;
}

static void promote(struct node *node);
static void bootstrap(struct node *node);

static void on_promoted(void *ctx, int status, uint64_t epoch, uint64_t rev)
{
    struct node *node = ctx;
    (void)rev;
    if (node->stopping)
        return;
    node->promoted = status == 0;
    if (status == 0) {
        log_debug("the store takes changes", F_INT("epoch", epoch));
        if (node->bootstrap_requests == 0 && !node->bootstrapped)
            bootstrap(node);
    } else if (status == -ESTALE && node->state != NULL) {
        promote(node);
    } else {
        log_warn("the store could not be promoted; Redis is started again",
                 F_STR("error", strerror(-status)));
        redis_proc_kill(node->redis);
    }
}

/* An epoch belongs to one run of our daemon and its Redis, so each of them begins a new one. */
static void promote(struct node *node)
{
    struct store_done done = {.ctx = node, .done = on_promoted};
    store_promote(node->store, state_epoch(node->state), state_rev(node->state),
                  state_epoch(node->state) + 1, &done);
}

static void on_loaded(void *ctx, const struct store_image *image)
{
    struct node *node = ctx;
    struct state *state = NULL;
    if (store_image_to_state(image, node->seed, &state) < 0) {
        node_fail(node, &(struct err){-ENOMEM, "out of memory while loading the store"});
        return;
    }
    log_debug("loaded the store", F_INT("records", image->record_count), F_INT("rev", image->rev));
    if (node->events != NULL && node->state != NULL &&
        (state_epoch(node->state) != image->epoch || state_rev(node->state) != image->rev))
        watch_lost(node->events);
    state_destroy(node->state);
    node->state = state;
    node->redis_deaths = 0;
    node->dirty = true;
    node->stale = true;
    node_settle(node);
    promote(node);
}

/* Remembers what a change concerns, before the state takes it. */
static void touch(struct node *node, const struct record_op *op)
{
    const char *name;
    const struct state_peer *peer;
    switch (record_key_parse(op->key, op->field, &name)) {
    case RECORD_UNKNOWN:
    case RECORD_MASTER:
    case RECORD_PEERIP: /* the peer's own record says it too */
        break;
    case RECORD_META:
    case RECORD_NODE:
    case RECORD_NODENETWORK:
        node->stale = true;
        break;
    case RECORD_PEER:
        peer = state_peer(node->state, name);
        if (op->kind == RECORD_SET && peer != NULL &&
            presence_is_only_seen(peer, op->value, op->len))
            break;
        plan_touch_peer(&node->touched, node->state, name);
        break;
    case RECORD_AUTHORIZATION:
        plan_touch_peer(&node->touched, node->state, name);
        break;
    case RECORD_ROUTE:
        node->routes = true;
        break;
    }
}

static void on_changed(void *ctx, const struct record_change *change)
{
    struct node *node = ctx;
    for (size_t i = 0; i < change->op_count && node->state != NULL; i++)
        touch(node, &change->ops[i]);
    int code = node->state != NULL ? state_apply_change(node->state, change) : -ESTALE;
    node->dirty = true;
    if (code == 0 && node->events != NULL)
        watch_changed(node->events, change);
    if (code == 0)
        return;
    log_error("a change does not follow what this node knows; the store is loaded again",
              F_INT("rev", change->rev), F_STR("error", strerror(-code)));
    redis_proc_kill(node->redis);
}

static void on_lost(void *ctx)
{
    struct node *node = ctx;
    node->promoted = false;
    if (!node->stopping)
        log_debug("the connection to Redis was lost");
}

static void on_failed(void *ctx, const struct err *err)
{
    struct node *node = ctx;
    if (node->stopping)
        return;
    if (err->code == -ETIMEDOUT) {
        log_warn("Redis does not answer and is started again", F_STR("error", err->text));
        redis_proc_kill(node->redis);
    } else {
        node_fail(node, err);
    }
}

bool node_disk_full(const struct node *node)
{
    struct statvfs info;
    return statvfs(datadir_path(node->datadir), &info) == 0 &&
           (uint64_t)info.f_bavail * info.f_frsize < DISK_LEAST;
}

static bool disk_full(void *ctx)
{
    return node_disk_full(ctx);
}

static void on_redis_died(void *ctx, int status, uint64_t delay_ms)
{
    struct node *node = ctx;
    struct err err;
    (void)status;
    (void)delay_ms;
    node->redis_deaths_total++;
    node->promoted = false;
    if (node->stopping)
        return;
    if (node_disk_full(node))
        log_error("the disk of the data dir is full: changes are refused until there is room",
                  F_STR("folder", datadir_path(node->datadir)));
    if (!node->bootstrapped && ++node->redis_deaths >= REDIS_DEATHS_MAX) {
        err_set(&err, -EIO, "redis-server does not start: %s/redis/redis.log says why",
                datadir_path(node->datadir));
        node_fail(node, &err);
    }
}

/* ---- the first changes of a run ---- */

/* The option's network, the cluster's default, or none: an overlay has IPv6 for nodes and peers, or
 * for neither. */
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

/* All --authorized-peer in turn: each commit asks again until nothing is left to do. */
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
        log_warn("the store did not take the first changes; they are tried again",
                 F_STR("error", err->text));
        redis_proc_kill(node->redis);
    } else if (status != GRPC_OK) {
        node_fail(node, err);
    } else if (node->bootstrap_requests == 0 && !node->bootstrapped) {
        node->bootstrapped = true;
        node_settle(node);
        node->on_bootstrapped(node);
    }
}

static void bootstrap(struct node *node)
{
    node->bootstrap_requests = 2 + node->config->authorized_peers.count;
    writer_submit(node->writer, &(struct writer_request){node, build_cluster, on_bootstrap_done});
    writer_submit(node->writer, &(struct writer_request){node, build_node, on_bootstrap_done});
    for (size_t i = 0; i < node->config->authorized_peers.count && !node->stopping; i++)
        writer_submit(node->writer,
                      &(struct writer_request){node, build_authorized, on_bootstrap_done});
}

/* ---- opening and closing ---- */

int node_redis_start(struct node *node, struct err *err)
{
    struct redis_proc_options proc = {
        .launch = {.data_dir = datadir_path(node->datadir)}, .ctx = node, .died = on_redis_died};
    int code = redis_proc_start(&node->redis, &node->loop, &proc, err);
    if (code == 0)
        log_debug("started redis-server", F_INT("pid", redis_proc_pid(node->redis)));
    return code;
}

int node_store_open(struct node *node, void (*bootstrapped)(struct node *node), struct err *err)
{
    struct store_events events = {.ctx = node,
                                  .loaded = on_loaded,
                                  .changed = on_changed,
                                  .lost = on_lost,
                                  .failed = on_failed};
    node->on_bootstrapped = bootstrapped;
    struct store_redis_options options = {.socket = redis_proc_socket(node->redis),
                                          .user = redis_proc_user(node->redis),
                                          .password = redis_proc_password(node->redis)};
    struct writer_env env = {.ctx = node, .state = current_state, .disk_full = disk_full};
    int code = store_redis_open(&node->store, &node->loop, &options, &events);
    if (code == 0)
        code = writer_create(&node->writer, node->store, &env);
    return code == 0 ? 0 : err_set_errno(err, code, "the store cannot be opened");
}

static void on_redis_stopped(void *ctx)
{
    struct node *node = ctx;
    node->redis = NULL;
    state_destroy(node->state);
    node->state = NULL;
    node->on_store_closed(node);
}

static void on_store_closed(void *ctx)
{
    struct node *node = ctx;
    node->store = NULL;
    writer_destroy(node->writer);
    node->writer = NULL;
    if (node->redis != NULL)
        redis_proc_stop(node->redis, on_redis_stopped, node);
    else
        on_redis_stopped(node);
}

void node_store_close(struct node *node, void (*closed)(struct node *node))
{
    node->on_store_closed = closed;
    if (node->store != NULL)
        store_close(node->store, on_store_closed, node);
    else
        on_store_closed(node);
}
