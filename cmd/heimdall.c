#include "base/err.h"
#include "base/first_process.h"
#include "base/log.h"
#include "cmd/report.h"
#include "control/config/config.h"
#include "control/daemon/node.h"

#include <stdio.h>
#include <stdlib.h>

static void print_help(void)
{
    struct node_config config;
    struct option_set set = config_node_set(&config);
    printf("heimdall - a node of a peer-to-peer private network\n\n"
           "usage: heimdall [options]\n\noptions:\n");
    options_print_help(stdout, &set);
    printf("\nHOSTIP is the address of the interface that holds the default route.\n");
}

/* A node: see control/daemon/node.h. */
int main(int argc, char **argv)
{
    struct node_config config;
    struct err err = {0};
    enum options_outcome outcome = config_read_node(&config, argc, argv, &err);
    int code = EXIT_SUCCESS;
    if (outcome != OPTIONS_OK) {
        if (outcome == OPTIONS_HELP)
            print_help();
        code = report_options(outcome, "heimdall", &err);
    } else {
        config_apply_log(&config.log);
        first_process_split();
        int rc = node_run(&config, &err);
        if (rc < 0)
            log_last_words("heimdall", err.text);
        code = rc == NODE_EOPTION ? EXIT_USAGE : rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    }
    config_node_fini(&config);
    return code;
}
