#ifndef CONTROL_API_FACTS_H
#define CONTROL_API_FACTS_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a report and its problems are made from. */

struct live;
struct state;

/* What packets of a peer meet in this host. */
enum report_probe_kind {
    REPORT_PROBE_FORWARD, /* on the way to a network behind the node, or to another peer */
    REPORT_PROBE_DNS_UDP, /* at port 53 of the node's tunnel address */
    REPORT_PROBE_DNS_TCP,
};

enum report_probe_result {
    REPORT_PROBE_UNKNOWN, /* not tried, or not to be had here */
    REPORT_PROBE_PASSED,
    REPORT_PROBE_DROPPED,  /* no answer */
    REPORT_PROBE_REFUSED,  /* an answer that says no */
    REPORT_PROBE_NO_ROUTE, /* the host knows no way to there */
};

struct report_probe {
    enum report_probe_kind kind;
    enum report_probe_result result;
    struct ip_addr to;
    struct ip_prefix network; /* that `to` stands for */
};

enum { REPORT_SOCKETS = 3 }; /* of hctl, wg(8) and Redis */

/* The node's host and the parts of its process. */
struct report_host {
    const char *interface_name;
    const char *data_dir;
    uint64_t started_ns; /* boot time */
    bool insecure;       /* --insecure */
    bool redis_runs;
    bool takes_changes;
    bool disk_full; /* of the data dir */
    bool forwards;
    const char *address_problem; /* why no other host can reach this one; NULL: it has an address */
    const char *tunnel_problem;  /* what of the interface does not stand as asked; NULL: all does */
    const char *firewall_problem;                /* why it does not stand as asked; NULL: it does */
    const char *missing_sockets[REPORT_SOCKETS]; /* paths; NULL: it is there */
    bool serves_names;
    const struct report_probe *probes; /* as of a moment ago */
    size_t probe_count;
};

struct report_facts {
    const struct state *state;
    const struct live *live;
    const struct report_host *host;
    const char *node_id;
    const char *version;
    uint64_t now_ns; /* since the UNIX epoch */
};

#endif
