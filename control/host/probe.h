#ifndef CONTROL_HOST_PROBE_H
#define CONTROL_HOST_PROBE_H

#include "control/host/probe_packet.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

/* Tries what packets of a peer meet in this host: whether it forwards them, and whether it takes
 * them in. A packet of a peer that does not exist is given to the host through the tunnel's
 * interface, and the answer is awaited there. Nothing leaves the host: a table of our own, which is
 * there only meanwhile, refuses a forwarded packet behind the rules of all others. */

struct path;
struct probe;

enum { PROBES_MAX = 16 };

struct probe_outcome {
    struct probe_target target;
    enum probe_result result;
};

/* `path` outlives the probe. 0 or a negative errno. */
int probe_open(struct probe **out, uv_loop_t *loop, struct path *path, const char *interface_name);

/* Starts a run; `done` is called on the loop within 6 s, most often within 50 ms, unless the probe
 * is closed first. At most PROBES_MAX targets, whose `from` are inside `networks` (family 0: none):
 * of addresses that peers get last, others from run to run, because the kernel limits its errors to
 * each address. Without `firewall` nothing is forwarded, and the result of PROBE_FORWARD is PROBE_UNKNOWN. False while a
 * run is under way. */
bool probe_start(struct probe *probe, const struct ip_prefix networks[2],
                 const struct probe_target *targets, size_t count, bool firewall,
                 void (*done)(void *ctx, const struct probe_outcome *outcomes, size_t count),
                 void *ctx);

/* Whether a run, or the removal of its table, is under way. */
bool probe_is_busy(const struct probe *probe);

/* Frees the result by the loop's next turns. Takes NULL. */
void probe_close(struct probe *probe);

#endif
