#include "control/api/env.h"

#include "control/state/peer_config.h"

#include <stdlib.h>
#include <string.h>

Pb__ConnectResponse *api_env_connect_response(const struct api_env *env, const char *peer_id)
{
    Pb__ConnectResponse *response =
        peer_config_build(env->state(env->ctx), peer_id, env->dns_domain(env->ctx));
    char *public_key = strdup(env->public_key);
    if (response == NULL || public_key == NULL) {
        free(public_key);
        pb__connect_response__free_unpacked(response, NULL);
        return NULL;
    }
    response->node_public_key = public_key;
    response->node_run = env->run;
    return response;
}
