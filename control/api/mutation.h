#ifndef CONTROL_API_MUTATION_H
#define CONTROL_API_MUTATION_H

#include "control/cluster/writer.h"
#include "control/state/change.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A request that changes the network, on its way from a call, or from the node itself, to the
 * store. It holds the packed request, the kind that reads it and a request id: all that another
 * node needs to make the same change. */

struct err;
struct state;
struct writer_job;

enum {
    MUTATION_ID_LEN = 16,
    MUTATION_NAME = 2 * MUTATION_ID_LEN + 2, /* of a request in the state, with its NUL */
};

/* One row a request, all of them in mutation_kinds.c. */
struct mutation_kind {
    const char *name; /* on the wire: that of the call where there is one, "CreateRoute" */
    const ProtobufCMessageDescriptor *request;
    /* A builder of change.h with its arguments taken from the request. */
    enum grpc_code (*build)(struct change *change, const struct state *state,
                            const ProtobufCMessage *request, uint64_t made_ns, struct err *err);
    /* Whether the state is as the request wants it. A request that is refused for that very reason
     * is a repetition when the same one was made before. NULL: repeating it changes nothing. */
    bool (*holds)(const struct state *state, const ProtobufCMessage *request);
    bool is_kept;             /* its ids are kept with the change, for retries */
    const char *done_message; /* logged when the change is made; NULL: not logged */
    const char *subject_name; /* of the string at `subject` in the log line; NULL: a peer's id */
    size_t subject;           /* offset of a string in the request */
};

extern const struct mutation_kind mutation_connect;
extern const struct mutation_kind mutation_authorize_peer;
extern const struct mutation_kind mutation_deauthorize_peer;
extern const struct mutation_kind mutation_rekey_peer;
extern const struct mutation_kind mutation_rename_peer;
extern const struct mutation_kind mutation_create_route;
extern const struct mutation_kind mutation_delete_route;

/* Changes that nodes make without being asked; their requests are in mutation.proto. */
extern const struct mutation_kind mutation_bootstrap_cluster;
extern const struct mutation_kind mutation_put_node;
extern const struct mutation_kind mutation_peers_seen;
extern const struct mutation_kind mutation_expire_peer;

/* NULL without a kind of this name. */
const struct mutation_kind *mutation_kind_find(const char *name);

struct mutation {
    const struct mutation_kind *kind;
    uint8_t request_id[MUTATION_ID_LEN]; /* a retry carries the same one */
    bool has_request_id;                 /* it is the caller's, else random */
    char repeat_key[MUTATION_NAME];      /* "=" and 32 hex digits, or "" */
    uint64_t made_ns;                    /* when it was asked for, since the UNIX epoch */
    uint8_t *packed;                     /* the request as it came */
    size_t packed_len;
    ProtobufCMessage *request; /* the same, unpacked */
    bool changed;              /* in `done`: the change was not empty */
    struct writer_owner owner; /* who asks; set before it is submitted, borrowed until then */
    struct writer *writer;     /* once submitted */
    struct writer_job *job;    /* while it waits or is being written */
    /* Whether the outcome may be logged, and how many lines were not before it; NULL: always. */
    bool (*may_log)(void *ctx, unsigned *left_out);
    void *ctx;
    void (*done)(void *ctx, const struct mutation *mutation, enum grpc_code status,
                 const struct err *err, uint64_t rev);
};

/* Copies the request. `request_id` NULL: a random one. 0 or a negative errno. */
int mutation_create(struct mutation **out, const struct mutation_kind *kind,
                    const ProtobufCMessage *request, const uint8_t *request_id, uint64_t made_ns);
void mutation_destroy(struct mutation *mutation);

/* As bytes for another node or a file: a packed Mutation of mutation.proto, to be freed; NULL when
 * memory is short. */
uint8_t *mutation_pack(const struct mutation *mutation, size_t *len);

/* The reverse. 0, -ENOMEM, or -EBADMSG for what no node of this version packs. */
int mutation_unpack(struct mutation **out, const uint8_t *bytes, size_t len);

/* The change that it makes of this state; contract as in change.h. */
enum grpc_code mutation_build(const struct mutation *mutation, struct change *change,
                              const struct state *state, struct err *err);

/* Takes ownership. `done` is called once, perhaps before this returns; the mutation is destroyed
 * when it returns. On GRPC_OK the state holds the change. */
void mutation_submit(struct mutation *mutation, struct writer *writer,
                     void (*done)(void *ctx, const struct mutation *mutation, enum grpc_code status,
                                  const struct err *err, uint64_t rev),
                     void *ctx);

/* Destroys a submitted mutation that has not begun, without `done`. False when it has begun: the
 * change may still be made. */
bool mutation_withdraw(struct mutation *mutation);

/* The string that the kind's `subject` points at: the id of a peer, the network of a route. */
const char *mutation_subject(const struct mutation *mutation);

#endif
