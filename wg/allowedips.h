#ifndef WG_ALLOWEDIPS_H
#define WG_ALLOWEDIPS_H

#include "base/addr.h"
#include "base/list.h"
#include "wg/garbage.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct allowedips_node;
struct wg_peer;

/* Maps addresses to peers: the longest matching prefix decides, for IPv4 and IPv6. Lookups take no
 * lock and may run during any change. Changes serialise on the owner's lock; each is one atomic
 * store, which a lookup sees whole or not at all. A peer must outlive the grace period after its
 * last prefix was removed. */
struct allowedips {
    _Atomic(struct allowedips_node *) roots[2]; /* IPv4, IPv6 */
    size_t count;                               /* prefixes that have an owner */
};

void allowedips_init(struct allowedips *table);

/* Frees at once: no reader may remain, and the peers' lists become invalid. */
void allowedips_fini(struct allowedips *table);

/* Gives the prefix, masked here, to `peer`, taking it from any other. `owned` is the list of the
 * peer's prefixes (list_init once), touched by writers only. Returns 0, or -ENOMEM with nothing
 * changed; never fails for a prefix that is in the table. */
int allowedips_insert(struct allowedips *table, const struct ip_prefix *prefix,
                      struct wg_peer *peer, struct list *owned);

/* Removes the prefix from `peer`. False when it is not the peer's. */
bool allowedips_remove(struct allowedips *table, const struct ip_prefix *prefix,
                       const struct wg_peer *peer, struct garbage *garbage);

/* Removes all prefixes on a peer's list, which ends empty. */
void allowedips_remove_all(struct allowedips *table, struct list *owned, struct garbage *garbage);

/* The owner of exactly this prefix, or NULL. */
struct wg_peer *allowedips_owner(const struct allowedips *table, const struct ip_prefix *prefix);

/* Reads the prefix at one position of a peer's list: list_for_each(pos, owned)
 * allowedips_prefix(pos, &prefix). */
void allowedips_prefix(const struct list *pos, struct ip_prefix *out);

/* The owner of an address of 4 (family 4) or 16 bytes (family 6) in network order, or NULL. */
struct wg_peer *allowedips_lookup(const struct allowedips *table, uint8_t family,
                                  const uint8_t *bytes);

#endif
