#ifndef CONTROL_HOST_CONFINE_H
#define CONTROL_HOST_CONFINE_H

#include <stdbool.h>
#include <stdint.h>

/* Gives up all rights but CAP_NET_ADMIN and CAP_NET_BIND_SERVICE, the chance of new ones, and the
 * system calls that a daemon does not need. Called once the helpers run and before threads are
 * created. A refusal by the container's runtime is logged, and the program continues. */
void confine_self(void);

/* Keeps those of this thread's rights that are in `keep` (bits 1 << CAP_X), permitted and
 * effective, removes all others from the bounding set where that is allowed, and sets
 * no_new_privs. `pass_on`: programs that it starts get the rights too. 0 or a negative errno. */
int confine_rights(uint64_t keep, bool pass_on);

#endif
