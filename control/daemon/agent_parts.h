#ifndef CONTROL_DAEMON_AGENT_PARTS_H
#define CONTROL_DAEMON_AGENT_PARTS_H

#include "control/config/config.h"
#include "control/daemon/metrics.h"
#include "control/daemon/signals.h"
#include "control/host/datadir.h"
#include "control/host/helper_watch.h"
#include "control/host/identity.h"
#include "control/host/resolver.h"
#include "control/rpc/address.h"
#include "control/state/plan.h"

#include <uv.h>

/* What a peer is made of: shared by the files agent*.c, and by nobody else. */

struct agent_stub;
struct metrics_server;
struct resolver_setter;
struct resolver_watch;
struct rpc_client;
struct rpc_stream;
struct transport_tls;
struct tunnel;

enum { AGENT_ADDRESSES_MAX = 16 }; /* nodes that are tried */

enum agent_news { NEWS_NONE, NEWS_WAITING, NEWS_REFUSED, NEWS_CONNECTED };

/* The run of a node's process that answered last. */
struct agent_run_of_node {
    uint8_t public_key[WG_KEY_LEN];
    uint64_t run;
};

struct agent {
    struct peer_config *config;
    uv_loop_t loop;
    struct signals signals;
    struct helper_watch helpers[2];
    uv_timer_t timer; /* the pause before the next dial, or the poll of a node that does not push */
    struct datadir *datadir;
    struct identity identity;
    struct tunnel *tunnel;
    struct metrics_server *metrics;
    struct metrics_tunnel tunnel_totals;
    struct resolver_paths paths;
    struct resolver_watch *resolver_watch;
    struct resolver_setter *resolver_setter;
    struct agent_stub *stub; /* NULL: not needed yet, or refused */
    bool stub_refused;
    unsigned resolver_busy; /* changes of the resolver under way */
    uv_timer_t patience;    /* with them */
    void (*resolver_then)(struct agent *agent);
    char address[IP_PREFIX_TEXT];
    bool domain_refused; /* reported */
    struct transport_tls *tls;
    char name[ACCESS_NAME_MAX + 1];
    char name_refusal[512]; /* not reported yet */
    char public_key[45];

    struct address addresses[AGENT_ADDRESSES_MAX]; /* the first is configured, others are learned */
    size_t address_count;
    char nodes_saved[DATADIR_TEXT_MAX + 1]; /* agent_nodes.h */
    struct rpc_client *client;              /* NULL between two dials */
    struct rpc_stream *stream;
    uint64_t pause_ms;
    uint64_t replaced_ms; /* the last pause after a copy of this peer had connected */

    struct agent_run_of_node runs[AGENT_ADDRESSES_MAX]; /* an all-zero key is a free place */
    struct ip_addr dns[RESOLVER_NAMESERVERS];           /* what the resolver is set to */
    size_t dns_count;
    char dns_domain[256];

    enum agent_news news; /* reported last */
    char news_text[512];
    enum plan_exit exit_news;
    bool exit_passed; /* in the news: another program's rule leads past the exit node */
    bool stopping;
    int code;
    struct err *err;
};

#endif
