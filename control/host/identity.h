#ifndef CONTROL_HOST_IDENTITY_H
#define CONTROL_HOST_IDENTITY_H

#include "base/err.h"
#include "control/state/access.h"

#include <stdbool.h>
#include <stdint.h>

/* The identity of this host: ids and keys, created once and kept in the data dir ("id",
 * "wireguard.key", "cluster.key"). All that exists is read and checked before anything missing is
 * created. */

struct datadir;

struct identity {
    char id[ACCESS_ID_MAX + 1];
    uint8_t private_key[32];
    char cluster_key[ACCESS_ID_MAX + 1]; /* a node's; else "" */
    bool made_id;                        /* by this call */
    bool made_cluster_key;
};

/* `id` and `cluster_key` (NULL: not given) come from options. Values that differ from the kept ones
 * are refused, and so is a peer's folder. */
int identity_load_node(struct identity *out, struct datadir *dir, const char *id,
                       const char *cluster_key, struct err *err);

/* A given id is used and not kept. A node's folder is refused. */
int identity_load_peer(struct identity *out, struct datadir *dir, const char *id, struct err *err);

/* Reads and checks the cluster key of a file. The second function is for the file that the option
 * --cluster-key-file names, and its errors name the option. */
int identity_read_cluster_key(const char *path, char out[ACCESS_ID_MAX + 1], struct err *err);
int identity_read_key_option(const char *path, char out[ACCESS_ID_MAX + 1], struct err *err);

/* This host's name as access_name_from_host makes it. `otherwise` when nothing is left of it, or
 * "localhost", which is every host's. */
void identity_host_label(char out[ACCESS_NAME_MAX + 1], const char *otherwise);

/* Wipes the secrets. */
void identity_fini(struct identity *identity);

#endif
