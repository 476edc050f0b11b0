#ifndef CONTROL_HOST_RESOLVER_WATCH_H
#define CONTROL_HOST_RESOLVER_WATCH_H

#include <uv.h>

struct resolver_paths;

/* Sees that something else wrote over what resolver_apply wrote into the host's resolv.conf: a DHCP
 * client that renews its lease, a network manager that starts. Wakes up for nothing but the file.
 */

struct resolver_watch;

/* Calls lost(ctx) a moment after it happened; the caller applies its setup again. A program that
 * writes whenever we do is left its way and told of in the log. `paths` outlives the result. 0 or a
 * negative errno. */
int resolver_watch_open(struct resolver_watch **out, uv_loop_t *loop,
                        const struct resolver_paths *paths, void (*lost)(void *ctx), void *ctx);

/* Memory is given back by the loop's next turns. Takes NULL. */
void resolver_watch_close(struct resolver_watch *watch);

#endif
