#include "control/state/peer_config.h"

#include "base/bytes.h"
#include "control/state/plan_node.h"
#include "control/state/state.h"

#include <stdlib.h>
#include <string.h>

/* Allocates with malloc, since protobuf-c frees with free, and remembers a failed allocation. */
struct answer {
    bool failed;
};

static char *copy(struct answer *answer, const char *text)
{
    char *out = strdup(text);
    answer->failed |= out == NULL;
    return out;
}

static void *zeroed(struct answer *answer, size_t count, size_t size)
{
    void *out = calloc(count == 0 ? 1 : count, size);
    answer->failed |= out == NULL;
    return out;
}

static char *address_in(struct answer *answer, const struct ip_addr *addr,
                        const struct ip_prefix *network)
{
    char text[IP_PREFIX_TEXT];
    struct ip_prefix prefix = {.addr = *addr, .len = network->len};
    return copy(answer, addr->family == 0 ? "" : ip_prefix_format(&prefix, text));
}

static Pb__KeyPair *make_keypair(struct answer *answer, const uint8_t key[32])
{
    char text[BASE64_KEY_LEN + 1];
    Pb__KeyPair *keypair = zeroed(answer, 1, sizeof *keypair);
    if (keypair == NULL)
        return NULL;
    pb__key_pair__init(keypair);
    bytes_to_base64(text, key, 32);
    keypair->public_key = copy(answer, text);
    return keypair;
}

static void put_allowed_ips(struct answer *answer, const struct state *state,
                            const struct state_node *node, Pb__Peer *out)
{
    struct plan_node_prefixes prefixes = {.state = state, .node = node};
    struct ip_prefix prefix;
    char text[IP_PREFIX_TEXT];
    size_t count = 0;
    while (plan_node_prefixes_next(&prefixes, &prefix))
        count++;
    prefixes.next = 0;
    out->allowed_ips = zeroed(answer, count, sizeof *out->allowed_ips);
    while (!answer->failed && plan_node_prefixes_next(&prefixes, &prefix)) {
        char *item = copy(answer, ip_prefix_format(&prefix, text));
        out->allowed_ips[out->n_allowed_ips] = item;
        out->n_allowed_ips += item != NULL;
    }
}

/* Describes a node as a peer to connect to. */
static Pb__Peer *make_node(struct answer *answer, const struct state *state,
                           const struct state_node *node, const struct state_peer *peer)
{
    char endpoint[ENDPOINT_TEXT] = "";
    Pb__Peer *out = zeroed(answer, 1, sizeof *out);
    if (out == NULL)
        return NULL;
    pb__peer__init(out);
    if (endpoint_is_set(&node->endpoint))
        endpoint_format(&node->endpoint, endpoint);
    out->id = copy(answer, node->id);
    out->name = copy(answer, node->name);
    out->keypair = make_keypair(answer, node->public_key);
    out->endpoint = copy(answer, endpoint);
    out->peer_ip = copy(answer, node->pb->gateway_ip);
    out->peer_ip6 = copy(answer, node->pb->gateway_ip6);
    if (peer->pb->psk_version != 0 && node->pb->psk_version != 0)
        out->psk_version = RECORD_PSK_VERSION;
    put_allowed_ips(answer, state, node, out);
    return out;
}

static void put_nodes(struct answer *answer, const struct state *state,
                      const struct state_peer *peer, Pb__ConnectResponse *response)
{
    size_t count = state_node_count(state);
    response->peers = zeroed(answer, count, sizeof *response->peers);
    response->node_addresses = zeroed(answer, count, sizeof *response->node_addresses);
    for (size_t i = 0; i < count && !answer->failed; i++) {
        const struct state_node *node = state_node_at(state, i);
        response->peers[i] = make_node(answer, state, node, peer);
        response->n_peers += response->peers[i] != NULL;
        response->node_addresses[i] = copy(answer, node->pb->addr);
        response->n_node_addresses += response->node_addresses[i] != NULL;
    }
}

static void put_dns(struct answer *answer, const struct state *state, const char *domain,
                    Pb__ConnectResponse *response)
{
    size_t count = state_node_count(state);
    response->dns_domain = copy(answer, domain);
    response->dns = zeroed(answer, count, sizeof *response->dns);
    for (size_t i = 0; i < count && !answer->failed; i++) {
        response->dns[i] = copy(answer, state_node_at(state, i)->pb->gateway_ip);
        response->n_dns += response->dns[i] != NULL;
    }
}

Pb__ConnectResponse *peer_config_build(const struct state *state, const char *peer_id,
                                       const char *dns_domain)
{
    const struct state_settings *settings = state_settings(state);
    const struct state_peer *peer = state_peer(state, peer_id);
    struct answer answer = {false};
    if (peer == NULL)
        return NULL;
    Pb__ConnectResponse *response = zeroed(&answer, 1, sizeof *response);
    if (response == NULL)
        return NULL;
    pb__connect_response__init(response);
    response->keypair = make_keypair(&answer, peer->public_key);
    response->address = address_in(&answer, &peer->address, &settings->peer_network);
    response->address6 = address_in(&answer, &peer->address6, &settings->peer_network6);
    put_nodes(&answer, state, peer, response);
    if (state_authorization(state, peer_id) != NULL)
        response->psk_round = state_authorization(state, peer_id)->pb->rekeys;
    if (dns_domain != NULL)
        put_dns(&answer, state, dns_domain, response);
    if (!answer.failed)
        return response;
    pb__connect_response__free_unpacked(response, NULL);
    return NULL;
}
