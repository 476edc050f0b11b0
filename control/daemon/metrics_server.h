#ifndef CONTROL_DAEMON_METRICS_SERVER_H
#define CONTROL_DAEMON_METRICS_SERVER_H

#include "base/addr.h"
#include "base/err.h"
#include "base/metrics_text.h"

#include <uv.h>

/* Answers GET /metrics over HTTP on the loop's thread. The text is written at most once a second.
 * Connections are limited in number and closed when idle. */

struct metrics_server;

/* `write` fills the text. An error names the address and the option. 0 or a negative errno. */
int metrics_server_open(struct metrics_server **out, uv_loop_t *loop, const union endpoint *address,
                        void (*write)(void *ctx, struct metrics_text *text), void *ctx,
                        struct err *err);

/* The loop must run once more before it is closed. Takes NULL. */
void metrics_server_close(struct metrics_server *server);

#endif
