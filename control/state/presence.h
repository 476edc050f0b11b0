#ifndef CONTROL_STATE_PRESENCE_H
#define CONTROL_STATE_PRESENCE_H

#include "control/state/change.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* When peers were last seen, and which have been absent for too long. Pure: clocks, and what the
 * tunnel and the control API report, are arguments.
 *
 * Absence is elapsed time, measured on the boot clock while a node watches. Records carry it over a
 * restart, or to another node, in steps of an eighth of the expiry. Wall-clock times are written
 * for people and never compared: a clock that jumps removes nobody. */

struct presence;
struct state;
struct state_peer;
struct wg_peer_info;

/* A peer that is absent for `expiry_ns` expires; 0: none does. 0 or -ENOMEM. */
int presence_create(struct presence **out, uint64_t expiry_ns, const uint8_t seed[16]);
void presence_destroy(struct presence *presence);

/* How often to look. */
uint64_t presence_interval_ns(const struct presence *presence);

/* One look: begin, then every peer that holds a stream and every peer of the tunnel, then end.
 * `boot_ns` counts through system sleep, `real_ns` is since the UNIX epoch. A first look, or one
 * that comes much later than the interval, gives all peers time to come back: nobody watched in
 * between. */
void presence_begin(struct presence *presence, uint64_t boot_ns, uint64_t real_ns);
void presence_see(struct presence *presence, const uint8_t public_key[32]);
void presence_see_tunnel(struct presence *presence, const struct wg_peer_info *peer);
void presence_end(struct presence *presence, const struct state *state);

/* How long the peer had been absent at the last look; 0 for one that no look has found yet. */
uint64_t presence_absent_ns(const struct presence *presence, const struct state_peer *peer);

/* Collects the peers whose records are to be written, `capacity` at most: repeat until there are
 * none. A peer that is always there is written once a day, one that is away at each step of its
 * absence, so that the log of changes stays short. The ids are the state's. */
size_t presence_collect(struct presence *presence, const struct state *state,
                        struct change_seen *out, size_t capacity);

/* Whether a new record of the peer differs in nothing but when it was seen. */
bool presence_is_only_seen(const struct state_peer *had, const uint8_t *record, size_t len);

/* The id of a peer that has expired, or NULL. */
const char *presence_expired(const struct presence *presence, const struct state *state);

#endif
