#include "control/api/walk.h"

#include "base/search.h"
#include "control/state/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void walk_begin(struct walk *walk, enum walk_part part)
{
    *walk = (struct walk){.part = part};
}

size_t walk_count(const struct walk *walk, const struct state *state)
{
    switch (walk->part) {
    case WALK_NODES:
        return state_node_count(state);
    case WALK_ROUTES:
        return state_route_count(state);
    case WALK_AUTHORIZATIONS:
        return state_authorization_count(state);
    case WALK_PEERS:
        return state_peer_count(state);
    case WALK_END:
        break;
    }
    return 0;
}

ProtobufCMessage *walk_record(const struct walk *walk, const struct state *state, size_t i)
{
    switch (walk->part) {
    case WALK_NODES:
        return &state_node_at(state, i)->pb->base;
    case WALK_ROUTES:
        return &state_route_at(state, i)->pb->base;
    case WALK_AUTHORIZATIONS:
        return &state_authorization_at(state, i)->pb->base;
    case WALK_PEERS:
        return &state_peer_at(state, i)->pb->base;
    case WALK_END:
        break;
    }
    return NULL;
}

/* Compares a record of the part with the last one taken, in the order of state.h. */
static int compare_with_last(const struct walk *walk, const struct state *state, size_t i)
{
    switch (walk->part) {
    case WALK_NODES: {
        const struct state_node *node = state_node_at(state, i);
        if (node->join_seq != walk->join_seq)
            return node->join_seq < walk->join_seq ? -1 : 1;
        return strcmp(node->id, walk->id);
    }
    case WALK_ROUTES: {
        const struct ip_prefix *network = &state_route_at(state, i)->network;
        int order = ip_addr_compare(&network->addr, &walk->network.addr);
        return order != 0 ? order : (int)network->len - (int)walk->network.len;
    }
    case WALK_AUTHORIZATIONS:
        return strcmp(state_authorization_at(state, i)->id, walk->id);
    case WALK_PEERS:
        return strcmp(state_peer_at(state, i)->id, walk->id);
    case WALK_END:
        break;
    }
    return 1;
}

struct position {
    const struct walk *walk;
    const struct state *state;
};

static bool was_taken(const void *ctx, size_t place)
{
    const struct position *position = ctx;
    return compare_with_last(position->walk, position->state, place) <= 0;
}

size_t walk_place(const struct walk *walk, const struct state *state)
{
    size_t count = walk->begun ? walk_count(walk, state) : 0;
    return search_place(count, was_taken, &(struct position){walk, state});
}

void walk_take(struct walk *walk, const struct state *state, size_t i)
{
    const char *id = "";
    walk->begun = true;
    switch (walk->part) {
    case WALK_NODES:
        walk->join_seq = state_node_at(state, i)->join_seq;
        id = state_node_at(state, i)->id;
        break;
    case WALK_ROUTES:
        walk->network = state_route_at(state, i)->network;
        break;
    case WALK_AUTHORIZATIONS:
        id = state_authorization_at(state, i)->id;
        break;
    case WALK_PEERS:
        id = state_peer_at(state, i)->id;
        break;
    case WALK_END:
        break;
    }
    snprintf(walk->id, sizeof walk->id, "%s", id);
}

/* ---- as a word: "n" for a part of which nothing was taken, else "n:SEQ:ID", "r:CIDR", "a:ID",
 * "p:ID" ---- */

static const char letters[] = {
    [WALK_NODES] = 'n', [WALK_ROUTES] = 'r', [WALK_AUTHORIZATIONS] = 'a',
    [WALK_PEERS] = 'p', [WALK_END] = '\0',
};

const char *walk_token(const struct walk *walk, char out[WALK_TOKEN])
{
    char network[IP_PREFIX_TEXT];
    char letter = letters[walk->part];
    if (letter == '\0' || !walk->begun)
        snprintf(out, WALK_TOKEN, "%c", letter);
    else if (walk->part == WALK_NODES)
        snprintf(out, WALK_TOKEN, "n:%" PRIu64 ":%s", walk->join_seq, walk->id);
    else
        snprintf(out, WALK_TOKEN, "%c:%s", letter,
                 walk->part == WALK_ROUTES ? ip_prefix_format(&walk->network, network) : walk->id);
    return out;
}

bool walk_parse(struct walk *walk, const char *token)
{
    const char *part = token[0] != '\0' ? memchr(letters, token[0], WALK_END) : NULL;
    if (part == NULL)
        return false;
    walk_begin(walk, (enum walk_part)(part - letters));
    if (token[1] == '\0')
        return true;
    const char *text = token + 2;
    if (token[1] != ':')
        return false;
    if (walk->part == WALK_NODES) {
        char *end;
        walk->join_seq = strtoull(text, &end, 10);
        if (end == text || *end != ':')
            return false;
        text = end + 1;
    }
    walk->begun = true;
    if (walk->part == WALK_ROUTES)
        return ip_prefix_parse(&walk->network, text);
    return snprintf(walk->id, sizeof walk->id, "%s", text) < (int)sizeof walk->id;
}
