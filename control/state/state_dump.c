#include "base/buffer.h"
#include "control/state/state.h"

#include <protobuf-c/protobuf-c.h>
#include <stdlib.h>

/* Dumps the packed message in hex, so that unknown fields count too. */
static void dump_message(struct buffer *out, const char *kind, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(len + 1);
    if (packed == NULL) {
        out->failed = true;
        return;
    }
    protobuf_c_message_pack(message, packed);
    buffer_printf(out, "%s ", kind);
    for (size_t i = 0; i < len; i++)
        buffer_printf(out, "%02x", packed[i]);
    buffer_append_string(out, "\n");
    free(packed);
}

static void dump_network(struct buffer *out, const char *name, const struct ip_prefix *prefix)
{
    char text[IP_PREFIX_TEXT] = "";
    if (prefix->addr.family != 0)
        ip_prefix_format(prefix, text);
    buffer_printf(out, "%s %s\n", name, text);
}

static void dump_owner(const struct state *state, struct buffer *out, const struct ip_addr *addr)
{
    char text[IP_ADDR_TEXT];
    if (addr->family == 0)
        return;
    const char *owner = state_address_owner(state, addr);
    buffer_printf(out, "peerip %s %s\n", ip_addr_format(addr, text), owner == NULL ? "" : owner);
}

void state_dump(const struct state *state, struct buffer *out)
{
    const struct state_settings *settings = state_settings(state);
    buffer_printf(out, "position %llu %llu\ncluster %s\n", (unsigned long long)state_epoch(state),
                  (unsigned long long)state_rev(state), settings->cluster);
    dump_network(out, "node_network", &settings->node_network);
    dump_network(out, "peer_network", &settings->peer_network);
    dump_network(out, "node_network6", &settings->node_network6);
    dump_network(out, "peer_network6", &settings->peer_network6);
    if (state_master(state) != NULL)
        dump_message(out, "master", &state_master(state)->base);
    for (size_t i = 0; i < state_node_count(state); i++)
        dump_message(out, "node", &state_node_at(state, i)->pb->base);
    for (size_t i = 0; i < state_network_count(state); i++)
        dump_message(out, "nodenetwork", &state_network_at(state, i)->pb->base);
    for (size_t i = 0; i < state_authorization_count(state); i++)
        dump_message(out, "authorized", &state_authorization_at(state, i)->pb->base);
    for (size_t i = 0; i < state_peer_count(state); i++) {
        const struct state_peer *peer = state_peer_at(state, i);
        dump_message(out, "peer", &peer->pb->base);
        dump_owner(state, out, &peer->address);
        dump_owner(state, out, &peer->address6);
    }
    for (size_t i = 0; i < state_route_count(state); i++)
        dump_message(out, "route", &state_route_at(state, i)->pb->base);
    buffer_printf(out, "floor %llu\n", (unsigned long long)state_peer_offset_floor(state));
}
