#ifndef CONTROL_HOST_INTERFACE_H
#define CONTROL_HOST_INTERFACE_H

#include "base/err.h"
#include "base/log_once.h"
#include "control/host/own_networks.h"
#include "control/host/repair.h"
#include "control/host/rules.h"
#include "control/host/slot.h"
#include "control/state/plan.h"
#include "control/state/plan_diff.h"
#include "tun/ifconf.h"

#include <stdbool.h>
#include <stdint.h>

/* The kernel's side of one tunnel: link, addresses, routes in a table of its own, and the rules in
 * front of that table. What the kernel refuses is logged, and the rest goes on without it. While
 * the interface is gone (ifindex 0) only rules are changed; interface_come_up makes up for it. */

/* What another program may undo. */
enum interface_part {
    INTERFACE_NAME,
    INTERFACE_MTU,
    INTERFACE_ADDRESSES,
    INTERFACE_RULES,
    INTERFACE_ROUTES,
    INTERFACE_PARTS
};

struct interface {
    struct ifconf_socket *conf;
    char name[IFCONF_NAME_LEN];
    uint32_t ifindex; /* 0: there is none now */
    struct slot slot; /* the mark of our own sockets, and the table */
    struct rules rules;
    struct own_networks own; /* kept out of the tunnel */
    uint32_t mtu;            /* as set last */
    bool ipv6;               /* the interface takes IPv6 addresses */
    struct log_once no_ipv6;
    struct log_once strict_filter;
    bool is_renamed; /* by another program, and its name is taken */
    size_t missing;  /* routes that the kernel did not keep when they were set last */
    struct repair repairs[INTERFACE_PARTS];
};

/* 0 or a negative errno; fini is allowed after a failure. */
int interface_init(struct interface *interface, const char *name);
void interface_fini(struct interface *interface);

/* Removes the rules and routes of its slot, also those of a killed run. */
void interface_clean(struct interface *interface);

/* Brings a new interface up with all that the plan says; addresses, routes and MTU of a former one
 * went with it. An error is what the tunnel cannot do without. */
int interface_come_up(struct interface *interface, uint32_t ifindex, const struct plan *plan,
                      struct err *err);

/* The two halves of a change to the plan `to`: what is no more, then what is new. */
void interface_retract(struct interface *interface, const struct plan *to,
                       const struct plan_delta *delta);
void interface_extend(struct interface *interface, const struct plan *to,
                      const struct plan_delta *delta);

/* For when routes, rules, addresses or links of the host have changed: follows the MTU of the paths
 * to the plan's endpoints and this host's own networks, and puts back what others undid. Returns
 * after how many ms it is to be called again without a change; 0: not. `now_ns` is boot time. */
uint64_t interface_heal(struct interface *interface, const struct plan *plan, uint64_t now_ns);

/* What of the interface others keep undoing; NULL: nothing. */
const char *interface_problem(const struct interface *interface);

#endif
