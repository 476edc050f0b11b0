#ifndef CONTROL_DAEMON_NODE_SUBMIT_H
#define CONTROL_DAEMON_NODE_SUBMIT_H

#include "control/state/change.h"

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

struct mutation;
struct mutation_kind;
struct node;

/* As mutation_submit calls it; `ctx` is the node. */
typedef void node_mutation_done(void *ctx, const struct mutation *mutation, enum grpc_code status,
                                const struct err *err, uint64_t rev);

/* Submits a change of the node's own the way clients' requests go. 0, or a negative errno without a
 * call of `done`. `done` may be called before this returns. */
int node_submit(struct node *node, const struct mutation_kind *kind,
                const ProtobufCMessage *request, node_mutation_done *done);

#endif
