#ifndef CONTROL_STATE_PRESENCE_H
#define CONTROL_STATE_PRESENCE_H

#include "control/state/change.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* When peers were seen last, and which have not been for too long. Pure: clocks, and what the
 * tunnel and the control API say, come in as arguments. */

struct presence;
struct state;
struct state_peer;
struct wg_peer_info;

/* A peer not seen for `expiry_ns` is to be removed; 0: never. 0 or -ENOMEM. */
int presence_create(struct presence **out, uint64_t expiry_ns, const uint8_t seed[16]);
void presence_destroy(struct presence *presence);

/* How often to look. */
uint64_t presence_interval_ns(const struct presence *presence);

/* One look: begin, then every peer that holds a stream and every peer of the tunnel, then end.
 * `boot_ns` runs on while the host sleeps, `real_ns` is since the UNIX epoch. A first look, or one
 * that comes much later than the interval says, gives all peers time to come back: nobody was
 * watched in between. */
void presence_begin(struct presence *presence, uint64_t boot_ns, uint64_t real_ns);
void presence_see(struct presence *presence, const uint8_t public_key[32]);
void presence_see_tunnel(struct presence *presence, const struct wg_peer_info *peer);
void presence_end(struct presence *presence, const struct state *state);

/* When the peer was seen last, nanoseconds since the UNIX epoch: here or as its record says. */
uint64_t presence_seen_ns(const struct presence *presence, const struct state_peer *peer);

/* Collects the peers that were seen much later than their records say, `capacity` at most: to be
 * repeated until there are none. The ids are the state's. */
size_t presence_collect(const struct presence *presence, const struct state *state,
                        struct change_seen *out, size_t capacity);

/* Whether a new record of the peer says when it was seen and nothing else that is new. */
bool presence_is_only_seen(const struct state_peer *had, const uint8_t *record, size_t len);

/* The id of a peer that is to be removed, or NULL. */
const char *presence_expired(const struct presence *presence, const struct state *state);

#endif
