#ifndef CONTROL_CLUSTER_REDIS_KEEPER_H
#define CONTROL_CLUSTER_REDIS_KEEPER_H

#include <stdint.h>

/* The helper that starts redis-server as its own user, signals it and tells of its death, when the
 * daemon has no rights any more to do so. All that it needs it knows from its start; the daemon can
 * only say one of three words. Redis ends when the keeper does. */

struct helper;
struct redis_launch;

#define REDIS_KEEPER_USER "heimdall" /* of Redis, as which the daemon logs in */

/* Each is one packet on the helper's socket. START is answered by STARTED or FAILED. */
enum redis_keeper_word { REDIS_KEEPER_START = 1, REDIS_KEEPER_TERM, REDIS_KEEPER_KILL };

enum redis_keeper_news { REDIS_KEEPER_STARTED = 1, REDIS_KEEPER_FAILED, REDIS_KEEPER_DIED };

struct redis_keeper_report {
    int32_t news;
    int32_t value; /* the process id, an errno, a wait status */
};

/* Before there are threads. `launch` is copied by the fork. 0 or a negative errno. */
int redis_keeper_start(struct helper *helper, const struct redis_launch *launch);

#endif
