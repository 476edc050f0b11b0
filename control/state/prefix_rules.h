#ifndef CONTROL_STATE_PREFIX_RULES_H
#define CONTROL_STATE_PREFIX_RULES_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>

/* Which networks an overlay may lead to: nodes refuse to publish others, and peers to follow them.
 */

/* The largest network that a plan has room for. Both ends hold to it. */
enum { PREFIX_NODES_MAX = 4096, PREFIX_ROUTES_MAX = 16384 };

/* True for a network that overlaps loopback, link-local, multicast or "this network" (RFC 6890). */
bool prefix_is_reserved(const struct ip_prefix *network);

/* True when the networks together cover more than an eighth of the public address space of either
 * family, in whatever pieces: that takes a host's traffic as a default route does. Private networks
 * and those of length 0 do not count. Puts the list in order. */
bool prefixes_cover_too_much(struct ip_prefix *list, size_t count);

#endif
