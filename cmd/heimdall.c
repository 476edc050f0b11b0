#include "base/err.h"
#include "control/config/config.h"
#include "control/daemon/node.h"

#include <stdio.h>
#include <stdlib.h>

enum { EXIT_USAGE = 2 };

/* A node: see control/daemon/node.h. */
int main(int argc, char **argv)
{
    struct node_config config;
    struct err err = {0};
    enum options_outcome outcome = config_read_node(&config, argc, argv, &err);
    int code = EXIT_SUCCESS;
    if (outcome != OPTIONS_OK) {
        code = config_report_node(outcome, &err);
    } else {
        config_apply_log(&config.log);
        int rc = node_run(&config, &err);
        if (rc < 0)
            fprintf(stderr, "heimdall: %s\n", err.text);
        code = rc == NODE_EOPTION ? EXIT_USAGE : rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    }
    config_node_fini(&config);
    return code;
}
