#ifndef CONTROL_HOST_RESOLVER_WATCH_H
#define CONTROL_HOST_RESOLVER_WATCH_H

#include <uv.h>

struct resolver_paths;

/* Reports that another program, such as a DHCP client or a network manager, replaced what
 * resolver_apply wrote to the host's resolv.conf. Wakes up for nothing but the file. */

struct resolver_watch;

/* Calls lost(ctx) shortly after the change; the caller applies its setup again. A program that
 * writes each time that we do keeps the file, with one line in the log. `paths` outlives the
 * result. 0 or a negative errno. */
int resolver_watch_open(struct resolver_watch **out, uv_loop_t *loop,
                        const struct resolver_paths *paths, void (*lost)(void *ctx), void *ctx);

/* Its memory is freed on a later turn of the loop. Takes NULL. */
void resolver_watch_close(struct resolver_watch *watch);

#endif
