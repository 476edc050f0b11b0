#include "base/err.h"
#include "control/config.h"
#include "control/node.h"

#include <stdio.h>
#include <stdlib.h>

/* A node: see control/node.h. */
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
        if (node_run(&config, &err) < 0) {
            fprintf(stderr, "heimdall: %s\n", err.text);
            code = EXIT_FAILURE;
        }
    }
    config_node_fini(&config);
    return code;
}
