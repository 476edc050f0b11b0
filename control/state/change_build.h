#ifndef CONTROL_STATE_CHANGE_BUILD_H
#define CONTROL_STATE_CHANGE_BUILD_H

#include "control/state/access.h"
#include "control/state/change.h"
#include "proto/heimdall.pb-c.h"

/* What the builders of change.h are made of; for change.c and change_peer.c only. */

enum { CHANGE_VERSION_MAX = 64 };

/* `code` beside the text, so that a refusal is one expression. */
#define REFUSE(err, code, ...) (err_set((err), -EINVAL, __VA_ARGS__), (code))

/* Every builder begins and ends with these. */
void change_begin(struct change *change, const struct state *state);
enum grpc_code change_finish(struct change *change, enum grpc_code code, struct err *err);

/* SET of key + name, or HSET of key when it is a hash. */
void change_add_message(struct change *change, enum record_op_kind kind, const char *key,
                        const char *name, const ProtobufCMessage *message);
void change_add_del(struct change *change, const char *key, const char *name);

Google__Protobuf__Timestamp change_timestamp(uint64_t ns);

/* protobuf-c has no const; packing does not write. */
char *change_text(const char *in);

/* UNAVAILABLE before there is a cluster. */
enum grpc_code change_need_cluster(const struct state *state, struct err *err);

/* A name that nobody but `id` has, in lower case. */
enum grpc_code change_claim_name(const struct state *state, const char *id, const char *text,
                                 char name[ACCESS_NAME_MAX + 1], struct err *err);

/* A key that nobody but `id` has. */
enum grpc_code change_claim_key(const struct state *state, const char *id, const char *text,
                                uint8_t key[32], struct err *err);

/* What a program says of its version; may be "". */
enum grpc_code change_check_version(const char *version, struct err *err);

#endif
