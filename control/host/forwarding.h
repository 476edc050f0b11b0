#ifndef CONTROL_HOST_FORWARDING_H
#define CONTROL_HOST_FORWARDING_H

#include <stdbool.h>

/* The kernel's forwarding of packets between interfaces, as a node needs it. */

struct forwarding {
    bool works[2];       /* for IPv4 and IPv6: the kernel forwards */
    bool switched_on[2]; /* by us */
};

/* Switches forwarding on where it is off, for IPv6 only with `ipv6`. A refusal is logged. */
void forwarding_enable(struct forwarding *forwarding, bool ipv6);

/* Switches off what forwarding_enable switched on. Takes a zeroed one. */
void forwarding_restore(struct forwarding *forwarding);

#endif
