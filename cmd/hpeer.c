#include "base/err.h"
#include "control/config/config.h"
#include "control/daemon/agent.h"

#include <stdio.h>
#include <stdlib.h>

/* A peer: see control/daemon/agent.h. */
int main(int argc, char **argv)
{
    struct peer_config config;
    struct err err = {0};
    enum options_outcome outcome = config_read_peer(&config, argc, argv, &err);
    int code = EXIT_SUCCESS;
    if (outcome != OPTIONS_OK) {
        code = config_report_peer(outcome, &err);
    } else {
        config_apply_log(&config.log);
        if (agent_run(&config, &err) < 0) {
            fprintf(stderr, "hpeer: %s\n", err.text);
            code = EXIT_FAILURE;
        }
    }
    config_peer_fini(&config);
    return code;
}
