#include "control/state/state_entry.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

static bool parse_key(const Pb__KeyPair *keypair, uint8_t out[32])
{
    return keypair != NULL && strlen(keypair->public_key) == BASE64_KEY_LEN &&
           bytes_from_base64(out, 32, keypair->public_key) && !bytes_is_zero_ct(out, 32);
}

/* A network of one family, with no bits set beyond its length. */
static bool parse_network(struct ip_prefix *out, const char *text, uint8_t family)
{
    return ip_prefix_parse(out, text) && out->addr.family == family && ip_prefix_is_masked(out);
}

static bool parse_addr(struct ip_addr *out, const char *text, uint8_t family)
{
    return ip_addr_parse(out, text) && out->family == family;
}

/* DNS labels have no case, so names are compared in lower case. */
static const char *fold(char *name)
{
    for (char *c = name; *c != '\0'; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    return name;
}

static bool parse_node(struct state_node *node, const char *name)
{
    const Pb__Node *pb = node->pb;
    struct ip_addr endpoint;
    node->id = pb->id;
    node->name = fold(pb->name);
    node->join_seq = pb->join_seq;
    if (pb->endpoint_port > 0 && pb->endpoint_port <= UINT16_MAX &&
        ip_addr_parse(&endpoint, pb->endpoint_ip))
        endpoint_from_addr(&node->endpoint, &endpoint, (uint16_t)pb->endpoint_port);
    bool has6 = pb->network6[0] != '\0';
    return strcmp(pb->id, name) == 0 && parse_key(pb->keypair, node->public_key) &&
           parse_network(&node->network, pb->network, 4) &&
           parse_addr(&node->gateway, pb->gateway_ip, 4) &&
           ip_prefix_contains(&node->network, &node->gateway) &&
           (!has6 || (parse_network(&node->network6, pb->network6, 6) &&
                      parse_addr(&node->gateway6, pb->gateway_ip6, 6) &&
                      ip_prefix_contains(&node->network6, &node->gateway6)));
}

static bool parse_peer(struct state_peer *peer, const char *name)
{
    const Pb__Peer *pb = peer->pb;
    peer->id = pb->id;
    peer->name = fold(pb->name);
    return strcmp(pb->id, name) == 0 && parse_key(pb->keypair, peer->public_key) &&
           parse_addr(&peer->address, pb->peer_ip, 4) &&
           (pb->peer_ip6[0] == '\0' || parse_addr(&peer->address6, pb->peer_ip6, 6));
}

static bool parse_route(struct state_route *route, const char *name)
{
    char text[IP_PREFIX_TEXT];
    route->node_id = route->pb->node_id;
    return strcmp(route->pb->network, name) == 0 && ip_prefix_parse(&route->network, name) &&
           ip_prefix_is_masked(&route->network) &&
           strcmp(ip_prefix_format(&route->network, text), name) == 0 && route->node_id[0] != '\0';
}

static bool parse_node_network(struct state_network *network, const char *name)
{
    network->node_id = network->pb->node_id;
    return strcmp(network->node_id, name) == 0 &&
           parse_network(&network->network, network->pb->network, 4);
}

static bool parse_authorization(struct state_authorization *authorization, const char *name)
{
    authorization->id = authorization->pb->id;
    authorization->name = fold(authorization->pb->name);
    return strcmp(authorization->id, name) == 0;
}

static bool parse_request(struct state_request *request, const char *name)
{
    request->name = request->pb->name;
    return strcmp(request->name, name) == 0;
}

/* The parse and free functions of an entry type: unpack, check, free on damage. */
#define DEFINE_ENTRY(type, check, unpack, free_message)                                            \
    struct state_##type *state_##type##_parse(const char *name, const uint8_t *value, size_t len,  \
                                              bool *damaged)                                       \
    {                                                                                              \
        struct state_##type *entry = calloc(1, sizeof *entry);                                     \
        *damaged = false;                                                                          \
        if (entry == NULL)                                                                         \
            return NULL;                                                                           \
        entry->pb = unpack(NULL, len, value);                                                      \
        if (entry->pb != NULL && check(entry, name))                                               \
            return entry;                                                                          \
        *damaged = true;                                                                           \
        state_##type##_free(entry);                                                                \
        return NULL;                                                                               \
    }                                                                                              \
    void state_##type##_free(struct state_##type *entry)                                           \
    {                                                                                              \
        if (entry == NULL)                                                                         \
            return;                                                                                \
        if (entry->pb != NULL)                                                                     \
            free_message(entry->pb, NULL);                                                         \
        free(entry);                                                                               \
    }

DEFINE_ENTRY(node, parse_node, pb__node__unpack, pb__node__free_unpacked)
DEFINE_ENTRY(peer, parse_peer, pb__peer__unpack, pb__peer__free_unpacked)
DEFINE_ENTRY(route, parse_route, pb__route__unpack, pb__route__free_unpacked)
DEFINE_ENTRY(network, parse_node_network, pb__route__unpack, pb__route__free_unpacked)
DEFINE_ENTRY(authorization, parse_authorization, pb__authorization__unpack,
             pb__authorization__free_unpacked)
DEFINE_ENTRY(request, parse_request, pb__made_request__unpack, pb__made_request__free_unpacked)

struct state_address *state_address_parse(const char *name, const uint8_t *value, size_t len,
                                          bool *damaged)
{
    struct ip_addr addr;
    char text[IP_ADDR_TEXT];
    *damaged = len == 0 || memchr(value, '\0', len) != NULL || !ip_addr_parse(&addr, name) ||
               strcmp(ip_addr_format(&addr, text), name) != 0;
    if (*damaged)
        return NULL;
    struct state_address *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return NULL;
    entry->addr = addr;
    entry->owner = strndup((const char *)value, len);
    if (entry->owner != NULL)
        return entry;
    free(entry);
    return NULL;
}

void state_address_free(struct state_address *address)
{
    if (address == NULL)
        return;
    free(address->owner);
    free(address);
}

/* An empty text turns the network off. */
static bool parse_setting(struct ip_prefix *out, const char *text, uint8_t family)
{
    struct ip_prefix parsed = {0};
    if (text[0] != '\0' && !parse_network(&parsed, text, family))
        return false;
    *out = parsed;
    return true;
}

bool state_settings_parse(struct state_settings *settings, const char *field, const uint8_t *value,
                          size_t len)
{
    char text[sizeof settings->cluster];
    if (len >= sizeof text || memchr(value, '\0', len) != NULL)
        return false;
    memcpy(text, value, len);
    text[len] = '\0';
    if (strcmp(field, "cluster") == 0) {
        memcpy(settings->cluster, text, len + 1);
        return true;
    }
    if (strcmp(field, "node_network") == 0)
        return parse_setting(&settings->node_network, text, 4);
    if (strcmp(field, "peer_network") == 0)
        return parse_setting(&settings->peer_network, text, 4);
    if (strcmp(field, "node_network6") == 0)
        return parse_setting(&settings->node_network6, text, 6);
    if (strcmp(field, "peer_network6") == 0)
        return parse_setting(&settings->peer_network6, text, 6);
    return true;
}
