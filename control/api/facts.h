#ifndef CONTROL_API_FACTS_H
#define CONTROL_API_FACTS_H

#include <stdbool.h>
#include <stdint.h>

/* What a report and its problems are made from. */

struct live;
struct state;

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
};

#endif
