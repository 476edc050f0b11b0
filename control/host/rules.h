#ifndef CONTROL_HOST_RULES_H
#define CONTROL_HOST_RULES_H

#include "base/log_once.h"
#include "tun/ifconf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The policy rules in front of one tunnel's routing table. The kernel asks them in this order, all
 * of them for packets without our mark:
 *
 *   5200  our table, without its default route
 *   5201  the main table, without its default route     with an exit node
 *   5202  our table's default route                     with an exit node
 *   5203  refused                                       with an exit node
 *
 * The last one is why nothing leaks past an exit node: a family that it does not publish, and all
 * of it while the interface is away, ends there and not at the main table's default route. The
 * first one goes further to the front when another program's rule hides it. */

enum { RULES_FAMILIES = 2 };

struct rules {
    struct ifconf_socket *conf; /* borrowed */
    uint32_t mark;
    uint32_t table;
    uint32_t priority[RULES_FAMILIES]; /* of the first rule: IPv4, IPv6 */
    unsigned moves;
    bool exit;
    struct log_once hidden;
};

void rules_init(struct rules *rules, struct ifconf_socket *conf, uint32_t mark, uint32_t table);

/* Removes the rules of this table, also those of a killed run, and those of tables that no running
 * tunnel holds. */
void rules_clean(struct rules *rules);

/* Adds the first rule, where it is missing, and with an exit node the others. 0 or a negative
 * errno, when the first one cannot be had. */
int rules_set(struct rules *rules, bool ipv6);

/* How many of those rules the kernel does not have. */
size_t rules_missing(struct rules *rules, bool ipv6);

void rules_set_exit(struct rules *rules, bool exit);

/* Asks the kernel where it sends a packet to `dest`, an address that the table routes to the
 * interface. When another program's rule sends it elsewhere, puts the first rule in front of that
 * one. Gives up, and logs it once, when there is no room in front or the others keep coming. */
void rules_lead(struct rules *rules, const struct ip_addr *dest, uint32_t ifindex);

/* Whether the kernel sends what is for the world at large through the interface, or refuses it. */
bool rules_exit_holds(const struct rules *rules, uint32_t ifindex);

#endif
