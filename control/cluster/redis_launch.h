#ifndef CONTROL_CLUSTER_REDIS_LAUNCH_H
#define CONTROL_CLUSTER_REDIS_LAUNCH_H

#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

/* How redis-server will run: which program, as which user, where, with which password. Found out
 * once, with the rights that the daemon starts with. */

struct err;

enum { REDIS_PASSWORD_LEN = 48 };

#define REDIS_SOCKET_NAME "redis.sock"

/* The master of a parked Redis: an address that nobody can listen on. On port 1 any process that
 * may bind low ports could feed Redis a data set. */
#define REDIS_PARKED_HOST "127.0.0.1"
#define REDIS_PARKED_PORT 0
#define REDIS_PARKED      REDIS_PARKED_HOST " 0"

struct redis_launch_options {
    const char *data_dir;
    const char *program; /* NULL: redis-server on the PATH */
    const char *bind;    /* address for replication, or NULL: no TCP port at all */
    uint16_t port;       /* --redis-port; used with `bind` only */
    const char *user;    /* NULL: "redis" */
    bool must_have_data; /* an empty store is refused at each start */
};

/* Capabilities (bits 1 << CAP_X) for handing the data to another user, becoming that user,
 * signaling it, and using its files. Without all of them Redis runs as the daemon's own user. */
#define REDIS_LAUNCH_RIGHTS                                                                        \
    (UINT64_C(1) << CAP_CHOWN | UINT64_C(1) << CAP_DAC_OVERRIDE | UINT64_C(1) << CAP_FOWNER |      \
     UINT64_C(1) << CAP_KILL | UINT64_C(1) << CAP_SETGID | UINT64_C(1) << CAP_SETUID)

struct redis_launch {
    char *program;
    char *dir;
    char *bind; /* NULL: no TCP port at all */
    uint16_t port;
    char socket[sizeof((struct sockaddr_un *)0)->sun_path];
    char password[REDIS_PASSWORD_LEN + 1];
    bool must_have_data;
    bool drop; /* become uid, gid */
    uid_t uid;
    gid_t gid;
};

/* Finds the program and checks its version, chooses the user, makes a password, makes the folder
 * and gives it to the user. The daemon's own group may enter it, since the daemon soon cannot
 * override file modes. 0 or a negative errno. fini releases what was filled, also after an
 * error. */
int redis_launch_init(struct redis_launch *launch, const struct redis_launch_options *options,
                      struct err *err);
void redis_launch_fini(struct redis_launch *launch);

#endif
