#ifndef CONTROL_DAEMON_NODE_PARTS_H
#define CONTROL_DAEMON_NODE_PARTS_H

#include "control/api/env.h"
#include "control/cluster/store.h"
#include "control/config/config.h"
#include "control/daemon/metrics.h"
#include "control/daemon/names.h"
#include "control/host/identity.h"
#include "control/host/tunnel.h"
#include "control/rpc/address.h"
#include "control/state/plan_part.h"

#include <uv.h>

/* What a node is made of; shared by node.c and its two helpers, and by nobody else. */

struct datadir;
struct heimdall_service;
struct keyring;
struct metrics_server;
struct presence;
struct redis_proc;
struct watch;
struct rpc_health;
struct rpc_reflection;
struct rpc_server;
struct status;
struct watch_peer;
struct state;
struct transport_tls;
struct writer;

struct node {
    const struct node_config *config;
    uv_loop_t loop;
    uv_signal_t signals[2];
    uv_prepare_t settler; /* runs before the loop waits: changes of one turn are applied once */
    struct datadir *datadir;
    struct identity identity;
    uint8_t seed[16];
    uint64_t run;
    uint64_t started_ns; /* since the UNIX epoch */

    /* what the host says */
    char name[ACCESS_NAME_MAX + 1];
    struct ip_addr host_addr;
    struct ip_prefix *host_networks; /* of all interfaces but the tunnel */
    size_t host_network_count;
    struct address listen;
    char advertise[ADDRESS_TEXT];
    char endpoint_ip[IP_ADDR_TEXT];
    char public_key[45];

    /* parts, in the order in which they come up; NULL while down */
    struct tunnel *tunnel;
    struct redis_proc *redis;
    struct store *store;
    struct writer *writer;
    struct state *state; /* NULL until loaded */
    struct names_options names_options;
    struct names *names;
    struct transport_tls *tls; /* of certificates; NULL without them */
    struct keyring *keyring;
    struct rpc_server *rpc;
    struct api_env env;
    struct heimdall_service *handlers;
    struct watch_peer *watch;
    struct status *status;
    struct watch *events;
    struct rpc_health *health;
    struct rpc_reflection *reflection;
    struct metrics_server *metrics;
    struct presence *presence;

    /* How the state is ahead of the data plane. */
    bool dirty;
    bool stale;  /* everything may have changed */
    bool routes; /* so have routes */
    struct plan_touched touched;
    uv_timer_t names_timer; /* a zone that costs much is made again after a while only */
    uint64_t names_next_ns;
    uv_timer_t presence_timer;
    size_t presence_requests; /* not yet answered */
    bool presence_found;      /* by the last of them, so that there may be more */
    char expired_id[ACCESS_ID_MAX + 1];
    bool bootstrapped; /* cluster and own record are in the store */
    bool ready;
    bool promoted; /* the store takes changes */
    bool stopping;
    bool stopped;
    unsigned redis_deaths; /* since data was loaded last */
    uint64_t redis_deaths_total;
    struct metrics_tunnel tunnel_totals;
    size_t bootstrap_requests; /* not yet answered */
    void (*on_bootstrapped)(struct node *node);
    void (*on_store_closed)(struct node *node);
    int code; /* what the run ends with */
    struct err *err;
};

/* node_host.c: fills "what the host says" from options and the kernel. */
int node_read_host(struct node *node, struct err *err);

/* node_metrics.c: serves metrics when the option says so. */
int node_metrics_open(struct node *node, struct err *err);

/* node_presence.c: notes when peers were seen, and removes those that were not for too long. From
 * bootstrap on; ends by itself when the node is stopping. */
int node_presence_start(struct node *node);

/* node_store.c: starts redis-server and its helper, with all the rights that we have. */
int node_redis_start(struct node *node, struct err *err);

/* The store in that Redis, and what comes from it. `bootstrapped` is called once, when the
 * cluster and this node's record are committed. */
int node_store_open(struct node *node, void (*bootstrapped)(struct node *node), struct err *err);

/* Whether the data dir's disk has no room for changes. */
bool node_disk_full(const struct node *node);

/* Ends the store and Redis, then calls `closed`. */
void node_store_close(struct node *node, void (*closed)(struct node *node));

/* Brings the data plane, the names, the keyring and the watchers up to the state. */
void node_settle(struct node *node);

/* Ends the run with this error; the first one counts. */
void node_fail(struct node *node, const struct err *err);

#endif
