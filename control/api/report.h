#ifndef CONTROL_API_REPORT_H
#define CONTROL_API_REPORT_H

#include "proto/cluster.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a node says of itself and of the network (Cluster.Status): records, the tunnel beside them,
 * and what is wrong, each with its remedy. Pure: everything it looks at is an argument. */

struct live;
struct state;
struct report;

/* How the node's host and its parts are. */
struct report_host {
    const char *interface_name;
    const char *data_dir;
    uint64_t started_ns; /* since the UNIX epoch */
    bool insecure;       /* --insecure */
    bool redis_runs;
    bool takes_changes;
    bool disk_full; /* that of the data dir */
    bool forwards;
    bool has_firewall;
    bool serves_names;
};

struct report_facts {
    const struct state *state;
    const struct live *live;
    const struct report_host *host;
    const char *node_id;
    const char *version;
    uint64_t now_ns; /* since the UNIX epoch */
    void *ctx;
    /* Whether the peer holds a stream to this node, and for how long now. */
    bool (*watching)(void *ctx, const char *peer_id, uint64_t *for_ns);
};

/* 0 or -ENOMEM. `facts` and what it points at outlive the result. */
int report_create(struct report **out, const struct report_facts *facts);
void report_destroy(struct report *status);

const Pb__StatusResponse *report_response(const struct report *status);

/* Leaves peers out, and says so, until the packed response has at most `size` bytes. */
void report_cut(struct report *status, size_t size);

#endif
