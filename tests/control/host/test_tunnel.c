/* As root, each test in a network namespace of its own. */
#include "control/host/tunnel.h"

#include "base/bytes.h"
#include "control/host/slot.h"
#include "control/state/plan_peer.h"
#include "tests/tun/netns.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static uv_loop_t loop;
static char name[16];
static struct slot slot; /* of that name, when no other tunnel runs */
static uint8_t private_key[32];
static bool recreated;
static bool firewall;
static const char *exit_node; /* as the option says; the only node is named "exit" */
static const char *own_ipv6;  /* a second address of the plan */
static const char *overlay;   /* of a node's plan: what the firewall is about */
static const char *endpoint = "127.0.0.1:51820";

static void enter(void)
{
    netns_enter();
    snprintf(name, sizeof name, "ta%d", (int)getpid());
    memset(private_key, 7, sizeof private_key);
    ck_assert_int_eq(slot_take(&slot, name), 0);
    slot_release(&slot);
    ck_assert_int_eq(uv_loop_init(&loop), 0);
}

static void on_recreated(void *ctx)
{
    (void)ctx;
    recreated = true;
    uv_stop(&loop);
}

static struct tunnel *open_tunnel(void)
{
    struct tunnel_options options = {
        .loop = &loop,
        .interface_name = name,
        .private_key = private_key,
        .firewall = firewall,
        .recreated = on_recreated,
    };
    struct tunnel *tunnel;
    struct err err = {0};
    ck_assert_msg(tunnel_open(&tunnel, &options, &err) == 0, "%s", err.text);
    return tunnel;
}

static void close_tunnel(struct tunnel *tunnel)
{
    tunnel_close(tunnel);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}

/* What `ip` says of routes, rules or addresses that have to do with us. */
static const char *shown(const char *command)
{
    static char out[8192];
    run_out(out, sizeof out, "%s 2>/dev/null", command);
    return out;
}

static const char *table_command(void)
{
    static char command[96];
    snprintf(command, sizeof command, "ip route show table %u || true", slot.table);
    return command;
}

static const char *table(void)
{
    return shown(table_command());
}

static bool has(const char *text, const char *word)
{
    return strstr(text, word) != NULL;
}

/* A plan as a peer gets it: one node with these allowed IPs. */
static void tunnel_allowed(struct tunnel *tunnel, const char *address, const char *const *allowed,
                           size_t count)
{
    char key[] = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
    char node_name[] = "exit";
    Pb__KeyPair keypair;
    Pb__Peer peer;
    Pb__ConnectResponse response;
    Pb__Peer *peers[] = {&peer};
    struct plan plan;
    struct err err = {0};
    pb__key_pair__init(&keypair);
    pb__peer__init(&peer);
    pb__connect_response__init(&response);
    keypair.public_key = key;
    peer.keypair = &keypair;
    peer.endpoint = (char *)(uintptr_t)endpoint;
    peer.name = node_name;
    peer.allowed_ips = (char **)(uintptr_t)allowed;
    peer.n_allowed_ips = count;
    response.address = (char *)(uintptr_t)address;
    response.peers = peers;
    response.n_peers = 1;
    ck_assert_msg(
        plan_of_peer(&response, &(struct plan_self){.exit_node = exit_node}, &plan, &err) == 0,
        "%s", err.text);
    if (own_ipv6 != NULL)
        ck_assert(ip_prefix_parse(&plan.addresses[plan.address_count++], own_ipv6));
    if (overlay != NULL) {
        plan.overlay = calloc(1, sizeof *plan.overlay);
        plan.overlay_count = 1;
        ck_assert(plan.overlay != NULL && ip_prefix_parse(plan.overlay, overlay));
    }
    ck_assert_msg(tunnel_follow(tunnel, &plan, NULL, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(plan.peer_count, 0); /* taken over */
}

START_TEST(a_plan_becomes_addresses_routes_and_peers)
{
    static const char *const allowed[] = {"10.11.0.0/16", "192.168.50.0/24"};
    struct tunnel *tunnel = open_tunnel();
    struct path_info info;
    char rule[64];
    snprintf(rule, sizeof rule, "not from all fwmark 0x%x/0x7f000000 lookup %u",
             tunnel_fwmark(tunnel), tunnel_table(tunnel));
    ck_assert(has(shown("ip rule"), rule));
    tunnel_allowed(tunnel, "10.51.0.2/16", allowed, 2);
    ck_assert(has(shown("ip -4 addr"), "inet 10.51.0.2/16"));
    ck_assert(has(table(), "10.11.0.0/16"));
    ck_assert(has(table(), "192.168.50.0/24"));
    ck_assert(has(table(), "src 10.51.0.2"));
    /* nothing in the main table: there a route could cover the endpoint */
    ck_assert(!has(shown("ip route show table main"), name));
    ck_assert_int_eq(tunnel_info(tunnel, &info), 0);
    ck_assert_uint_eq(info.device.peer_count, 1);
    ck_assert_uint_eq(info.device.peers[0].allowed_ip_count, 2);
    ck_assert_uint_eq(info.fwmark, tunnel_fwmark(tunnel));
    ck_assert(info.up);
    path_info_fini(&info);
    close_tunnel(tunnel);
}
END_TEST

START_TEST(the_next_plan_changes_the_difference)
{
    static const char *const first[] = {"10.11.0.0/16", "192.168.50.0/24"};
    static const char *const second[] = {"10.11.0.0/16", "192.168.60.0/24"};
    struct tunnel *tunnel = open_tunnel();
    struct path_info info;
    tunnel_allowed(tunnel, "10.51.0.2/16", first, 2);
    tunnel_allowed(tunnel, "10.51.0.3/16", second, 2);
    ck_assert(!has(table(), "192.168.50.0/24"));
    ck_assert(has(table(), "192.168.60.0/24"));
    ck_assert(has(table(), "10.11.0.0/16"));
    ck_assert(!has(shown("ip -4 addr"), "10.51.0.2"));
    ck_assert(has(shown("ip -4 addr"), "10.51.0.3/16"));
    ck_assert_int_eq(tunnel_info(tunnel, &info), 0);
    ck_assert_uint_eq(info.device.peers[0].allowed_ip_count, 2);
    path_info_fini(&info);
    /* an empty plan empties the tunnel */
    struct plan none;
    struct err err = {0};
    plan_init(&none);
    ck_assert_int_eq(tunnel_follow(tunnel, &none, NULL, &err), 0);
    ck_assert_str_eq(table(), "");
    ck_assert_int_eq(tunnel_info(tunnel, &info), 0);
    ck_assert_uint_eq(info.device.peer_count, 0);
    path_info_fini(&info);
    close_tunnel(tunnel);
}
END_TEST

START_TEST(renewing_a_peer_keeps_its_place)
{
    static const char *const allowed[] = {"10.11.0.0/16", "192.168.50.0/24"};
    struct tunnel *tunnel = open_tunnel();
    struct path_info info;
    struct err err = {0};
    uint8_t key[32] = {1};
    tunnel_allowed(tunnel, "10.51.0.2/16", allowed, 2);
    ck_assert_int_eq(tunnel_renew(tunnel, key, &err), 0); /* not a peer of ours */
    memcpy(key, tunnel_current(tunnel)->peers[0].public_key, sizeof key);
    ck_assert_msg(tunnel_renew(tunnel, key, &err) == 0, "%s", err.text);
    ck_assert_int_eq(tunnel_info(tunnel, &info), 0);
    ck_assert_uint_eq(info.device.peer_count, 1);
    ck_assert_uint_eq(info.device.peers[0].allowed_ip_count, 2);
    ck_assert_uint_eq(info.device.peers[0].keepalive_s, 25);
    ck_assert_uint_eq(endpoint_port(&info.device.peers[0].endpoint), 51820);
    path_info_fini(&info);
    ck_assert(has(table(), "192.168.50.0/24"));
    close_tunnel(tunnel);
}
END_TEST

/* Every route that survives keeps the source address that a new plan brings. */
START_TEST(routes_follow_a_new_address)
{
    static const char *const allowed[] = {"10.11.0.0/16"};
    struct tunnel *tunnel = open_tunnel();
    tunnel_allowed(tunnel, "10.51.0.2/16", allowed, 1);
    tunnel_allowed(tunnel, "10.51.0.3/16", allowed, 1);
    ck_assert_msg(has(table(), "10.11.0.0/16") && has(table(), "src 10.51.0.3"), "%s", table());
    close_tunnel(tunnel);
}
END_TEST

START_TEST(nothing_is_left)
{
    static const char *const allowed[] = {"10.11.0.0/16"};
    char rules[8192];
    char links[8192];
    snprintf(rules, sizeof rules, "%s", shown("ip rule; ip -6 rule"));
    snprintf(links, sizeof links, "%s", shown("ip link"));
    struct tunnel *tunnel = open_tunnel();
    tunnel_allowed(tunnel, "10.51.0.2/16", allowed, 1);
    ck_assert_str_ne(shown("ip rule; ip -6 rule"), rules);
    close_tunnel(tunnel);
    ck_assert_str_eq(shown("ip rule; ip -6 rule"), rules);
    ck_assert_str_eq(shown("ip link"), links);
    ck_assert_str_eq(table(), "");
}
END_TEST

START_TEST(cleans_up_after_a_killed_run)
{
    run("ip rule add not fwmark %u/0x7f000000 table %u priority 5200 protocol 72", slot.mark,
        slot.table);
    run("ip rule add not fwmark 0x48451234 table 1212486196 priority 5201 protocol 72"); /* 0.1.0 */
    run("ip route add 10.99.0.0/16 dev lo table %u proto 72", slot.table);
    run("ip rule add fwmark 5 table %u priority 77", slot.table); /* another program's */
    struct tunnel *tunnel = open_tunnel();
    ck_assert(!has(table(), "10.99.0.0/16"));
    close_tunnel(tunnel);
    ck_assert(!has(shown("ip rule"), "5200:"));
    ck_assert(has(shown("ip rule"), "77:"));
}
END_TEST

START_TEST(a_second_tunnel_of_that_name_is_refused)
{
    struct tunnel *tunnel = open_tunnel();
    struct tunnel_options options = {.loop = &loop,
                                     .interface_name = name,
                                     .private_key = private_key,
                                     .recreated = on_recreated};
    struct tunnel *second;
    struct err err = {0};
    ck_assert_int_lt(tunnel_open(&second, &options, &err), 0);
    ck_assert_ptr_null(second);
    ck_assert_msg(has(err.text, name), "%s", err.text);
    ck_assert(has(shown("ip rule"), "5200:")); /* the first one's is still there */
    close_tunnel(tunnel);
}
END_TEST

static void give_up(uv_timer_t *timer)
{
    (void)timer;
    uv_stop(&loop);
}

/* Runs the loop for so long, or until the interface has been made anew. */
static void run_for(uint64_t patience_ms)
{
    uv_timer_t timer;
    recreated = false;
    ck_assert_int_eq(uv_timer_init(&loop, &timer), 0);
    ck_assert_int_eq(uv_timer_start(&timer, give_up, patience_ms, 0), 0);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&timer, NULL);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
}

/* Runs the loop until the command says so, with patience for a busy machine. */
static bool comes_true(const char *command, const char *word)
{
    for (int i = 0; i < 100 && !has(shown(command), word); i++)
        run_for(50);
    return has(shown(command), word);
}

/* The port is taken when the link is seen to be up. */
static uint16_t wait_for_port(struct tunnel *tunnel)
{
    uint16_t port = 0;
    for (int i = 0; i < 100 && port == 0; i++) {
        struct path_info info;
        ck_assert_int_eq(tunnel_info(tunnel, &info), 0);
        port = info.listen_port;
        path_info_fini(&info);
        run_for(20);
    }
    ck_assert_uint_ne(port, 0);
    return port;
}

START_TEST(a_removed_interface_is_made_anew)
{
    static const char *const allowed[] = {"10.11.0.0/16", "192.168.50.0/24"};
    struct tunnel *tunnel = open_tunnel();
    struct path_info info;
    tunnel_allowed(tunnel, "10.51.0.2/16", allowed, 2);
    uint16_t port = wait_for_port(tunnel);
    run("ip link del %s", name);
    ck_assert_str_eq(table(), "");
    run_for(5000);
    ck_assert(recreated);
    ck_assert(has(shown("ip -4 addr"), "inet 10.51.0.2/16"));
    ck_assert(has(table(), "10.11.0.0/16"));
    ck_assert(has(table(), "192.168.50.0/24"));
    ck_assert_int_eq(tunnel_info(tunnel, &info), 0);
    ck_assert_uint_eq(info.device.peer_count, 1);
    ck_assert_uint_eq(info.device.peers[0].allowed_ip_count, 2);
    ck_assert_uint_eq(info.listen_port, port);
    path_info_fini(&info);
    /* a second time comes after a pause, and what changes meanwhile is not lost */
    run("ip link del %s", name);
    run_for(300);
    ck_assert(!recreated);
    static const char *const others[] = {"10.11.0.0/16", "192.168.60.0/24"};
    tunnel_allowed(tunnel, "10.51.0.3/16", others, 2);
    run_for(5000);
    ck_assert(recreated);
    ck_assert(has(shown("ip -4 addr"), "inet 10.51.0.3/16"));
    ck_assert(has(table(), "192.168.60.0/24"));
    ck_assert(!has(table(), "192.168.50.0/24"));
    close_tunnel(tunnel);
}
END_TEST

/* Somebody else has the name now. */
START_TEST(a_name_that_is_taken_is_tried_again)
{
    struct tunnel *tunnel = open_tunnel();
    run("ip link del %s && ip link add %s type veth peer name other", name, name);
    run_for(300);
    ck_assert(!recreated);
    run("ip link del %s", name);
    run_for(5000);
    ck_assert(recreated);
    close_tunnel(tunnel);
}
END_TEST

/* ---- what other programs undo ---- */

/* Each is undone by another program, and comes back. */
START_TEST(what_others_undo_comes_back)
{
    static const struct {
        const char *undo;
        const char *look;
        const char *back;
    } rows[] = {
        {"ip addr del 10.51.0.2/16 dev %s", "ip addr show dev %s", "10.51.0.2/16"},
        {"ip addr del fd00:51::2/64 dev %s", "ip addr show dev %s", "fd00:51::2/64"},
        {"ip addr flush dev %s", "ip addr show dev %s", "fd00:51::2/64"},
        {"ip -6 rule del pref 5200 # %s", "ip -6 rule # %s", "5200:"},
        {"ip rule del pref 5200 # %s", "ip rule # %s", "5200:"},
        {"ip link set %s mtu 1000", "ip link show %s", "mtu 8920"},
        {"ip link set %s mtu 1000", "ip addr show dev %s", "fd00:51::2/64"},
        {"ip link set %s name other", "ip link # %s", NULL},
        {"sysctl -qw net.ipv6.conf.%s.disable_ipv6=1 && sleep 0.5 && "
         "sysctl -qw net.ipv6.conf.%s.disable_ipv6=0",
         "ip addr show dev %s", "fd00:51::2/64"},
        {"sysctl -qw net.ipv4.ip_forward=0 # %s", "sysctl net.ipv4.ip_forward # %s", "= 1"},
        {"sysctl -qw net.ipv6.conf.all.forwarding=0 # %s",
         "sysctl net.ipv6.conf.all.forwarding # %s", "= 1"},
        {"nft flush ruleset # %s", "nft list tables # %s", "heimdall_"},
        {"nft flush table inet heimdall_%s", "nft list ruleset # %s", "masquerade"},
    };
    char command[256];
    firewall = true;
    overlay = "10.51.0.0/16";
    struct tunnel *tunnel = open_tunnel();
    own_ipv6 = "fd00:51::2/64";
    static const char *const allowed[] = {"10.11.0.0/16", "fd00:11::/64"};
    tunnel_allowed(tunnel, "10.51.0.2/16", allowed, 2);
    ck_assert(comes_true("nft list ruleset", "masquerade"));
    snprintf(command, sizeof command, rows[_i].undo, name, name);
    run("%s", command);
    run_for(1);
    snprintf(command, sizeof command, rows[_i].look, name);
    const char *back = rows[_i].back != NULL ? rows[_i].back : name;
    ck_assert_msg(comes_true(command, back), "%s", rows[_i].undo);
    ck_assert(comes_true("ip route get 10.11.0.1 || true", name));
    ck_assert(comes_true("ip route get fd00:11::1 || true", name));
    ck_assert_ptr_null(tunnel_problem(tunnel));
    close_tunnel(tunnel);
}
END_TEST

/* Undone whenever it is back: no war, and the problem is named. */
START_TEST(a_fight_slows_down)
{
    static const char *const allowed[] = {"10.11.0.0/16"};
    struct tunnel *tunnel = open_tunnel();
    tunnel_allowed(tunnel, "10.51.0.2/16", allowed, 1);
    for (int i = 0; i < 3; i++) {
        run("ip addr del 10.51.0.2/16 dev %s", name);
        ck_assert_ptr_null(tunnel_problem(tunnel));
        ck_assert(comes_true("ip addr", "10.51.0.2/16"));
    }
    run("ip addr del 10.51.0.2/16 dev %s", name);
    ck_assert(comes_true("ip addr", "10.51.0.2/16"));
    ck_assert_ptr_nonnull(tunnel_problem(tunnel));
    run("ip addr del 10.51.0.2/16 dev %s", name);
    run_for(2000);
    ck_assert(!has(shown("ip addr"), "10.51.0.2/16")); /* the pause is 8 s */
    close_tunnel(tunnel);
}
END_TEST

/* ---- beside other programs and networks ---- */

/* wg-quick with AllowedIPs 0.0.0.0/0: its rules come before ours, because they have no number. */
static void full_tunnel_of_others(void)
{
    run("ip link add other type veth peer name other1 && ip link set other1 up && ip addr add "
        "198.51.100.1/32 dev other && "
        "ip link set other up && ip route add default dev other table 51820");
    run("ip rule add not fwmark 51820 table 51820");
    run("ip rule add table main suppress_prefixlength 0");
}

START_TEST(a_full_tunnel_of_others_hides_nothing)
{
    static const char *const allowed[] = {"10.11.0.0/16"};
    struct tunnel *tunnel = open_tunnel();
    tunnel_allowed(tunnel, "10.51.0.2/16", allowed, 1);
    full_tunnel_of_others();
    ck_assert(comes_true("ip route get 10.11.0.1", name));
    ck_assert(has(shown("ip route get 203.0.113.1"), "dev other"));
    run("ip rule del not fwmark 51820 table 51820");
    run("ip rule del table main suppress_prefixlength 0");
    ck_assert(comes_true("ip route get 10.11.0.1", name));
    close_tunnel(tunnel);
    ck_assert(!has(shown("ip rule"), "proto 72"));
}
END_TEST

START_TEST(an_exit_node_behind_another_rule_is_not_claimed)
{
    static const char *const with[] = {"0.0.0.0/0", "10.11.0.0/16"};
    run("ip link add v0 type veth peer name v1 && ip link set v1 up && ip link set v0 up && ip "
        "addr add 192.0.2.1/24 dev v0");
    run("ip route add default via 192.0.2.2 table 100 && ip rule add pref 1000 lookup 100");
    struct tunnel *tunnel = open_tunnel();
    exit_node = "exit";
    tunnel_allowed(tunnel, "10.51.0.2/16", with, 2);
    ck_assert(!tunnel_exit_holds(tunnel));
    ck_assert(comes_true("ip route get 10.11.0.1", name));
    run("ip rule del pref 1000");
    ck_assert(tunnel_exit_holds(tunnel));
    close_tunnel(tunnel);
}
END_TEST

START_TEST(networks_of_this_host_win)
{
    static const char *const allowed[] = {"10.11.0.0/16", "192.168.50.0/24", "10.70.0.0/16"};
    run("ip link add v0 type veth peer name v1 && ip link set v1 up && ip link set v0 up && ip "
        "addr add 192.168.50.20/24 dev v0");
    struct tunnel *tunnel = open_tunnel();
    tunnel_allowed(tunnel, "10.51.0.2/32", allowed, 3);
    ck_assert(has(shown("ip route get 192.168.50.10"), "dev v0"));
    ck_assert(has(shown("ip route get 10.70.7.9"), name));
    run("ip addr add 10.70.7.1/24 dev v0"); /* a LAN inside a published network, later */
    ck_assert(comes_true("ip route get 10.70.7.9 || true", "dev v0"));
    ck_assert(has(shown("ip route get 10.70.8.9"), name));
    run("ip addr del 192.168.50.20/24 dev v0 && ip addr del 10.70.7.1/24 dev v0");
    ck_assert(comes_true("ip route get 192.168.50.10 || true", name));
    ck_assert(comes_true("ip route get 10.70.7.9 || true", name));
    run("ip addr add 192.168.50.20/24 dev v0");
    ck_assert(comes_true("ip route get 192.168.50.10 || true", "dev v0"));
    tunnel_allowed(tunnel, "10.51.0.2/32", allowed, 1);
    ck_assert(!has(table(), "192.168.50.0/24"));
    close_tunnel(tunnel);
    ck_assert_str_eq(table(), "");
}
END_TEST

static const char *exit_rules(void)
{
    return shown("ip rule | grep -E '^520[123]:'; ip -6 rule | grep -E '^520[123]:'; true");
}

START_TEST(an_exit_node_takes_everything_or_nothing_leaves)
{
    static const char *const with[] = {"0.0.0.0/0", "10.11.0.0/16"};
    static const char *const without[] = {"10.11.0.0/16"};
    run("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up");
    run("ip addr add 192.0.2.1/24 dev v0 && ip route add default via 192.0.2.2");
    run("ip addr add 2001:db8::1/64 dev v0 nodad && ip -6 route add default via 2001:db8::2");
    struct tunnel *tunnel = open_tunnel();
    exit_node = "exit";
    tunnel_allowed(tunnel, "10.51.0.2/16", with, 2);
    ck_assert(has(shown("ip route get 203.0.113.1"), name));
    ck_assert(has(shown("ip route get 10.11.0.1"), name));
    ck_assert(has(shown("ip route get 192.0.2.9"), "v0")); /* the local network */
    char marked[64];
    snprintf(marked, sizeof marked, "ip route get 203.0.113.1 mark %u", slot.mark);
    ck_assert(has(shown(marked), "v0"));
    ck_assert_str_eq(shown("ip -6 route get 2001:db8:1::1 || true"), ""); /* no leak */
    ck_assert(has(shown("ip -6 route get 2001:db8::9"), "v0"));
    run("ip link set %s down", name);
    ck_assert_str_eq(shown("ip route get 203.0.113.1 || true"), "");
    run("ip link set %s up", name);
    tunnel_allowed(tunnel, "10.51.0.2/16", without, 1);
    ck_assert_str_eq(exit_rules(), "");
    ck_assert(has(shown("ip route get 203.0.113.1"), "v0"));
    ck_assert(has(shown("ip -6 route get 2001:db8:1::1"), "v0"));
    tunnel_allowed(tunnel, "10.51.0.2/16", with, 2);
    ck_assert_str_ne(exit_rules(), "");
    close_tunnel(tunnel);
    ck_assert_str_eq(exit_rules(), "");
}
END_TEST

/* The kernel forgets the routes of a link that goes down, and network managers clean up. */
START_TEST(what_others_remove_is_put_back)
{
    static const char *const allowed[] = {"10.11.0.0/16", "192.168.50.0/24"};
    struct tunnel *tunnel = open_tunnel();
    tunnel_allowed(tunnel, "10.51.0.2/16", allowed, 2);
    run("ip link set %s down && ip link set %s up", name, name);
    ck_assert_str_eq(table(), "");
    ck_assert(comes_true(table_command(), "10.11.0.0/16"));
    ck_assert(comes_true(table_command(), "192.168.50.0/24"));
    run("ip rule del priority 5200");
    ck_assert(comes_true("ip rule", "5200:"));
    close_tunnel(tunnel);
}
END_TEST

START_TEST(the_mtu_follows_the_way_to_an_endpoint)
{
    static const char *const allowed[] = {"10.11.0.0/16"};
    char mtu[32];
    run("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up");
    run("ip addr add 192.0.2.1/24 dev v0 && ip route add 198.51.100.0/24 via 192.0.2.2 mtu 1400");
    struct tunnel *tunnel = open_tunnel();
    endpoint = "198.51.100.7:51820";
    tunnel_allowed(tunnel, "10.51.0.2/16", allowed, 1);
    run_out(mtu, sizeof mtu,
            "cat /sys/class/net/%s/mtu 2>/dev/null || ip -o link show %s | "
            "sed 's/.*mtu \\([0-9]*\\).*/\\1/'",
            name, name);
    ck_assert_str_eq(mtu, "1320\n");
    run("ip route del 198.51.100.0/24 && ip route add 198.51.100.0/24 via 192.0.2.2");
    run("ip link set v0 mtu 9000");
    ck_assert(comes_true("ip link", "mtu 8920"));
    close_tunnel(tunnel);
}
END_TEST

START_TEST(forwarding_is_put_back_by_whoever_switched_it_on)
{
    static const char *const switches =
        "sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding";
    for (int was = 0; was < 2; was++) {
        run("sysctl -qw net.ipv4.ip_forward=%d net.ipv6.conf.all.forwarding=%d", was, was);
        firewall = true;
        struct tunnel *tunnel = open_tunnel();
        ck_assert_str_eq(shown(switches), "1\n1\n");
        tunnel_close(tunnel);
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        ck_assert_str_eq(shown(switches), was ? "1\n1\n" : "0\n0\n");
    }
}
END_TEST

/* Until a file appears, nft does not end: neither the plan nor the loop waits for it. */
START_TEST(nft_is_waited_for_by_nobody)
{
    static const char *const allowed[] = {"10.11.0.0/16"};
    char folder[] = "/tmp/heimdall-nft-XXXXXX";
    char ran[64];
    char path[1024];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(ran, sizeof ran, "ls %s", folder);
    run("printf '#!/bin/sh\nwhile [ ! -e %s/go ]; do sleep 0.02; done\n: > %s/ran\n' > %s/nft && "
        "chmod 755 %s/nft",
        folder, folder, folder, folder);
    snprintf(path, sizeof path, "%s:%s", folder, getenv("PATH"));
    setenv("PATH", path, 1);
    firewall = true;
    struct tunnel *tunnel = open_tunnel();
    overlay = "10.51.0.0/16";
    tunnel_allowed(tunnel, "10.51.0.2/16", allowed, 1);
    run_for(50);
    ck_assert(!has(shown(ran), "ran"));
    ck_assert_ptr_null(tunnel_firewall_problem(tunnel)); /* nothing is known to be wrong */
    run("touch %s/go", folder);
    ck_assert(comes_true(ran, "ran"));
    ck_assert_ptr_null(tunnel_firewall_problem(tunnel));
    close_tunnel(tunnel);
    run("rm -r %s", folder);
}
END_TEST

START_TEST(runs_without_ipv6)
{
    static const char *const allowed[] = {"10.11.0.0/16", "fd00:11::/64"};
    run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
    struct tunnel *tunnel = open_tunnel();
    tunnel_allowed(tunnel, "10.51.0.2/16", allowed, 2);
    ck_assert(has(table(), "10.11.0.0/16"));
    close_tunnel(tunnel);
}
END_TEST

START_TEST(names_share_no_slot)
{
    struct slot slots[40];
    for (size_t i = 0; i < 40; i++) {
        char interface[16];
        snprintf(interface, sizeof interface, "wg%zu", i);
        ck_assert_int_eq(slot_take(&slots[i], interface), 0);
        ck_assert_uint_eq(slots[i].mark & ~(uint32_t)SLOT_MARK_MASK, 0);
        ck_assert(!slot_is_free(slots[i].mark));
        for (size_t j = 0; j < i; j++) {
            ck_assert_uint_ne(slots[i].mark, slots[j].mark);
            ck_assert_uint_ne(slots[i].table, slots[j].table);
        }
    }
    for (size_t i = 0; i < 40; i++)
        slot_release(&slots[i]);
    ck_assert(slot_is_free(slots[7].mark));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("tunnel");
    tcase_add_checked_fixture(tc, enter, NULL);
    tcase_set_timeout(tc, 20);
    tcase_add_test(tc, a_plan_becomes_addresses_routes_and_peers);
    tcase_add_test(tc, the_next_plan_changes_the_difference);
    tcase_add_test(tc, renewing_a_peer_keeps_its_place);
    tcase_add_test(tc, routes_follow_a_new_address);
    tcase_add_test(tc, nothing_is_left);
    tcase_add_test(tc, cleans_up_after_a_killed_run);
    tcase_add_test(tc, a_second_tunnel_of_that_name_is_refused);
    tcase_add_test(tc, a_removed_interface_is_made_anew);
    tcase_add_test(tc, a_name_that_is_taken_is_tried_again);
    tcase_add_test(tc, an_exit_node_takes_everything_or_nothing_leaves);
    tcase_add_test(tc, what_others_remove_is_put_back);
    tcase_add_test(tc, the_mtu_follows_the_way_to_an_endpoint);
    tcase_add_test(tc, forwarding_is_put_back_by_whoever_switched_it_on);
    tcase_add_test(tc, nft_is_waited_for_by_nobody);
    tcase_add_test(tc, runs_without_ipv6);
    tcase_add_test(tc, names_share_no_slot);
    tcase_add_loop_test(tc, what_others_undo_comes_back, 0, 13);
    tcase_add_test(tc, a_fight_slows_down);
    tcase_add_test(tc, a_full_tunnel_of_others_hides_nothing);
    tcase_add_test(tc, an_exit_node_behind_another_rule_is_not_claimed);
    tcase_add_test(tc, networks_of_this_host_win);
    return unit_run_as_root(tc);
}
