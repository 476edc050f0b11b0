#ifndef CMD_HCTL_COMMAND_H
#define CMD_HCTL_COMMAND_H

#include "cmd/hctl_session.h"
#include "cmd/hctl_table.h"
#include "control/config/config.h"

#include <stdbool.h>
#include <stddef.h>

/* Shared state of a command of hctl. */

struct route_options {
    const char *node_id;
    const char *network;
    bool inbound;
};

struct invocation {
    struct ctl_config config;
    struct route_options route;
    struct session *session;
    struct page page; /* of standard output */
    char **args;      /* that follow the command */
    size_t arg_count;
    bool has_problems; /* `status` or `doctor` found at least one */
};

#endif
