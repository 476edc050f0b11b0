#ifndef CONTROL_HOST_TUNNEL_H
#define CONTROL_HOST_TUNNEL_H

#include "base/err.h"
#include "control/state/plan.h"
#include "wg/path/path.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* A running tunnel that follows plans: interface, engine, addresses, routes in a table of its own
 * behind a rule, the firewall of a node, the UAPI socket for `wg show`. Each plan changes only what
 * differs from the one before. An interface that somebody removes is made anew, after ever longer
 * pauses if that goes on. The MTU follows the ways to the endpoints. All calls are made on the
 * loop's thread. */

struct tunnel;
struct plan_touched;

struct tunnel_options {
    uv_loop_t *loop;
    const char *interface_name;
    const uint8_t *private_key; /* 32 bytes */
    uint16_t listen_port;       /* 0: a free one */
    bool firewall;              /* a node: forwarding, and a table of its own in nftables */
    bool peer_to_peer;
    const char *node_interface; /* NULL: every one but the tunnel */
    void *ctx;
    /* The interface was removed by somebody and made anew: what others tied to it (a resolver that
     * knows interfaces) is to be tied again. May be NULL. */
    void (*recreated)(void *ctx);
    /* Addresses, routes or links of the host have changed, a moment ago. May be NULL. */
    void (*network_changed)(void *ctx);
};

/* Removes what a killed run left behind, makes the interface, starts the engine without peers. On
 * an error nothing is left. */
int tunnel_open(struct tunnel **out, const struct tunnel_options *options, struct err *err);

/* Removes everything again. The loop must run once more before it is closed. Takes NULL. */
void tunnel_close(struct tunnel *tunnel);

/* Takes the plan over (it is empty afterwards), also on an error. When `touched` is given, the plan
 * is a part (plan_part.h) and all other peers stay as they are. What the kernel refuses is logged,
 * and the rest goes on without it. An error means that the engine did not take the plan. */
int tunnel_follow(struct tunnel *tunnel, struct plan *plan, const struct plan_touched *touched,
                  struct err *err);

/* Forgets the sessions with a peer of the plan and begins a new one: for when the other side is
 * known to have lost them, which it could not say otherwise. Unknown keys are 0. */
int tunnel_renew(struct tunnel *tunnel, const uint8_t public_key[WG_KEY_LEN], struct err *err);

/* Takes the peer's next handshake even if the peer's clock has gone back since the last one: for a
 * peer that has just proved over the control API who it is. Sessions stay. Unknown keys are 0. */
int tunnel_forget_timestamp(struct tunnel *tunnel, const uint8_t public_key[WG_KEY_LEN],
                            struct err *err);

/* Sends something to every peer in use, so that it learns the address from which this host sends
 * now, without waiting for what it sends itself. */
void tunnel_greet(struct tunnel *tunnel);

/* The plan in force. */
const struct plan *tunnel_current(const struct tunnel *tunnel);

/* What the path says; path_info_fini. */
int tunnel_info(struct tunnel *tunnel, struct path_info *out);

/* The path of the UAPI socket while its file is not there, else NULL. */
const char *tunnel_missing_socket(const struct tunnel *tunnel);

/* For tests of the host (probe.h). */
struct path *tunnel_path(const struct tunnel *tunnel);

/* Of sockets that must not go through the tunnel. */
uint32_t tunnel_fwmark(const struct tunnel *tunnel);

/* The number of its routing table. */
uint32_t tunnel_table(const struct tunnel *tunnel);

/* Whether the kernel sends what is for the world at large through the tunnel, as a plan with an
 * exit node asks: another program's routing rules may not let it. */
bool tunnel_exit_holds(const struct tunnel *tunnel);

/* Whether the interface takes IPv6 addresses. */
bool tunnel_has_ipv6(const struct tunnel *tunnel);

/* Whether the kernel forwards packets, and whether the firewall is set up as asked. */
bool tunnel_forwards(const struct tunnel *tunnel);
/* What of the interface others keep undoing; NULL: nothing. */
const char *tunnel_problem(const struct tunnel *tunnel);

/* Why the firewall does not stand as asked; NULL: it does. */
const char *tunnel_firewall_problem(const struct tunnel *tunnel);
const uint8_t *tunnel_public_key(const struct tunnel *tunnel);

#endif
