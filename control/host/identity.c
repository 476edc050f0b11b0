#include "control/host/identity.h"

#include "base/bytes.h"
#include "control/host/datadir.h"
#include "wg/crypto/x25519.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define FILE_ID          "id"
#define FILE_PRIVATE_KEY "wireguard.key"
#define FILE_CLUSTER_KEY "cluster.key"

/* Reads an id or key that must be strong. A missing file is 0 and leaves "" in `out`. */
static int read_strong(struct datadir *dir, const char *file, char out[ACCESS_ID_MAX + 1],
                       struct err *err)
{
    char line[ACCESS_ID_MAX + 3];
    int code = datadir_read(dir, file, line, sizeof line, err);
    out[0] = '\0';
    if (code == -ENOENT)
        return 0;
    if (code == 0 && access_check_id(line, "", NULL) < 0)
        code = err_set(err, -EINVAL,
                       "file %s/%s is malformed: expects an id or key of at least 96 random bits",
                       datadir_path(dir), file);
    if (code == 0)
        memcpy(out, line, strlen(line) + 1);
    bytes_wipe(line, sizeof line);
    return code;
}

/* 1 when the file does not exist. */
static int read_private_key(struct datadir *dir, uint8_t out[32], struct err *err)
{
    char line[BASE64_KEY_LEN + 3];
    int code = datadir_read(dir, FILE_PRIVATE_KEY, line, sizeof line, err);
    if (code == -ENOENT)
        return 1;
    if (code == 0 && (!bytes_from_base64(out, 32, line) || bytes_is_zero_ct(out, 32)))
        code = err_set(err, -EINVAL,
                       "file %s/%s is malformed: expects a WireGuard private key in base64",
                       datadir_path(dir), FILE_PRIVATE_KEY);
    bytes_wipe(line, sizeof line);
    return code;
}

static int make_private_key(struct datadir *dir, uint8_t out[32], struct err *err)
{
    char line[BASE64_KEY_LEN + 1];
    if (getrandom(out, 32, 0) != 32)
        return err_set_errno(err, -EIO, "no random bytes");
    x25519_clamp(out);
    bytes_to_base64(line, out, 32);
    int code = datadir_write(dir, FILE_PRIVATE_KEY, line, err);
    bytes_wipe(line, sizeof line);
    return code;
}

static int make_uuid(struct datadir *dir, const char *file, char out[ACCESS_ID_MAX + 1],
                     struct err *err)
{
    char uuid[ACCESS_MADE_ID_TEXT];
    uint8_t random[16];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return err_set(err, -EIO, "no random bytes");
    access_make_id(random, uuid);
    int code = datadir_write(dir, file, uuid, err);
    if (code == 0)
        memcpy(out, uuid, sizeof uuid);
    bytes_wipe(uuid, sizeof uuid);
    bytes_wipe(random, sizeof random);
    return code;
}

static int keep_id(struct identity *out, struct datadir *dir, const char *id, struct err *err)
{
    if (out->id[0] != '\0')
        return 0;
    out->made_id = true;
    if (id == NULL)
        return make_uuid(dir, FILE_ID, out->id, err);
    snprintf(out->id, sizeof out->id, "%s", id);
    return datadir_write(dir, FILE_ID, id, err);
}

static int keep_cluster_key(struct identity *out, struct datadir *dir, const char *key,
                            struct err *err)
{
    if (out->cluster_key[0] != '\0')
        return 0;
    out->made_cluster_key = key == NULL;
    if (key == NULL)
        return make_uuid(dir, FILE_CLUSTER_KEY, out->cluster_key, err);
    snprintf(out->cluster_key, sizeof out->cluster_key, "%s", key);
    return datadir_write(dir, FILE_CLUSTER_KEY, key, err);
}

static int check_cluster(const struct identity *identity, const struct datadir *dir,
                         const char *cluster_key, struct err *err)
{
    if (cluster_key == NULL || identity->cluster_key[0] == '\0' ||
        strcmp(identity->cluster_key, cluster_key) == 0)
        return 0;
    return err_set(
        err, -EINVAL,
        "data dir %s belongs to another cluster: the given cluster key is not the one in "
        "its file cluster.key; name another --data-dir",
        datadir_path(dir));
}

/* A peer has a private key and may have an id, but has no cluster key. A node's cluster key is
 * created before its id. */
static int check_not_a_peers(const struct identity *identity, const struct datadir *dir,
                             struct err *err)
{
    if (identity->id[0] == '\0' || identity->cluster_key[0] != '\0')
        return 0;
    return err_set(err, -EINVAL, "data dir %s belongs to a peer (hpeer): name another --data-dir",
                   datadir_path(dir));
}

static int check_options(const char *id, const char *what, const char *cluster_key, struct err *err)
{
    int code = 0;
    if (id != NULL)
        code = access_check_id(id, what, err);
    if (code == 0 && cluster_key != NULL)
        code = access_check_id(cluster_key, "option --cluster-key", err);
    return code;
}

int identity_load_node(struct identity *out, struct datadir *dir, const char *id,
                       const char *cluster_key, struct err *err)
{
    *out = (struct identity){0};
    int code = check_options(id, "option --id", cluster_key, err);
    if (code == 0)
        code = read_strong(dir, FILE_ID, out->id, err);
    if (code == 0 && id != NULL && out->id[0] != '\0' && strcmp(id, out->id) != 0)
        code = err_set(err, -EINVAL,
                       "option --id: data dir %s belongs to node %s; leave the option out or name "
                       "another --data-dir",
                       datadir_path(dir), out->id);
    if (code == 0)
        code = read_strong(dir, FILE_CLUSTER_KEY, out->cluster_key, err);
    if (code == 0)
        code = check_cluster(out, dir, cluster_key, err);
    if (code == 0)
        code = read_private_key(dir, out->private_key, err);
    if (code == 0)
        code = check_not_a_peers(out, dir, err);
    if (code > 0)
        code = make_private_key(dir, out->private_key, err);
    if (code == 0)
        code = keep_cluster_key(out, dir, cluster_key, err);
    if (code == 0)
        code = keep_id(out, dir, id, err);
    if (code < 0)
        identity_fini(out);
    return code;
}

static int check_peer_dir(struct datadir *dir, struct err *err)
{
    char key[ACCESS_ID_MAX + 1];
    int code = read_strong(dir, FILE_CLUSTER_KEY, key, err);
    if (code == 0 && key[0] != '\0')
        code = err_set(err, -EINVAL,
                       "data dir %s belongs to a node (heimdall): name another --data-dir",
                       datadir_path(dir));
    bytes_wipe(key, sizeof key);
    return code;
}

int identity_load_peer(struct identity *out, struct datadir *dir, const char *id, struct err *err)
{
    *out = (struct identity){0};
    int code = check_options(id, "option --id", NULL, err);
    if (code == 0)
        code = check_peer_dir(dir, err);
    if (code == 0 && id == NULL)
        code = read_strong(dir, FILE_ID, out->id, err);
    if (code == 0)
        code = read_private_key(dir, out->private_key, err);
    if (code > 0)
        code = make_private_key(dir, out->private_key, err);
    if (code == 0 && id != NULL)
        snprintf(out->id, sizeof out->id, "%s", id);
    else if (code == 0)
        code = keep_id(out, dir, NULL, err);
    if (code < 0)
        identity_fini(out);
    return code;
}

int identity_read_cluster_key(const char *path, char out[ACCESS_ID_MAX + 1], struct err *err)
{
    char line[ACCESS_ID_MAX + 3];
    int code = datadir_read_file(path, line, sizeof line, err);
    if (code == 0)
        code = access_check_id(line, "cluster key", err);
    if (code == 0)
        memcpy(out, line, strlen(line) + 1);
    bytes_wipe(line, sizeof line);
    return code;
}

int identity_read_key_option(const char *path, char out[ACCESS_ID_MAX + 1], struct err *err)
{
    struct err cause;
    int code = identity_read_cluster_key(path, out, &cause);
    return code == 0 ? 0 : err_set(err, -EINVAL, "option --cluster-key-file: %s", cause.text);
}

void identity_host_label(char out[ACCESS_NAME_MAX + 1], const char *otherwise)
{
    char host[256] = "";
    (void)gethostname(host, sizeof host - 1);
    access_name_from_host(host, out);
    if (out[0] == '\0' || strcmp(out, "localhost") == 0)
        snprintf(out, ACCESS_NAME_MAX + 1, "%s", otherwise);
}

void identity_fini(struct identity *identity)
{
    bytes_wipe(identity, sizeof *identity);
}
