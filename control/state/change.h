#ifndef CONTROL_STATE_CHANGE_H
#define CONTROL_STATE_CHANGE_H

#include "base/addr.h"
#include "control/state/record.h"
#include "proto/grpc.h"

/* Pure builders: a state and a request in, the operations of one atomic change or a refusal out.
 * They store nothing: the change goes to store_commit, which refuses it when the store has moved on
 * from the (epoch, rev) that the change was built on. An empty change: there is nothing to do. */

struct err;
struct state;

/* The largest change, checked before anything is stored. Every store takes as much at once. */
enum { CHANGE_OPS_MAX = 1024, CHANGE_BYTES_MAX = 1024 * 1024 };

struct change {
    uint64_t epoch; /* of the state that it was built on */
    uint64_t rev;
    struct record_op *ops; /* owned, with their strings and bytes */
    size_t op_count;
    size_t op_capacity;
    bool failed; /* an allocation failed */
};

void change_init(struct change *change);
void change_fini(struct change *change);

/* Appends a copy; a failure is remembered in `failed`. field and value as in struct record_op. */
void change_add(struct change *change, enum record_op_kind kind, const char *key, const char *field,
                const void *value, size_t len);

/* All builders below initialise `change`. On GRPC_OK it holds the operations, within the limits above; otherwise it is empty
 * and `err` has one line for the user. Times are nanoseconds since the UNIX epoch. change_fini in
 * either case. */

/* IPv6 networks of family 0 are off. See change_default_networks6. */
struct change_cluster {
    const char *cluster; /* a UUID */
    struct ip_prefix node_network;
    struct ip_prefix peer_network;
    struct ip_prefix node_network6;
    struct ip_prefix peer_network6;
};

/* The /64s of a cluster by default: its ULA /48 (RFC 4193) comes from a hash of its id, nodes walk
 * up from subnet 0 (the first gets 1), and peers have subnet ffff. */
void change_default_networks6(const char *cluster, struct ip_prefix *node_network6,
                              struct ip_prefix *peer_network6);

/* Makes the cluster. FAILED_PRECONDITION when the store holds another one. There is nothing to do
 * when it holds the same one with the same networks. */
enum grpc_code change_bootstrap_cluster(struct change *change, const struct state *state,
                                        const struct change_cluster *cluster, struct err *err);

struct change_node {
    const char *id;
    const char *name;
    const char *public_key;  /* base64 */
    const char *addr;        /* control API, "tcp://IP:PORT" */
    const char *endpoint_ip; /* "": the host has no address yet */
    uint16_t endpoint_port;
    const char *interface_name;
    const char *version; /* of its program; may be "" */
    uint64_t psk_version;
    bool no_ipv6; /* its host has none: the node gets no IPv6 network, or gives its own back */
    const struct ip_prefix
        *host_networks; /* networks that its host is in; the node gets none of them */
    size_t host_network_count;
    uint64_t now_ns;
};

/* Adds a node, which gets the next free network and join_seq, or updates what it reports of itself.
 * The id is bound to the key. */
enum grpc_code change_put_node(struct change *change, const struct state *state,
                               const struct change_node *node, struct err *err);

enum grpc_code change_authorize_peer(struct change *change, const struct state *state,
                                     const char *id, uint64_t now_ns, struct err *err);

/* The same with the secret that the peer's name on the wire is derived from; `len` 0: none. */
enum grpc_code change_authorize_peer_secret(struct change *change, const struct state *state,
                                            const char *id, const uint8_t *secret, size_t len,
                                            uint64_t now_ns, struct err *err);

/* Also removes the peer and frees its addresses. */
enum grpc_code change_deauthorize_peer(struct change *change, const struct state *state,
                                       const char *id, struct err *err);

/* Lets the next connect bring another key, once, and begins another round of preshared keys. Nothing
 * to do when no key is bound yet. */
enum grpc_code change_rekey_peer(struct change *change, const struct state *state, const char *id,
                                 struct err *err);

/* Gives an authorized peer a name that its own connects do not change; "" restores the name that it
 * chose, if that is free. ALREADY_EXISTS for a taken name. */
enum grpc_code change_rename_peer(struct change *change, const struct state *state, const char *id,
                                  const char *name, struct err *err);

struct change_peer {
    const char *id;
    const char *name;       /* may be "" */
    const char *public_key; /* base64 */
    bool no_ipv6;           /* its host has none */
    const char *version;    /* of its program; may be "" */
    uint64_t psk_version;
    uint64_t now_ns;
};

/* The first connect binds the key to the id and gives the peer its addresses. A later one may
 * change the name, unless an administrator gave one, and the key, if change_rekey_peer allowed
 * that. Nodes and peers share one name space: ALREADY_EXISTS for a taken name. */
enum grpc_code change_connect_peer(struct change *change, const struct state *state,
                                   const struct change_peer *peer, struct err *err);

struct change_seen {
    const char *id;
    uint64_t seen_ns;  /* wall clock; 0: no later than the record says */
    uint64_t absent_s; /* elapsed since then */
};

/* Records when these peers were last seen, and for how long they have not been. Ids without a peer
 * are left out. */
enum grpc_code change_peers_seen(struct change *change, const struct state *state,
                                 const struct change_seen *seen, size_t count, struct err *err);

struct change_route {
    const char *node_id;
    const char *network;
    bool inbound; /* hosts of the network may open connections to peers */
};

/* A default route makes the node an exit node. Any other route must not overlap a network of the
 * overlay. The same route with another `inbound` is an update. */
enum grpc_code change_create_route(struct change *change, const struct state *state,
                                   const struct change_route *route, struct err *err);
enum grpc_code change_delete_route(struct change *change, const struct state *state,
                                   const char *network, struct err *err);

/* Adds to a change, which is not empty, that it was made for a request of this name: a retry finds
 * it with state_request. Some of the requests that are neither among the last 10,000 nor made within
 * an hour are forgotten. */
void change_keep_request(struct change *change, const struct state *state, const char *name,
                         uint64_t made_ns);

#endif
