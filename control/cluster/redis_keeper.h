#ifndef CONTROL_CLUSTER_REDIS_KEEPER_H
#define CONTROL_CLUSTER_REDIS_KEEPER_H

#include <stdint.h>

/* The helper that starts redis-server as its own user, signals it and reports its death, once the
 * daemon has given up the rights to do so. The fork hands it everything it needs; the daemon can
 * only send one of three words. Redis ends when the keeper does. */

struct helper;
struct redis_launch;

#define REDIS_KEEPER_USER "heimdall" /* Redis' user that the daemon logs in as */

/* Each is one packet on the helper's socket. START is answered by STARTED or FAILED,
 * the latter with ENODATA as redis_files_check says. */
enum redis_keeper_word { REDIS_KEEPER_START = 1, REDIS_KEEPER_TERM, REDIS_KEEPER_KILL };

enum redis_keeper_news { REDIS_KEEPER_STARTED = 1, REDIS_KEEPER_FAILED, REDIS_KEEPER_DIED };

struct redis_keeper_report {
    int32_t news;
    int32_t value;   /* the process id, an errno, a wait status */
    uint64_t healed; /* of STARTED: bytes that redis_files_heal removed */
};

/* Call before there are threads. The fork copies `launch`. 0 or a negative errno. */
int redis_keeper_start(struct helper *helper, const struct redis_launch *launch);

#endif
