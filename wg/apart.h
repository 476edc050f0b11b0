#ifndef WG_APART_H
#define WG_APART_H

#include "base/addr.h"
#include "wg/garbage.h"

#include <stdbool.h>
#include <stddef.h>

struct ip_packet;

/* Networks whose hosts are kept apart: no packet passes from one of them to another. Constant once
 * published; readers take no lock. */
struct apart {
    struct garbage_item garbage;
    size_t count;
    struct ip_prefix prefixes[];
};

/* NULL when out of memory. `prefixes` is copied. */
struct apart *apart_create(const struct ip_prefix *prefixes, size_t count);

/* Takes NULL. */
void apart_destroy(struct apart *apart);

/* For the garbage. */
void apart_free_item(struct garbage_item *item);

/* Whether the packet is from one of the hosts to another. False for NULL. */
bool apart_refuses(const struct apart *apart, const struct ip_packet *packet);

#endif
