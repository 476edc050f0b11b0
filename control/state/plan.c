#include "control/state/plan.h"

#include <stdlib.h>

void plan_init(struct plan *plan)
{
    *plan = (struct plan){0};
}

void plan_fini(struct plan *plan)
{
    for (size_t i = 0; i < plan->peer_count; i++)
        free(plan->peers[i].allowed_ips);
    for (size_t i = 0; i < plan->name_count; i++)
        free(plan->names[i].name);
    free(plan->peers);
    free(plan->routes);
    free(plan->overlay);
    free(plan->own_routes);
    free(plan->names);
    free(plan->dns);
    plan_init(plan);
}
