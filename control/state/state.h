#ifndef CONTROL_STATE_STATE_H
#define CONTROL_STATE_STATE_H

#include "base/addr.h"
#include "control/state/record.h"
#include "proto/cluster.pb-c.h"
#include "proto/heimdall.pb-c.h"
#include "proto/mutation.pb-c.h"

/* The in-memory copy of the store, from which every answer, change and plan is made. Records are
 * kept as protobuf messages, so that unknown fields survive, beside their parsed values. A record
 * that does not parse is skipped and named in the log. One thread at a time may use a state.
 * Pointers to entries are valid until the next state_apply. */

struct state_node {
    Pb__Node *pb;
    const char *id;
    const char *name;
    uint8_t public_key[32];
    union endpoint endpoint; /* unset when the record has none */
    struct ip_prefix network;
    struct ip_prefix network6; /* addr.family 0: none */
    struct ip_addr gateway;
    struct ip_addr gateway6; /* family 0: none */
    uint64_t join_seq;
};

struct state_peer {
    Pb__Peer *pb;
    const char *id;
    const char *name; /* "" when it has none */
    uint8_t public_key[32];
    struct ip_addr address;
    struct ip_addr address6; /* family 0: none */
};

struct state_route {
    Pb__Route *pb;
    const char *node_id;
    struct ip_prefix network;
};

struct state_authorization {
    Pb__Authorization *pb;
    const char *id;
    const char *name; /* given by an administrator, else "" */
};

/* A node's entry in heimdall:nodenetworks, which may outlive or precede the node's own record. */
struct state_network {
    Pb__Route *pb;
    const char *node_id;
    struct ip_prefix network;
};

/* A recent change that was made for a request with an id. */
struct state_request {
    Pb__MadeRequest *pb;
    const char *name;
};

/* The settings that the cluster was made with. A prefix of family 0 turns that part of the overlay
 * off. */
struct state_settings {
    char cluster[64]; /* id; empty before the cluster exists */
    struct ip_prefix node_network;
    struct ip_prefix node_network6;
    struct ip_prefix peer_network;
    struct ip_prefix peer_network6;
};

struct state;

/* An empty state at epoch 0, rev 0. `seed` (random) keys the hash tables. 0 or -ENOMEM. */
int state_create(struct state **out, const uint8_t seed[16]);
void state_destroy(struct state *state);

/* Applies one operation. 0, or -ENOMEM: then the state must be reloaded. */
int state_apply(struct state *state, const struct record_op *op);

/* Applies a change and takes its position. -ESTALE, with nothing done, when the change does not
 * follow the state's position; -ENOMEM as state_apply. */
int state_apply_change(struct state *state, const struct record_change *change);

uint64_t state_epoch(const struct state *state);
uint64_t state_rev(const struct state *state);
void state_set_position(struct state *state, uint64_t epoch, uint64_t rev);
const struct state_settings *state_settings(const struct state *state);

/* The number of records skipped as damaged since the state was created. */
size_t state_damaged(const struct state *state);

/* ---- look-ups: NULL when there is none; names in upper or lower case ---- */
const struct state_node *state_node(const struct state *state, const char *id);
const struct state_node *state_node_by_key(const struct state *state, const uint8_t key[32]);
const struct state_node *state_node_by_name(const struct state *state, const char *name);
const struct state_peer *state_peer(const struct state *state, const char *id);
const struct state_peer *state_peer_by_key(const struct state *state, const uint8_t key[32]);
const struct state_peer *state_peer_by_name(const struct state *state, const char *name);
const struct state_authorization *state_authorization(const struct state *state, const char *id);
const struct state_authorization *state_authorization_by_name(const struct state *state,
                                                              const char *name);
const struct state_route *state_route(const struct state *state, const struct ip_prefix *network);
const struct state_network *state_network(const struct state *state, const char *node_id);
const struct state_request *state_request(const struct state *state, const char *name);
const Pb__Master *state_master(const struct state *state);

/* The id of the peer that has an address, or NULL. */
const char *state_address_owner(const struct state *state, const struct ip_addr *addr);

/* ---- ordered listings: nodes by (join_seq, id), peers and authorizations by id, routes by prefix
 */
size_t state_node_count(const struct state *state);
const struct state_node *state_node_at(const struct state *state, size_t i);
size_t state_peer_count(const struct state *state);
const struct state_peer *state_peer_at(const struct state *state, size_t i);
size_t state_route_count(const struct state *state);
const struct state_route *state_route_at(const struct state *state, size_t i);
size_t state_authorization_count(const struct state *state);
const struct state_authorization *state_authorization_at(const struct state *state, size_t i);
size_t state_network_count(const struct state *state);
const struct state_network *state_network_at(const struct state *state, size_t i);

/* Requests, the oldest first. */
size_t state_request_count(const struct state *state);
const struct state_request *state_request_at(const struct state *state, size_t i);

/* The lowest offset in the peer network that may be free: every one below is taken. */
uint64_t state_peer_offset_floor(const struct state *state);

struct buffer;

/* Everything as text in a fixed order, for tests and debugging. The text holds peer ids, which are
 * secrets. */
void state_dump(const struct state *state, struct buffer *out);

#endif
