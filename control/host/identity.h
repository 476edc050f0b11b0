#ifndef CONTROL_HOST_IDENTITY_H
#define CONTROL_HOST_IDENTITY_H

#include "base/err.h"
#include "control/state/access.h"

#include <stdbool.h>
#include <stdint.h>

/* Who this host is: ids and keys, made once and kept in the data dir ("id", "wireguard.key",
 * "cluster.key"). Everything is read and checked before anything missing is made. */

struct datadir;

struct identity {
    char id[ACCESS_ID_MAX + 1];
    uint8_t private_key[32];
    char cluster_key[ACCESS_ID_MAX + 1]; /* of nodes; else "" */
    bool made_id;                        /* just now, as are the keys */
    bool made_cluster_key;
};

/* `id` and `cluster_key` (NULL: none) come from options: others than the kept ones are refused, and
 * so is a peer's folder. */
int identity_load_node(struct identity *out, struct datadir *dir, const char *id,
                       const char *cluster_key, struct err *err);

/* An id that is given is used without being kept. A node's folder is refused. */
int identity_load_peer(struct identity *out, struct datadir *dir, const char *id, struct err *err);

/* The cluster key from a file; checked. The second is for the file of option --cluster-key-file,
 * and its errors say so. */
int identity_read_cluster_key(const char *path, char out[ACCESS_ID_MAX + 1], struct err *err);
int identity_read_key_option(const char *path, char out[ACCESS_ID_MAX + 1], struct err *err);

/* Wipes the secrets. */
void identity_fini(struct identity *identity);

#endif
