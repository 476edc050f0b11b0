#ifndef CONTROL_HOST_FORWARDING_H
#define CONTROL_HOST_FORWARDING_H

#include "control/host/repair.h"

#include <stdbool.h>

/* The kernel's forwarding of packets between interfaces, as a node needs it. */

struct forwarding {
    bool works[2];       /* for IPv4 and IPv6: the kernel forwards */
    bool switched_on[2]; /* by us */
    struct repair repair;
};

/* Switches forwarding on where it is off, for IPv6 only with `ipv6`. A refusal is logged. */
void forwarding_enable(struct forwarding *forwarding, bool ipv6);

/* Looks whether the kernel still forwards, and switches it on again where another program switched
 * it off; `*wait_ms` as in repair.h. */
void forwarding_heal(struct forwarding *forwarding, bool ipv6, uint64_t now_ns, uint64_t *wait_ms);

/* Switches off what forwarding_enable switched on. Takes a zeroed one. */
void forwarding_restore(struct forwarding *forwarding);

#endif
