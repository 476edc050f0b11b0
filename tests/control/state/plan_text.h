#ifndef TESTS_CONTROL_STATE_PLAN_TEXT_H
#define TESTS_CONTROL_STATE_PLAN_TEXT_H

#include "control/state/plan.h"
#include "control/state/plan_diff.h"
#include "control/state/plan_node.h"
#include "tests/control/network_fixture.h"

/* Plans and differences as text, so that a table can say what is expected. */

static inline void print_prefixes(struct buffer *out, const char *what,
                                  const struct ip_prefix *list, size_t count)
{
    char text[IP_PREFIX_TEXT];
    for (size_t i = 0; i < count; i++)
        buffer_printf(out, "%s %s\n", what, ip_prefix_format(&list[i], text));
}

static inline void print_peers(struct buffer *out, const struct wg_peer_config *peers, size_t count)
{
    char text[ENDPOINT_TEXT];
    for (size_t i = 0; i < count; i++) {
        const struct wg_peer_config *peer = &peers[i];
        buffer_printf(out, "wg %u%s%s", load_be32(peer->public_key + 28),
                      peer->remove ? " remove" : "", peer->update_only ? " update" : "");
        if (peer->has_endpoint)
            buffer_printf(out, " %s", endpoint_format(&peer->endpoint, text));
        if (peer->has_keepalive)
            buffer_printf(out, " keepalive %u", peer->keepalive_s);
        for (size_t j = 0; j < peer->allowed_ip_count; j++)
            buffer_printf(out, " %s%s", peer->allowed_ips[j].remove ? "-" : "",
                          ip_prefix_format(&peer->allowed_ips[j].prefix, text));
        buffer_append_string(out, "\n");
    }
}

/* Two results in turn, so that two texts can be compared. */
static inline const char *finish(struct buffer *out)
{
    static char texts[2][8192];
    static size_t next;
    char *text = texts[next++ % 2];
    ck_assert(!buffer_failed(out));
    ck_assert_uint_lt(buffer_len(out), sizeof texts[0]);
    if (buffer_len(out) > 0)
        memcpy(text, buffer_data(out), buffer_len(out));
    text[buffer_len(out)] = '\0';
    buffer_fini(out);
    return text;
}

static inline const char *plan_text(const struct plan *plan)
{
    struct buffer out;
    char text[IP_ADDR_TEXT];
    buffer_init(&out);
    print_prefixes(&out, "addr", plan->addresses, plan->address_count);
    print_peers(&out, plan->peers, plan->peer_count);
    print_prefixes(&out, "route", plan->routes, plan->route_count);
    print_prefixes(&out, "overlay", plan->overlay, plan->overlay_count);
    print_prefixes(&out, "peers", plan->peer_networks, plan->peer_network_count);
    print_prefixes(&out, "own", plan->own_routes, plan->own_route_count);
    print_prefixes(&out, "inbound", plan->inbound, plan->inbound_count);
    for (size_t i = 0; i < plan->name_count; i++)
        buffer_printf(&out, "name %s %s\n", plan->names[i].name,
                      ip_addr_format(&plan->names[i].addr, text));
    for (size_t i = 0; i < plan->dns_count; i++)
        buffer_printf(&out, "dns %s\n", ip_addr_format(&plan->dns[i], text));
    return finish(&out);
}

static inline const char *delta_text(const struct plan_delta *delta)
{
    struct buffer out;
    buffer_init(&out);
    print_prefixes(&out, "-addr", delta->addresses_removed, delta->addresses_removed_count);
    print_prefixes(&out, "+addr", delta->addresses_added, delta->addresses_added_count);
    print_peers(&out, delta->wg.peers, delta->wg.peer_count);
    print_prefixes(&out, "-route", delta->routes_removed, delta->routes_removed_count);
    print_prefixes(&out, "+route", delta->routes_added, delta->routes_added_count);
    return finish(&out);
}

static inline void build(const struct network *network, unsigned self, struct plan *plan)
{
    ck_assert_int_eq(plan_of_node(network->state, test_id(self), NULL, NULL, plan), 0);
}

#endif
