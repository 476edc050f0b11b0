#ifndef CONTROL_API_WALK_H
#define CONTROL_API_WALK_H

#include "base/addr.h"
#include "control/state/access.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A walk through the state's records in their order, in as many steps as the reader likes. The
 * state may change between steps: the walk holds the last record taken, not a place. */

struct state;

enum walk_part { WALK_NODES, WALK_ROUTES, WALK_AUTHORIZATIONS, WALK_PEERS, WALK_END };

struct walk {
    enum walk_part part;
    bool begun; /* the fields below identify the last record taken of this part */
    uint64_t join_seq;
    struct ip_prefix network;
    char id[ACCESS_ID_MAX + 1];
};

void walk_begin(struct walk *walk, enum walk_part part);

/* Records of the part, taken or not. */
size_t walk_count(const struct walk *walk, const struct state *state);

/* The first record that was not taken, or walk_count. */
size_t walk_place(const struct walk *walk, const struct state *state);

/* The message of a record of the part. */
ProtobufCMessage *walk_record(const struct walk *walk, const struct state *state, size_t i);

void walk_take(struct walk *walk, const struct state *state, size_t i);

/* The walk as a word, with which another call continues it. */
enum { WALK_TOKEN = ACCESS_ID_MAX + 32 };
const char *walk_token(const struct walk *walk, char out[WALK_TOKEN]);

/* Returns false for a word that walk_token does not make. */
bool walk_parse(struct walk *walk, const char *token);

#endif
