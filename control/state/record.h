#ifndef CONTROL_STATE_RECORD_H
#define CONTROL_STATE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The records of the store: their keys, and the four operations that change them.
 *
 *   heimdall:meta                hash: epoch, rev, layout, cluster, and the networks of the cluster
 *   heimdall:master              Master
 *   heimdall:nodes:ID            Node
 *   heimdall:nodenetworks:ID     Route (node_id, network): what the node was given
 *   heimdall:peers:ID            Peer
 *   heimdall:authorized          hash: peer id -> Authorization
 *   heimdall:peerips             hash: address -> peer id (text), which makes addresses unique
 *   heimdall:routes:NET          Route
 *   heimdall:requests            hash: request id -> MadeRequest, of recent changes
 *   heimdall:changes             stream: see store_redis.h
 *
 * Values are protobuf unless the table says otherwise. */

#define RECORD_KEY_META         "heimdall:meta"
#define RECORD_KEY_MASTER       "heimdall:master"
#define RECORD_KEY_AUTHORIZED   "heimdall:authorized"
#define RECORD_KEY_PEERIPS      "heimdall:peerips"
#define RECORD_KEY_REQUESTS     "heimdall:requests"
#define RECORD_KEY_CHANGES      "heimdall:changes"
#define RECORD_KEY_NODES        "heimdall:nodes:"
#define RECORD_KEY_NODENETWORKS "heimdall:nodenetworks:"
#define RECORD_KEY_PEERS        "heimdall:peers:"
#define RECORD_KEY_ROUTES       "heimdall:routes:"

/* The layout of the records above, as heimdall:meta names it. Another one is refused. */
#define RECORD_LAYOUT "1"

/* How this program derives preshared keys: wg/psk.h. 0 stands for programs that do not. */
enum { RECORD_PSK_VERSION = 1 };

enum record_kind {
    RECORD_UNKNOWN, /* of a newer version; ignored */
    RECORD_META,
    RECORD_MASTER,
    RECORD_NODE,
    RECORD_NODENETWORK,
    RECORD_PEER,
    RECORD_AUTHORIZATION,
    RECORD_PEERIP,
    RECORD_ROUTE,
    RECORD_REQUEST,
};

enum record_op_kind { RECORD_SET, RECORD_DEL, RECORD_HSET, RECORD_HDEL };

/* One operation. Strings and bytes belong to the holder of the op. */
struct record_op {
    enum record_op_kind kind;
    const char *key;
    const char *field;    /* NULL unless HSET or HDEL */
    const uint8_t *value; /* SET and HSET */
    size_t len;
};

/* The kind of record under a key. *name is what names the record: the rest of the key, or the field
 * of a hash. */
enum record_kind record_key_parse(const char *key, const char *field, const char **name);

/* A change that was applied to the store: its position, its predecessor's, its operations. */
struct record_change {
    uint64_t epoch;
    uint64_t rev;
    uint64_t prev_epoch;
    uint64_t prev_rev;
    const struct record_op *ops;
    size_t op_count;
};

#endif
