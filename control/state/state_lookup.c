#include "control/state/state_entry.h"
#include "control/state/state_parts.h"

#include <ctype.h>
#include <string.h>

/* The maps hold names in lower case. Returns the length. */
static size_t lower(char *out, size_t capacity, const char *name)
{
    size_t len = 0;
    for (; name[len] != '\0' && len < capacity; len++)
        out[len] = (char)tolower((unsigned char)name[len]);
    return len;
}

static void *by_name(const struct map *map, const char *name)
{
    char text[64];
    return map_get(map, text, lower(text, sizeof text, name));
}

const struct state_node *state_node(const struct state *state, const char *id)
{
    return map_get(&state->nodes, id, strlen(id));
}

const struct state_node *state_node_by_key(const struct state *state, const uint8_t key[32])
{
    return map_get(&state->node_keys, key, 32);
}

const struct state_node *state_node_by_name(const struct state *state, const char *name)
{
    return by_name(&state->node_names, name);
}

const struct state_peer *state_peer(const struct state *state, const char *id)
{
    return map_get(&state->peers, id, strlen(id));
}

const struct state_peer *state_peer_by_key(const struct state *state, const uint8_t key[32])
{
    return map_get(&state->peer_keys, key, 32);
}

const struct state_peer *state_peer_by_name(const struct state *state, const char *name)
{
    return by_name(&state->peer_names, name);
}

const struct state_authorization *state_authorization_by_name(const struct state *state,
                                                              const char *name)
{
    return by_name(&state->authorization_names, name);
}

const struct state_authorization *state_authorization(const struct state *state, const char *id)
{
    return map_get(&state->authorizations, id, strlen(id));
}

const struct state_network *state_network(const struct state *state, const char *node_id)
{
    return map_get(&state->networks, node_id, strlen(node_id));
}

const struct state_request *state_request(const struct state *state, const char *name)
{
    return map_get(&state->requests, name, strlen(name));
}

size_t state_request_count(const struct state *state)
{
    return state->requests_ordered.count;
}

const struct state_request *state_request_at(const struct state *state, size_t i)
{
    return state->requests_ordered.items[i];
}

const struct state_route *state_route(const struct state *state, const struct ip_prefix *network)
{
    char text[IP_PREFIX_TEXT];
    ip_prefix_format(network, text);
    return map_get(&state->routes, text, strlen(text));
}

const char *state_address_owner(const struct state *state, const struct ip_addr *addr)
{
    const struct state_address *address = map_get(&state->addresses, addr, sizeof *addr);
    return address == NULL ? NULL : address->owner;
}

size_t state_node_count(const struct state *state)
{
    return state->nodes_ordered.count;
}

const struct state_node *state_node_at(const struct state *state, size_t i)
{
    return state->nodes_ordered.items[i];
}

size_t state_peer_count(const struct state *state)
{
    return state->peers_ordered.count;
}

const struct state_peer *state_peer_at(const struct state *state, size_t i)
{
    return state->peers_ordered.items[i];
}

size_t state_route_count(const struct state *state)
{
    return state->routes_ordered.count;
}

const struct state_route *state_route_at(const struct state *state, size_t i)
{
    return state->routes_ordered.items[i];
}

size_t state_authorization_count(const struct state *state)
{
    return state->authorizations_ordered.count;
}

const struct state_authorization *state_authorization_at(const struct state *state, size_t i)
{
    return state->authorizations_ordered.items[i];
}

size_t state_network_count(const struct state *state)
{
    return state->networks_ordered.count;
}

const struct state_network *state_network_at(const struct state *state, size_t i)
{
    return state->networks_ordered.items[i];
}
