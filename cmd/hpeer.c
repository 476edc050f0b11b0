#include "base/err.h"
#include "control/agent.h"
#include "control/config.h"

#include <stdio.h>
#include <stdlib.h>

/* A peer: see control/agent.h. */
int main(int argc, char **argv)
{
    struct peer_config config;
    struct err err = {0};
    enum options_outcome outcome = config_read_peer(&config, argc, argv, &err);
    if (outcome != OPTIONS_OK)
        return config_report_peer(outcome, &err);
    config_apply_log(&config.log);
    if (agent_run(&config, &err) < 0) {
        fprintf(stderr, "hpeer: %s\n", err.text);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
