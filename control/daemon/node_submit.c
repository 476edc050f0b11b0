#include "control/daemon/node_submit.h"

#include "base/clock.h"
#include "control/api/mutation.h"
#include "control/cluster/cluster.h"
#include "control/daemon/node_parts.h"

int node_submit(struct node *node, const struct mutation_kind *kind,
                const ProtobufCMessage *request, node_mutation_done *done)
{
    struct mutation *mutation = NULL;
    int code = mutation_create(&mutation, kind, request, NULL, clock_realtime_ns());
    if (code == 0)
        mutation_submit(mutation, cluster_writer(node->cluster), done, node);
    return code;
}
