#ifndef CONTROL_HOST_RESOLVER_SETTER_H
#define CONTROL_HOST_RESOLVER_SETTER_H

#include <uv.h>

struct resolver_paths;
struct resolver_setup;

/* Points the host's resolver at us and puts it back, off the loop: programs and fsync may block.
 * What is asked for is done in that order; failures are logged. */

struct resolver_setter;

/* The texts in `paths` outlive the loop. 0 or a negative errno. */
int resolver_setter_open(struct resolver_setter **out, uv_loop_t *loop,
                         const struct resolver_paths *paths);

/* resolver_apply with a copy of the setup; then, unless it is NULL, applied(ctx) on the loop, also
 * after a failure. */
void resolver_setter_apply(struct resolver_setter *setter, const struct resolver_setup *setup,
                           void (*applied)(void *ctx), void *ctx);

/* resolver_restore; then, unless it is NULL, restored(ctx) on the loop. */
void resolver_setter_restore(struct resolver_setter *setter, void (*restored)(void *ctx),
                             void *ctx);

/* Puts the resolver back, behind all that was asked for, and frees the result by the loop's next
 * turns. Takes NULL. */
void resolver_setter_close(struct resolver_setter *setter);

#endif
