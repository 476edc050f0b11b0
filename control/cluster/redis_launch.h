#ifndef CONTROL_CLUSTER_REDIS_LAUNCH_H
#define CONTROL_CLUSTER_REDIS_LAUNCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

/* How redis-server will run: which program, as whom, where, with which password. Found out once,
 * with the rights that we start with. */

struct err;
struct redis_proc_options;

enum { REDIS_PASSWORD_LEN = 48 };

#define REDIS_SOCKET_NAME "redis.sock"

struct redis_launch {
    char *program;
    char *dir;
    char *bind; /* NULL: no TCP port at all */
    uint16_t port;
    char socket[sizeof((struct sockaddr_un *)0)->sun_path];
    char password[REDIS_PASSWORD_LEN + 1];
    bool drop; /* become uid, gid */
    uid_t uid;
    gid_t gid;
};

/* Finds the program and checks its version, chooses the user, makes a password, makes the folder
 * and gives it to the user; our own group may enter it, since we may soon not overrule file modes.
 * What was filled is released by fini, also after an error. */
int redis_launch_init(struct redis_launch *launch, const struct redis_proc_options *options,
                      struct err *err);
void redis_launch_fini(struct redis_launch *launch);

#endif
