#ifndef CONTROL_HOST_CONFINE_H
#define CONTROL_HOST_CONFINE_H

#include <stdbool.h>
#include <stdint.h>

/* What a program of ours gives up once its helpers run and before it makes threads: all rights but
 * CAP_NET_ADMIN and CAP_NET_BIND_SERVICE, new rights for good, and the system calls that it has no
 * use for. What a container's runtime refuses is said once, and the program goes on. */
void confine_self(void);

/* Keeps, of what this thread may do, the rights in `keep` (bits 1 << CAP_X), permitted and
 * effective, and removes the others from the bounding set where it may; no_new_privs is set.
 * `pass_on`: programs that it starts get the rights too. 0 or a negative errno. */
int confine_rights(uint64_t keep, bool pass_on);

#endif
