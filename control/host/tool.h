#ifndef CONTROL_HOST_TOOL_H
#define CONTROL_HOST_TOOL_H

#include <stddef.h>

struct helper;

/* The host's own programs that we run: nft, resolvectl, resolvconf. A confined daemon cannot start
 * programs; a helper does, and only these, with the verbs that we use. */

/* Starts the helper; from then on tool_run goes through it. On the main thread. 0 or a negative
 * errno. */
int tool_helper_start(void);

/* The helper that tool_helper_start started. */
const struct helper *tool_helper(void);

/* Ends the helper and every tool that still runs. No other thread is inside tool_run. */
void tool_helper_end(void);

/* Runs `path` (searched for when it has no slash) with the arguments, an environment of ours,
 * `input` on its standard input, and no output but standard error, whose beginning goes to `error`,
 * with a NUL, when that is not NULL. Returns the exit status, or a negative errno: -ETIMEDOUT when
 * the tool did not end within 5 s and was killed.
 *
 * Blocks, so that the loop never calls it: a worker (worker.h) does. Any thread may; calls from
 * several threads run at the same time. */
int tool_run(const char *path, char *const argv[], const char *input, char *error, size_t capacity);

#endif
