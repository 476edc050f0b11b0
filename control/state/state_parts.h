#ifndef CONTROL_STATE_STATE_PARTS_H
#define CONTROL_STATE_STATE_PARTS_H

#include "base/map.h"
#include "control/state/state.h"
#include "control/state/state_table.h"

/* The inside of a state, for state.c and state_lookup.c.
 *
 * Every entry is in a map by what names its record and, except addresses, in an ordered table. The
 * maps borrow their keys, names and ids from the entries. Names are stored in lower case. */
struct state {
    uint64_t epoch;
    uint64_t rev;
    size_t damaged;
    uint64_t offset_floor;
    struct state_settings settings;
    Pb__Master *master;
    struct map nodes;
    struct map peers;
    struct map routes;
    struct map networks;
    struct map authorizations;
    struct map addresses; /* by struct ip_addr */
    struct map node_keys;
    struct map node_names;
    struct map peer_keys;
    struct map peer_names;
    struct map authorization_names;
    struct map requests;
    struct state_table nodes_ordered;
    struct state_table peers_ordered;
    struct state_table routes_ordered;
    struct state_table networks_ordered;
    struct state_table authorizations_ordered;
    struct state_table requests_ordered;
};

#endif
