#include "control/state/peer_config.h"
#include "control/state/plan.h"
#include "control/state/plan_diff.h"
#include "control/state/plan_node.h"
#include "control/state/plan_part.h"
#include "control/state/plan_peer.h"
#include "control/state/plan_zone.h"
#include "dns/zone.h"
#include "tests/control/network_fixture.h"

#include <errno.h>

/* ---- plans as text, so that a table can say what is expected ---- */

static void print_prefixes(struct buffer *out, const char *what, const struct ip_prefix *list,
                           size_t count)
{
    char text[IP_PREFIX_TEXT];
    for (size_t i = 0; i < count; i++)
        buffer_printf(out, "%s %s\n", what, ip_prefix_format(&list[i], text));
}

static void print_peers(struct buffer *out, const struct wg_peer_config *peers, size_t count)
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
static const char *finish(struct buffer *out)
{
    static char texts[2][8192];
    static size_t next;
    char *text = texts[next++ % 2];
    ck_assert(!buffer_failed(out));
    ck_assert_uint_lt(buffer_len(out), sizeof texts[0]);
    memcpy(text, buffer_data(out), buffer_len(out));
    text[buffer_len(out)] = '\0';
    buffer_fini(out);
    return text;
}

static const char *plan_text(const struct plan *plan)
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

static const char *delta_text(const struct plan_delta *delta)
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

static void build(const struct network *network, unsigned self, struct plan *plan)
{
    ck_assert_int_eq(plan_of_node(network->state, test_id(self), NULL, NULL, plan), 0);
}

/* ---- nodes ---- */

START_TEST(one_node)
{
    struct network network;
    struct plan plan;
    network_init(&network);
    ck_assert_int_eq(plan_of_node(network.state, test_id(1), NULL, NULL, &plan), -ENOENT);
    plan_fini(&plan);
    ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
    network_add_peer(&network, 2, "client");
    network_add_peer(&network, 3, "");
    ck_assert_int_eq(network_create_route(&network, 1, "192.168.7.0/24"), GRPC_OK);
    build(&network, 1, &plan);
    ck_assert_str_eq(plan_text(&plan), "addr 10.11.0.1/16\n"
                                       "addr fd01:2:3:1::1/64\n"
                                       "wg 2 10.51.0.2/32 fd01:2:3:ffff::2/128\n"
                                       "wg 3 10.51.0.3/32 fd01:2:3:ffff::3/128\n"
                                       "route 10.51.0.0/16\n"
                                       "route fd01:2:3:ffff::/64\n"
                                       "overlay 10.11.0.0/16\n"
                                       "overlay 10.51.0.0/16\n"
                                       "overlay fd01:2:3:1::/64\n"
                                       "overlay fd01:2:3:ffff::/64\n"
                                       "peers 10.51.0.0/16\n"
                                       "peers fd01:2:3:ffff::/64\n"
                                       "own 192.168.7.0/24\n"
                                       "name client 10.51.0.2\n"
                                       "name router 10.11.0.1\n");
    plan_fini(&plan);
    network_fini(&network);
}
END_TEST

/* The firewall of the node that serves an inbound route lets its hosts in, and that of no other. */
START_TEST(inbound_routes)
{
    struct network network;
    struct plan plan;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "a"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 2, "b"), GRPC_OK);
    ck_assert_int_eq(network_create_route(&network, 1, "192.168.6.0/24"), GRPC_OK);
    network.inbound = true;
    ck_assert_int_eq(network_create_route(&network, 1, "192.168.7.0/24"), GRPC_OK);
    build(&network, 1, &plan);
    ck_assert_ptr_nonnull(strstr(plan_text(&plan), "own 192.168.6.0/24\nown 192.168.7.0/24\n"
                                                   "inbound 192.168.7.0/24\n"));
    ck_assert_uint_eq(plan.inbound_count, 1);
    plan_fini(&plan);
    build(&network, 2, &plan);
    ck_assert_uint_eq(plan.inbound_count, 0);
    plan_fini(&plan);
    network_fini(&network);
}
END_TEST

/* The name of a peer without IPv6 has no IPv6 address until its host has IPv6 again. */
START_TEST(a_peer_without_ipv6)
{
    struct network network;
    struct plan plan;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
    network_add_peer(&network, 2, "client");
    for (int off = 1; off >= 0; off--) {
        network.no_ipv6 = off != 0;
        ck_assert_int_eq(network_connect(&network, test_id(2), "client", test_key(2)), GRPC_OK);
        ck_assert_uint_gt(network.ops, 0);
        build(&network, 1, &plan);
        ck_assert_str_eq(plan.names[0].name, "client");
        ck_assert_uint_eq(plan.names[0].addr6.family, off ? 0 : 6);
        plan_fini(&plan);
    }
    network_fini(&network);
}
END_TEST

START_TEST(three_nodes)
{
    struct network network;
    struct plan plan;
    network_init_empty(&network);
    ck_assert_int_eq(network_bootstrap(&network, "10.10.0.0/16", "10.51.0.0/16", "", ""), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 1, "a"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 2, "b"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 3, "c"), GRPC_OK);
    network_add_peer(&network, 4, "p");
    ck_assert_int_eq(network_create_route(&network, 2, "10.99.0.0/16"), GRPC_OK);
    ck_assert_int_eq(network_create_route(&network, 2, "0.0.0.0/0"), GRPC_OK);
    /* the oldest node relays: the others send it traffic for the peer network */
    build(&network, 3, &plan);
    ck_assert_str_eq(plan_text(&plan),
                     "addr 10.13.0.1/16\n"
                     "wg 1 192.0.2.1:10100 10.11.0.0/16 10.51.0.0/16\n"
                     "wg 2 192.0.2.2:10100 10.12.0.0/16 10.99.0.0/16\n"
                     "wg 4 10.51.0.2/32\n"
                     "route 10.11.0.0/16\nroute 10.12.0.0/16\nroute 10.51.0.0/16\n"
                     "route 10.99.0.0/16\n"
                     "overlay 10.11.0.0/16\noverlay 10.12.0.0/16\noverlay 10.13.0.0/16\n"
                     "overlay 10.51.0.0/16\n"
                     "peers 10.51.0.0/16\n"
                     "name a 10.11.0.1\nname b 10.12.0.1\nname c 10.13.0.1\nname p 10.51.0.2\n");
    plan_fini(&plan);
    build(&network, 2, &plan);
    ck_assert_uint_eq(plan.own_route_count, 2); /* with its default route */
    ck_assert_uint_eq(plan.route_count,
                      3); /* its own network and route do not lead into the tunnel */
    plan_fini(&plan);
    network_fini(&network);
}
END_TEST

/* ---- peers ---- */

START_TEST(peer_view_without_dns)
{
    struct network network;
    struct plan plan;
    struct err err = {0};
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "a"), GRPC_OK);
    network_add_peer(&network, 4, "p");
    Pb__ConnectResponse *response = peer_config_build(network.state, test_id(4), NULL);
    ck_assert_ptr_nonnull(response);
    ck_assert_uint_eq(response->n_dns, 0);
    ck_assert_str_eq(response->dns_domain, "");
    ck_assert_int_eq(plan_of_peer(response, &(struct plan_self){0}, &plan, &err), 0);
    ck_assert_uint_eq(plan.dns_count, 0);
    plan_fini(&plan);
    pb__connect_response__free_unpacked(response, NULL);
    network_fini(&network);
}
END_TEST

START_TEST(peer_view)
{
    struct network network;
    struct plan plan;
    struct err err = {0};
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "a"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 2, "b"), GRPC_OK);
    network_add_peer(&network, 4, "p");
    network_add_peer(&network, 5, "q");
    ck_assert_int_eq(network_create_route(&network, 2, "10.99.0.0/16"), GRPC_OK);
    ck_assert_int_eq(network_create_route(&network, 2, "0.0.0.0/0"), GRPC_OK);
    ck_assert_ptr_null(peer_config_build(network.state, test_id(9), "heimdall"));
    Pb__ConnectResponse *response = peer_config_build(network.state, test_id(4), "heimdall");
    ck_assert_ptr_nonnull(response);
    ck_assert_str_eq(response->address, "10.51.0.2/16");
    ck_assert_str_eq(response->address6, "fd01:2:3:ffff::2/64");
    ck_assert_str_eq(response->dns_domain, "heimdall");
    ck_assert_str_eq(response->keypair->private_key, "");
    ck_assert_str_eq(response->keypair->public_key, test_key(4));
    ck_assert_uint_eq(response->n_peers, 2);
    ck_assert_str_eq(response->peers[0]->id, test_id(1));
    ck_assert_str_eq(response->peers[0]->name, "a");
    ck_assert_str_eq(response->peers[0]->peer_ip, "10.11.0.1");
    ck_assert_uint_eq(response->n_node_addresses, 2);
    ck_assert_str_eq(response->node_addresses[1], "tcp://192.0.2.2:9000");
    /* it holds nothing of the other peer */
    uint8_t packed[4096];
    size_t len = pb__connect_response__pack(response, packed);
    ck_assert_ptr_null(memmem(packed, len, test_id(5), 36));
    ck_assert_ptr_null(memmem(packed, len, test_key(5), BASE64_KEY_LEN));

    ck_assert_int_eq(plan_of_peer(response, &(struct plan_self){0}, &plan, &err), 0);
    ck_assert_str_eq(
        plan_text(&plan),
        "addr 10.51.0.2/16\naddr fd01:2:3:ffff::2/64\n"
        "wg 1 192.0.2.1:10100 keepalive 25 10.11.0.0/16 10.51.0.0/16 fd01:2:3:1::/64 "
        "fd01:2:3:ffff::/64\n"
        "wg 2 192.0.2.2:10100 keepalive 25 10.12.0.0/16 10.99.0.0/16 fd01:2:3:2::/64\n"
        "route 10.11.0.0/16\nroute 10.12.0.0/16\nroute 10.51.0.0/16\nroute 10.99.0.0/16\n"
        "route fd01:2:3:1::/64\nroute fd01:2:3:2::/64\nroute fd01:2:3:ffff::/64\n"
        "dns 10.11.0.1\ndns 10.12.0.1\n");
    plan_fini(&plan);
    ck_assert_int_eq(
        plan_of_peer(response, &(struct plan_self){.exit_node = test_id(2)}, &plan, &err), 0);
    ck_assert_str_eq(strstr(plan_text(&plan), "route 0"),
                     strstr(plan_text(&plan), "route 0.0.0.0/0\n"));
    ck_assert_ptr_nonnull(strstr(plan_text(&plan), "keepalive 25 0.0.0.0/0 10.12.0.0/16"));
    plan_fini(&plan);
    const struct {
        const char *exit_node;
        enum plan_exit exit;
    } wishes[] = {{NULL, PLAN_EXIT_OFF},
                  {"nobody", PLAN_EXIT_UNKNOWN},
                  {test_id(1), PLAN_EXIT_UNPUBLISHED},
                  {test_id(2), PLAN_EXIT_ON},
                  {"A", PLAN_EXIT_UNPUBLISHED},
                  {"b", PLAN_EXIT_ON}};
    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++) {
        ck_assert_int_eq(plan_of_peer(response,
                                      &(struct plan_self){.exit_node = wishes[i].exit_node}, &plan,
                                      &err),
                         0);
        ck_assert_int_eq(plan.exit, wishes[i].exit);
        bool has_default = strstr(plan_text(&plan), "0.0.0.0/0") != NULL;
        ck_assert(has_default == (wishes[i].exit == PLAN_EXIT_ON));
        plan_fini(&plan);
    }
    pb__connect_response__free_unpacked(response, NULL);
    network_fini(&network);
}
END_TEST

START_TEST(bad_answers)
{
    struct plan plan;
    struct err err = {0};
    char *allowed[] = {"10.11.0.0/16"};
    char *dns[] = {"10.11.0.1"};
    Pb__KeyPair keypair;
    Pb__Peer node;
    Pb__Peer *nodes[] = {&node, &node};
    Pb__ConnectResponse response;
    pb__key_pair__init(&keypair);
    pb__peer__init(&node);
    pb__connect_response__init(&response);
    for (int i = 0; i < 10; i++) {
        keypair.public_key = (char *)(uintptr_t)test_key(1);
        node.keypair = i == 1 ? NULL : &keypair;
        node.endpoint = i == 2 ? "router:10100" : "192.0.2.1:10100";
        node.allowed_ips = allowed;
        node.n_allowed_ips = 1;
        response.peers = nodes;
        response.n_peers = i == 3 ? 2 : 1;
        response.address = i == 4 ? "" : i == 5 ? "fd00::1/64" : "10.51.0.2/16";
        response.address6 = i == 6 ? "10.0.0.1/8" : "";
        allowed[0] = i == 7 ? "10.11.0.1/16" : i == 8 ? "x" : "10.11.0.0/16";
        dns[0] = i == 9 ? "router" : "10.11.0.1";
        response.dns = dns;
        response.n_dns = 1;
        int rc = plan_of_peer(&response, &(struct plan_self){0}, &plan, &err);
        ck_assert_msg(rc == (i == 0 ? 0 : -EINVAL), "%d: %d", i, rc);
        plan_fini(&plan);
    }
}
END_TEST

/* ---- preshared keys ---- */

static const struct wg_peer_config *with_key(const struct plan *plan, unsigned n)
{
    for (size_t i = 0; i < plan->peer_count; i++)
        if (load_be32(plan->peers[i].public_key + 28) == n)
            return &plan->peers[i];
    ck_abort_msg("no such peer");
}

/* The preshared key of a pair by the plan of one end; zeros: none. */
static void psk_of(const struct network *network, unsigned self, unsigned other, uint8_t out[32])
{
    struct plan plan;
    struct err err = {0};
    memset(out, 0, 32);
    if (state_node(network->state, test_id(self)) != NULL) {
        ck_assert_int_eq(
            plan_of_node(network->state, test_id(self), "the cluster key", NULL, &plan), 0);
    } else {
        const char *id = test_id(self);
        struct plan_self peer = {.id = id,
                                 .public_key = state_peer(network->state, id)->public_key};
        Pb__ConnectResponse *response = peer_config_build(network->state, id, NULL);
        ck_assert_int_eq(plan_of_peer(response, &peer, &plan, &err), 0);
        pb__connect_response__free_unpacked(response, NULL);
    }
    const struct wg_peer_config *peer = with_key(&plan, other);
    if (peer->has_preshared_key)
        memcpy(out, peer->preshared_key, 32);
    ck_assert(peer->has_preshared_key != bytes_is_zero_ct(peer->preshared_key, 32));
    plan_fini(&plan);
}

static void check_pair(const struct network *network, unsigned a, unsigned b, uint8_t out[32])
{
    uint8_t other[32];
    psk_of(network, a, b, out);
    psk_of(network, b, a, other);
    ck_assert_mem_eq(out, other, 32);
}

/* Both ends derive the same key, every pair another one, and a rekey renews it. */
START_TEST(preshared_keys)
{
    struct network network;
    uint8_t psks[4][32];
    uint8_t renewed[32];
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "a"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 2, "b"), GRPC_OK);
    network_add_peer(&network, 3, "p");
    network_add_peer(&network, 4, "q");
    check_pair(&network, 1, 3, psks[0]);
    check_pair(&network, 2, 3, psks[1]);
    check_pair(&network, 1, 4, psks[2]);
    check_pair(&network, 1, 2, psks[3]);
    for (int i = 0; i < 4; i++) {
        ck_assert(!bytes_is_zero_ct(psks[i], 32));
        for (int j = 0; j < i; j++)
            ck_assert_mem_ne(psks[i], psks[j], 32);
    }
    ck_assert_int_eq(network_rekey(&network, test_id(3)), GRPC_OK);
    check_pair(&network, 1, 3, renewed);
    ck_assert_mem_ne(renewed, psks[0], 32);
    check_pair(&network, 1, 4, renewed);
    ck_assert_mem_eq(renewed, psks[2], 32);
    network_fini(&network);
}
END_TEST

/* Older programs go on without, on either side, and both ends follow an upgrade. */
START_TEST(preshared_keys_of_older_programs)
{
    struct network network;
    uint8_t psk[32];
    network_init(&network);
    network.no_psk = true;
    ck_assert_int_eq(network_put_node(&network, 1, "older"), GRPC_OK);
    network_add_peer(&network, 3, "older-peer");
    check_pair(&network, 1, 3, psk);
    ck_assert(bytes_is_zero_ct(psk, 32));
    network.no_psk = false;
    ck_assert_int_eq(network_put_node(&network, 2, "newer"), GRPC_OK);
    network_add_peer(&network, 4, "newer-peer");
    check_pair(&network, 1, 2, psk);
    ck_assert(bytes_is_zero_ct(psk, 32));
    check_pair(&network, 1, 4, psk);
    ck_assert(bytes_is_zero_ct(psk, 32));
    check_pair(&network, 2, 3, psk);
    ck_assert(bytes_is_zero_ct(psk, 32));
    check_pair(&network, 2, 4, psk);
    ck_assert(!bytes_is_zero_ct(psk, 32));
    ck_assert_int_eq(network_connect(&network, test_id(3), "older-peer", test_key(3)), GRPC_OK);
    check_pair(&network, 2, 3, psk);
    ck_assert(!bytes_is_zero_ct(psk, 32));
    network_fini(&network);
}
END_TEST

/* A preshared key that comes, changes or goes is a change of its own. */
START_TEST(preshared_key_changes)
{
    static const bool no_psk[] = {true, false, true};
    struct network network;
    struct plan plans[2];
    struct plan_delta delta;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
    network_add_peer(&network, 2, "p");
    build(&network, 1, &plans[0]);
    for (size_t i = 0; i < ARRAY_LEN(no_psk); i++) {
        network.no_psk = no_psk[i];
        ck_assert_int_eq(network_connect(&network, test_id(2), "p", test_key(2)), GRPC_OK);
        build(&network, 1, &plans[1]);
        ck_assert_int_eq(plan_diff(&plans[0], &plans[1], &delta), 0);
        ck_assert_uint_eq(delta.wg.peer_count, 1);
        ck_assert(delta.wg.peers[0].update_only && delta.wg.peers[0].has_preshared_key);
        ck_assert(bytes_is_zero_ct(delta.wg.peers[0].preshared_key, 32) == no_psk[i]);
        plan_delta_fini(&delta);
        plan_fini(&plans[0]);
        plans[0] = plans[1];
    }
    plan_fini(&plans[0]);
    network_fini(&network);
}
END_TEST

/* ---- differences ---- */

static void put_seen(struct network *network, unsigned n)
{
    struct change change;
    struct change_seen seen = {test_id(n), network->now_ns + NS_PER_SEC, 60};
    enum grpc_code code = change_peers_seen(&change, network->state, &seen, 1, &network->err);
    ck_assert_int_eq(network_apply(network, &change, code), GRPC_OK);
}

START_TEST(diff_steps)
{
    struct network network;
    struct plan plans[2];
    struct plan_delta delta;
    static const char *const expected[] = {
        "+addr 10.11.0.1/16\n+addr fd01:2:3:1::1/64\n"
        "+route 10.51.0.0/16\n+route fd01:2:3:ffff::/64\n",
        "wg 2 10.51.0.2/32 fd01:2:3:ffff::2/128\n",
        "wg 3 10.51.0.3/32 fd01:2:3:ffff::3/128\n",
        "",
        "",
        "wg 4 192.0.2.4:10100 10.12.0.0/16 fd01:2:3:2::/64\n"
        "+route 10.12.0.0/16\n+route fd01:2:3:2::/64\n",
        "wg 4 update 10.99.0.0/16\n+route 10.99.0.0/16\n",
        "wg 4 update -10.99.0.0/16\n-route 10.99.0.0/16\n",
        "",
        "wg 2 remove\n",
    };
    network_init(&network);
    plan_init(&plans[0]);
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        switch (i) {
        case 0:
            ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
            break;
        case 1:
            network_add_peer(&network, 2, "p");
            break;
        case 2:
            network_add_peer(&network, 3, "");
            break;
        case 3:
            ck_assert_int_eq(network_connect(&network, test_id(3), "q", test_key(3)), GRPC_OK);
            break;
        case 4: /* last_seen alone */
            put_seen(&network, 3);
            ck_assert_uint_eq(network.ops, 1);
            break;
        case 5:
            ck_assert_int_eq(network_put_node(&network, 4, "other"), GRPC_OK);
            break;
        case 6:
            ck_assert_int_eq(network_create_route(&network, 4, "10.99.0.0/16"), GRPC_OK);
            break;
        case 7:
            ck_assert_int_eq(network_delete_route(&network, "10.99.0.0/16"), GRPC_OK);
            break;
        case 8:
            ck_assert_int_eq(network_create_route(&network, 1, "10.98.0.0/16"), GRPC_OK);
            break;
        case 9:
            ck_assert_int_eq(network_deauthorize(&network, test_id(2)), GRPC_OK);
            break;
        }
        build(&network, 1, &plans[1]);
        ck_assert_int_eq(plan_diff(&plans[0], &plans[1], &delta), 0);
        ck_assert_str_eq(delta_text(&delta), expected[i]);
        plan_delta_fini(&delta);
        plan_fini(&plans[0]);
        plans[0] = plans[1];
    }
    plan_fini(&plans[0]);
    network_fini(&network);
}
END_TEST

/* A route that moves from one node to another is added there and removed nowhere, even when the
 * first node is removed. */
START_TEST(moved_prefix)
{
    struct network network;
    struct plan from;
    struct plan to;
    struct plan_delta delta;
    network_init_empty(&network);
    ck_assert_int_eq(network_bootstrap(&network, "10.10.0.0/16", "10.51.0.0/16", "", ""), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 1, "a"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 2, "b"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 3, "c"), GRPC_OK);
    ck_assert_int_eq(network_create_route(&network, 2, "10.99.0.0/16"), GRPC_OK);
    build(&network, 1, &from);
    ck_assert_int_eq(network_delete_route(&network, "10.99.0.0/16"), GRPC_OK);
    ck_assert_int_eq(network_create_route(&network, 3, "10.99.0.0/16"), GRPC_OK);
    build(&network, 1, &to);
    ck_assert_int_eq(plan_diff(&from, &to, &delta), 0);
    ck_assert_str_eq(delta_text(&delta), "wg 3 update 10.99.0.0/16\n");
    plan_delta_fini(&delta);
    plan_fini(&to);
    char key[128];
    snprintf(key, sizeof key, "%s%s", RECORD_KEY_NODES, test_id(2));
    struct record_op op = {.kind = RECORD_DEL, .key = key};
    ck_assert_int_eq(state_apply(network.state, &op), 0);
    build(&network, 1, &to);
    ck_assert_int_eq(plan_diff(&from, &to, &delta), 0);
    ck_assert_str_eq(delta_text(&delta), "wg 3 update 10.99.0.0/16\nwg 2 remove\n"
                                         "-route 10.12.0.0/16\n");
    plan_delta_fini(&delta);
    plan_fini(&from);
    plan_fini(&to);
    network_fini(&network);
}
END_TEST

/* The first of two peers that ask for a prefix keeps it. */
START_TEST(duplicates)
{
    struct plan plan;
    struct err err = {0};
    char *first[] = {"10.11.0.0/16", "10.99.0.0/16"};
    char *second[] = {"10.99.0.0/16", "10.12.0.0/16", "10.12.0.0/16"};
    Pb__KeyPair keypairs[2];
    Pb__Peer nodes[2];
    Pb__Peer *list[] = {&nodes[0], &nodes[1]};
    Pb__ConnectResponse response;
    pb__connect_response__init(&response);
    for (unsigned i = 0; i < 2; i++) {
        pb__key_pair__init(&keypairs[i]);
        pb__peer__init(&nodes[i]);
        keypairs[i].public_key =
            (char *)(uintptr_t)test_key(9 - i); /* not in the order of the keys */
        nodes[i].keypair = &keypairs[i];
        nodes[i].allowed_ips = i == 0 ? first : second;
        nodes[i].n_allowed_ips = i == 0 ? 2 : 3;
    }
    response.address = "10.51.0.2/16";
    response.peers = list;
    response.n_peers = 2;
    ck_assert_int_eq(plan_of_peer(&response, &(struct plan_self){0}, &plan, &err), 0);
    ck_assert_str_eq(plan_text(&plan), "addr 10.51.0.2/16\n"
                                       "wg 8 keepalive 25 10.12.0.0/16\n"
                                       "wg 9 keepalive 25 10.11.0.0/16 10.99.0.0/16\n"
                                       "route 10.11.0.0/16\nroute 10.12.0.0/16\n"
                                       "route 10.99.0.0/16\n");
    plan_fini(&plan);
}
END_TEST

/* The records of a name: types, ports and targets of services, names of an address. */
static const char *zone_text(const struct zone *zone, const char *text)
{
    static char out[512];
    char name_text[DNS_TEXT_MAX];
    struct dns_name name;
    struct zone_match match;
    char *to = out;
    ck_assert(dns_name_from_text(&name, text));
    zone_find(zone, &name, &match);
    out[0] = '\0';
    for (const struct zone_record *record = match.records; record != NULL; record = record->next)
        if (record->type == DNS_TYPE_SRV)
            to += sprintf(to, "%d:%d:%s ", record->type, record->srv.port,
                          dns_name_to_text(record->srv.target, name_text));
        else
            to += sprintf(to, "%d ", record->type);
    for (size_t i = 0; i < match.ptr_count; i++)
        to += sprintf(to, "%s ", dns_name_to_text(zone_ptr_name(&match, i), name_text));
    return out;
}

START_TEST(zone_of_a_plan)
{
    struct network network;
    struct plan plan;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
    network_add_peer(&network, 2, "client");
    build(&network, 1, &plan);
    struct zone *zone = plan_zone(&plan, "heimdall", "router", 7, network_seed);
    ck_assert_ptr_nonnull(zone);
    ck_assert_uint_eq(zone_serial(zone), 7);
    ck_assert_str_eq(zone_text(zone, "client.heimdall"), "1 28 ");
    ck_assert_str_eq(zone_text(zone, "1.0.11.10.in-addr.arpa"), "router.heimdall. ");
    ck_assert_str_eq(zone_text(zone, "_domain._udp.heimdall"), "33:53:router.heimdall. ");
    ck_assert_str_eq(zone_text(zone, "_domain._tcp.heimdall"), "33:53:router.heimdall. ");
    ck_assert_str_eq(zone_text(zone, "_ldap._tcp.heimdall"), "");
    zone_put(zone);
    ck_assert_ptr_null(plan_zone(&plan, "not a name", "router", 7, network_seed));
    plan_fini(&plan);
    network_fini(&network);
}
END_TEST

/* ---- parts ---- */

/* Follows a change as a node does: the part replaces what it concerns. `delta` gets the change. */
static void follow(const struct network *network, struct plan *whole, struct plan_touched *touched,
                   struct plan_delta *delta)
{
    struct plan part;
    struct plan former;
    ck_assert_int_eq(plan_of_node(network->state, test_id(1), NULL, touched, &part), 0);
    ck_assert_int_eq(plan_take(whole, &part, touched, &former), 0);
    ck_assert_int_eq(plan_diff(&former, &part, delta), 0);
    ck_assert_int_eq(plan_merge(&part, whole), 0);
    *whole = part;
    plan_fini(&former);
    *touched = (struct plan_touched){.count = 0};
}

/* After any change, the plan that followed in parts equals a whole plan, and both ways find the
 * same difference. */
START_TEST(parts_are_the_whole)
{
    enum { STEPS = 400, PEERS = 40 };
    struct network network;
    struct plan whole;
    struct plan_touched touched = {.count = 0};
    unsigned seed = (unsigned)_i + 1;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 2, "other"), GRPC_OK);
    build(&network, 1, &whole);
    for (unsigned step = 0; step < STEPS; step++) {
        struct plan before;
        struct plan after;
        struct plan_delta by_parts;
        struct plan_delta anew;
        char name[16];
        unsigned peer = 10 + (unsigned)rand_r(&seed) % PEERS;
        unsigned key = rand_r(&seed) % 4 == 0 ? 100 + peer : peer;
        build(&network, 1, &before);
        for (unsigned twice = 0; twice < 1 + peer % 2; twice++)
            plan_touch_peer(&touched, network.state, test_id(peer));
        snprintf(name, sizeof name, "p%d", rand_r(&seed) % 12);
        switch (rand_r(&seed) % 4) {
        case 0:
            (void)network_deauthorize(&network, test_id(peer));
            break;
        case 1:
            (void)network_create_route(&network, 1 + peer % 2, "192.168.7.0/24");
            break;
        case 2:
            (void)network_delete_route(&network, "192.168.7.0/24");
            break;
        default:
            (void)network_authorize(&network, test_id(peer));
            (void)network_connect(&network, test_id(peer), name, test_key(key));
            break;
        }
        build(&network, 1, &after);
        follow(&network, &whole, &touched, &by_parts);
        ck_assert_int_eq(plan_diff(&before, &after, &anew), 0);
        ck_assert_str_eq(plan_text(&whole), plan_text(&after));
        ck_assert_str_eq(delta_text(&by_parts), delta_text(&anew));
        plan_delta_fini(&by_parts);
        plan_delta_fini(&anew);
        plan_fini(&before);
        plan_fini(&after);
    }
    plan_fini(&whole);
    network_fini(&network);
}
END_TEST

/* A damaged store: a second peer with the key and the name of another. */
static void put_twin(struct network *network, unsigned n, unsigned of, const char *name)
{
    char key[128];
    uint8_t value[512];
    Pb__KeyPair keypair = PB__KEY_PAIR__INIT;
    Pb__Peer peer = PB__PEER__INIT;
    keypair.public_key = (char *)(uintptr_t)test_key(of);
    peer.id = (char *)(uintptr_t)test_id(n);
    peer.name = (char *)(uintptr_t)name;
    peer.keypair = &keypair;
    peer.peer_ip = "10.51.9.9";
    snprintf(key, sizeof key, "%s%s", RECORD_KEY_PEERS, peer.id);
    struct record_op op = {
        .kind = RECORD_SET, .key = key, .value = value, .len = pb__peer__pack(&peer, value)};
    ck_assert_int_eq(state_apply(network->state, &op), 0);
}

/* When the peer is removed, its key or name passes to the other record. */
START_TEST(a_twin_takes_over)
{
    struct network network;
    struct plan whole;
    struct plan after;
    struct plan_touched touched = {.count = 0};
    struct plan_delta delta;
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
    network_add_peer(&network, 20, "first");
    put_twin(&network, 30, _i == 0 ? 20 : 31, "first");
    build(&network, 1, &whole);
    plan_touch_peer(&touched, network.state, test_id(20));
    ck_assert_int_eq(network_deauthorize(&network, test_id(20)), GRPC_OK);
    build(&network, 1, &after);
    follow(&network, &whole, &touched, &delta);
    ck_assert_str_eq(plan_text(&whole), plan_text(&after));
    plan_delta_fini(&delta);
    plan_fini(&whole);
    plan_fini(&after);
    network_fini(&network);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("plan");
    tcase_add_test(tc, one_node);
    tcase_add_test(tc, inbound_routes);
    tcase_add_test(tc, a_peer_without_ipv6);
    tcase_add_test(tc, three_nodes);
    tcase_add_test(tc, peer_view);
    tcase_add_test(tc, peer_view_without_dns);
    tcase_add_test(tc, bad_answers);
    tcase_add_test(tc, preshared_keys);
    tcase_add_test(tc, preshared_keys_of_older_programs);
    tcase_add_test(tc, preshared_key_changes);
    tcase_add_test(tc, diff_steps);
    tcase_add_test(tc, moved_prefix);
    tcase_add_test(tc, duplicates);
    tcase_add_test(tc, zone_of_a_plan);
    tcase_add_loop_test(tc, parts_are_the_whole, 0, 4);
    tcase_add_loop_test(tc, a_twin_takes_over, 0, 2);
    return unit_run(tc);
}
