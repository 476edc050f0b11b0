#ifndef CONTROL_HOST_RESOLVER_HELPER_H
#define CONTROL_HOST_RESOLVER_HELPER_H

struct err;
struct helper;
struct resolver_paths;
struct resolver_setup;

/* Changes the host's resolver in a helper process, which restores it when the daemon is gone, however
 * that died. Without a helper, the calls below do the work themselves. */

/* On the main thread, before the tool's helper and before rights are given up. `state_dir` need not
 * exist yet. 0 or a negative errno. */
int resolver_helper_start(const char *state_dir);

/* The helper that resolver_helper_start started. */
const struct helper *resolver_helper(void);

/* Lets it restore what is still changed, and waits for its end, a few seconds at most. */
void resolver_helper_end(void);

/* resolver_apply and resolver_restore, on any one thread at a time; they block. `paths` is for the
 * case without a helper. */
int resolver_helper_apply(const struct resolver_paths *paths, const struct resolver_setup *setup,
                          struct err *err);
int resolver_helper_restore(const struct resolver_paths *paths, struct err *err);

#endif
