#include "base/err.h"
#include "base/first_process.h"
#include "base/log.h"
#include "cmd/report.h"
#include "control/config/config.h"
#include "control/daemon/agent.h"

#include <stdio.h>
#include <stdlib.h>

static void print_help(void)
{
    struct peer_config config;
    struct option_set set = config_peer_set(&config);
    printf("hpeer - an access-only peer of a peer-to-peer private network\n\n"
           "usage: hpeer [options]\n\noptions:\n");
    options_print_help(stdout, &set);
}

/* A peer: see control/daemon/agent.h. */
int main(int argc, char **argv)
{
    struct peer_config config;
    struct err err = {0};
    enum options_outcome outcome = config_read_peer(&config, argc, argv, &err);
    int code = EXIT_SUCCESS;
    if (outcome != OPTIONS_OK) {
        if (outcome == OPTIONS_HELP)
            print_help();
        code = report_options(outcome, "hpeer", &err);
    } else {
        config_apply_log(&config.log);
        first_process_split();
        if (agent_run(&config, &err) < 0) {
            log_last_words("hpeer", err.text);
            code = EXIT_FAILURE;
        }
    }
    config_peer_fini(&config);
    return code;
}
