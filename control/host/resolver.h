#ifndef CONTROL_HOST_RESOLVER_H
#define CONTROL_HOST_RESOLVER_H

#include "base/addr.h"
#include "control/host/resolv_conf.h"
#include "control/host/resolver_backend.h"

#include <stdbool.h>
#include <stddef.h>

struct err;

/* Makes this host's resolver ask our DNS server, and puts back what was there, through the first
 * back end that takes the host: systemd-resolved (split DNS), resolvconf, the file itself. What was
 * there is on disk before the change, so that the next start can undo a crash. Blocking. */

/* The usual places, with the state in `state_dir`. */
struct resolver_paths resolver_paths_default(const char *state_dir);

struct resolver_upstreams {
    union endpoint servers[RESOLVER_NAMESERVERS]; /* port 53 */
    size_t count;
};

/* The host's own resolvers: those of resolv.conf, or of the saved copy when the file is ours,
 * without those in `ours`. Returns 0, also with none, or a negative errno. */
int resolver_read(const struct resolver_paths *paths, const struct ip_addr *ours, size_t ours_count,
                  struct resolver_upstreams *out, struct err *err);

/* Returns 0 when the host asks us now, also when it did before. -EROFS, -EACCES or -EPERM, with
 * everything as before, when the file cannot be written. */
int resolver_apply(const struct resolver_paths *paths, const struct resolver_setup *setup,
                   struct err *err);

/* Whether another program replaced what resolver_apply wrote. A second program of this project does
 * not count: the two would replace each other's text for ever. */
bool resolver_is_lost(const struct resolver_paths *paths);

/* Puts back what resolver_apply changed, also in an earlier life of the program. 0 when nothing is
 * to put back. A file without our marker is another program's and stays. Where a later program of
 * this project wrote over our text, what it will put back becomes the text before ours. */
int resolver_restore(const struct resolver_paths *paths, struct err *err);

#endif
