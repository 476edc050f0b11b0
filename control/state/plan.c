#include "control/state/plan.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

void plan_init(struct plan *plan)
{
    *plan = (struct plan){0};
}

void plan_free_peers(struct wg_peer_config *peers, size_t count)
{
    if (peers != NULL)
        bytes_wipe(peers, count * sizeof *peers);
    free(peers);
}

struct wg_peer_config *plan_grow_peers(struct wg_peer_config *peers, size_t count, size_t capacity)
{
    struct wg_peer_config *larger = calloc(capacity, sizeof *larger);
    if (larger == NULL)
        return NULL;
    if (count > 0)
        memcpy(larger, peers, count * sizeof *larger);
    plan_free_peers(peers, count);
    return larger;
}

void plan_fini(struct plan *plan)
{
    for (size_t i = 0; i < plan->peer_count; i++)
        free(plan->peers[i].allowed_ips);
    for (size_t i = 0; i < plan->name_count; i++)
        free(plan->names[i].name);
    plan_free_peers(plan->peers, plan->peer_count);
    free(plan->routes);
    free(plan->overlay);
    free(plan->own_routes);
    free(plan->inbound);
    free(plan->names);
    free(plan->dns);
    plan_init(plan);
}
