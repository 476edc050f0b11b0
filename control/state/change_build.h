#ifndef CONTROL_STATE_CHANGE_BUILD_H
#define CONTROL_STATE_CHANGE_BUILD_H

#include "control/state/access.h"
#include "control/state/change.h"
#include "proto/heimdall.pb-c.h"

/* What the builders of change.h share; for change*.c only. */

enum { CHANGE_VERSION_MAX = 64 };

/* Sets the text and is `code`, so that a refusal is one expression. */
#define REFUSE(err, code, ...) (err_set((err), -EINVAL, __VA_ARGS__), (code))

/* Every builder begins and ends with these. */
void change_begin(struct change *change, const struct state *state);
enum grpc_code change_finish(struct change *change, enum grpc_code code, struct err *err);

/* SET of key + name, or HSET of key when it is a hash. */
void change_add_message(struct change *change, enum record_op_kind kind, const char *key,
                        const char *name, const ProtobufCMessage *message);
void change_add_del(struct change *change, const char *key, const char *name);

/* Casts const away for protobuf-c, which has none; packing does not write. */
char *change_text(const char *in);

/* UNAVAILABLE before there is a cluster. */
enum grpc_code change_need_cluster(const struct state *state, struct err *err);

/* Checks that nobody but `id` has the name; writes it in lower case. */
enum grpc_code change_claim_name(const struct state *state, const char *id, const char *text,
                                 char name[ACCESS_NAME_MAX + 1], struct err *err);

/* The same for a node, which comes before peers: only another node's name is refused. */
enum grpc_code change_claim_node_name(const struct state *state, const char *id, const char *text,
                                      char name[ACCESS_NAME_MAX + 1], struct err *err);

/* Checks that nobody but `id` has the key. */
enum grpc_code change_claim_key(const struct state *state, const char *id, const char *text,
                                uint8_t key[32], struct err *err);

/* The version that a program reports; may be "". */
enum grpc_code change_check_version(const char *version, struct err *err);

#endif
