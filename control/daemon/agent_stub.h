#ifndef CONTROL_DAEMON_AGENT_STUB_H
#define CONTROL_DAEMON_AGENT_STUB_H

#include "base/addr.h"
#include "proto/heimdall.pb-c.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct agent_stub;
struct resolver_paths;

/* The stub of hpeer: DNS for this host alone, on port 53 of a loopback address. */

struct agent_stub_options {
    uv_loop_t *loop;
    const struct resolver_paths *paths; /* outlives the stub */
    const char *outer_name;             /* the node's name in --addr, or NULL */
    uint32_t mark;                      /* for it */
};

/* 0, or a negative errno when no loopback address has a free port 53. */
int agent_stub_open(struct agent_stub **out, const struct agent_stub_options *options);

/* The nameserver for the host's resolver. */
const struct ip_addr *agent_stub_address(const struct agent_stub *stub);

/* Follows a node's answer, with the `count` resolvers that were taken from it, and the host's own
 * resolvers. */
void agent_stub_follow(struct agent_stub *stub, const Pb__ConnectResponse *response,
                       const struct ip_addr *nodes, size_t count);

/* Its memory is freed by the loop's next turns. Takes NULL. */
void agent_stub_close(struct agent_stub *stub);

#endif
