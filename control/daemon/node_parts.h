#ifndef CONTROL_DAEMON_NODE_PARTS_H
#define CONTROL_DAEMON_NODE_PARTS_H

#include "base/log_once.h"
#include "control/api/env.h"
#include "control/config/config.h"
#include "control/daemon/metrics.h"
#include "control/daemon/names.h"
#include "control/daemon/signals.h"
#include "control/host/helper_watch.h"
#include "control/host/identity.h"
#include "control/host/tunnel.h"
#include "control/rpc/address.h"
#include "control/state/plan_part.h"

#include <uv.h>

/* What a node is made of: shared by the files node*.c, and by nobody else. */

struct checkup;
struct cluster;
struct datadir;
struct doctor;
struct heimdall_service;
struct keyring;
struct metrics_server;
struct presence;
struct watch;
struct rpc_health;
struct rpc_reflection;
struct rpc_server;
struct socket_watch;
struct status;
struct watch_peer;
struct transport_tls;

struct node {
    struct node_config *config;
    uv_loop_t loop;
    struct signals signals;
    struct helper_watch helpers[2];
    uv_prepare_t settler; /* runs before the loop waits: changes of one turn are applied once */
    struct datadir *datadir;
    struct identity identity;
    uint8_t seed[16];
    uint64_t run;
    uint64_t started_ns; /* boot time */

    /* read from the host and the options */
    char name[ACCESS_NAME_MAX + 1];
    struct ip_addr host_addr;        /* HOSTIP; family 0: none yet */
    struct ip_prefix *host_networks; /* of all interfaces but the tunnel */
    size_t host_network_count;
    struct address listen;          /* no endpoint while the host has no address */
    char advertise[ADDRESS_TEXT];   /* "" so long */
    char endpoint_ip[IP_ADDR_TEXT]; /* "" so long */
    bool host_addr_lost;            /* HOSTIP is not there at the moment */
    struct address listening;       /* of the control API, if it listens */
    bool listens;
    bool host_put; /* a new record is on its way to the store */
    struct log_once listen_failed;
    uv_timer_t host_timer;
    char public_key[45];

    /* parts, in the order in which they come up; NULL while down */
    struct tunnel *tunnel;
    struct cluster *cluster;
    struct names_options names_options;
    struct names *names;
    struct checkup *checkup;   /* of the host; NULL until ready */
    struct transport_tls *tls; /* of certificates; NULL without them */
    struct keyring *keyring;
    struct rpc_server *rpc;
    struct socket_watch *socket_watch; /* of control.sock */
    struct api_env env;
    struct heimdall_service *handlers;
    struct watch_peer *watch;
    struct status *status;
    struct doctor *doctor;
    struct watch *events;
    struct rpc_health *health;
    struct rpc_reflection *reflection;
    struct metrics_server *metrics;
    struct presence *presence;

    /* how far the state is ahead of the data plane */
    bool dirty;
    bool stale;  /* everything may have changed */
    bool routes; /* so have routes */
    struct plan_touched touched;
    uv_timer_t names_timer; /* a zone that costs much is rebuilt after a pause only */
    uint64_t names_next_ns;
    uv_timer_t presence_timer;
    size_t presence_requests; /* not yet answered */
    bool bootstrapped;        /* cluster and own record are in the store */
    bool ready;
    bool stopping;
    bool stopped;
    struct metrics_tunnel tunnel_totals;
    size_t bootstrap_requests; /* not yet answered */
    bool bootstrap_failed;     /* at least one of them */
    void (*bootstrap_done)(struct node *node, const struct err *err);
    int code; /* of the whole run */
    struct err *err;
};

#endif
