#include "control/api/report.h"

#include "control/api/facts.h"
#include "control/api/live.h"
#include "control/api/page.h"
#include "control/api/watch_peer.h"
#include "tests/control/network_fixture.h"

#include <errno.h>
#include <stdlib.h>

#define NOW_NS  (5000 * NS_PER_SEC)
#define BOOT_NS (20000 * NS_PER_SEC)

/* A network with a node and four peers: 2 has a tunnel, 3 has none, 4 never connected, 5 runs
 * another version. Each test sets what the tunnel and the host report. */
struct world {
    struct network network;
    struct report_host host;
    struct live live;
    struct report *status;
    const Pb__StatusResponse *pb;
    uint64_t watching_ns[8]; /* by peer number; 0: it does not watch */
    int64_t ahead_s[8];
    struct watcher watchers[8];
    char ids[8][64];
    uint64_t handshake_ns; /* of peer 2 */
    bool tunnel_down;
    bool tunnel_dumb;
    bool port_taken;
    uint32_t mtu;
    struct report_probe probe;
};

static int tunnel_info(void *ctx, struct path_info *out)
{
    const struct world *world = ctx;
    if (world->tunnel_dumb)
        return -ENOMEM;
    *out = (struct path_info){.up = !world->tunnel_down, .listen_port = 10100, .mtu = world->mtu};
    if (world->port_taken) {
        out->listen_port = 0;
        out->missing_port = 10100;
        out->has_no_socket = true;
    }
    out->device.peers = calloc(1, sizeof *out->device.peers);
    ck_assert_ptr_nonnull(out->device.peers);
    out->device.peer_count = 1;
    struct wg_peer_info *peer = &out->device.peers[0];
    memcpy(peer->public_key, state_peer(world->network.state, test_id(2))->public_key, WG_KEY_LEN);
    struct ip_addr addr = test_addr("198.51.100.7");
    endpoint_from_addr(&peer->endpoint, &addr, 4321);
    peer->rx_bytes = 111;
    peer->tx_bytes = 222;
    if (world->handshake_ns != 0)
        peer->last_handshake_boot_ns = BOOT_NS - (NOW_NS - world->handshake_ns);
    return 0;
}

/* Writes a record as another version of the program would. */
static void put_version(struct network *network, unsigned n, const char *version)
{
    char key[128];
    uint8_t packed[1024];
    Pb__Peer peer = *state_peer(network->state, test_id(n))->pb;
    snprintf(key, sizeof key, RECORD_KEY_PEERS "%s", test_id(n));
    peer.version = (char *)(uintptr_t)version;
    size_t len = pb__peer__get_packed_size(&peer);
    ck_assert_uint_le(len, sizeof packed);
    pb__peer__pack(&peer, packed);
    struct record_op op = {RECORD_SET, key, NULL, packed, len};
    ck_assert_int_eq(state_apply(network->state, &op), 0);
}

static void world_init(struct world *world)
{
    *world = (struct world){.host = {.interface_name = "darknet",
                                     .data_dir = "/data",
                                     .started_ns = BOOT_NS - 4000 * NS_PER_SEC,
                                     .redis_runs = true,
                                     .takes_changes = true,
                                     .forwards = true,
                                     .serves_names = true},
                            .handshake_ns = NOW_NS - 10 * NS_PER_SEC,
                            .mtu = 1420};
    network_init(&world->network);
    ck_assert_int_eq(network_put_node(&world->network, 1, "router"), GRPC_OK);
    network_add_peer(&world->network, 2, "laptop");
    network_add_peer(&world->network, 3, "");
    ck_assert_int_eq(network_authorize(&world->network, test_id(4)), GRPC_OK);
}

static void ask_page(struct world *world, struct page *page)
{
    live_init(&world->live, tunnel_info, world, NOW_NS, BOOT_NS);
    for (unsigned n = 0; n < ARRAY_LEN(world->watching_ns); n++) {
        snprintf(world->ids[n], sizeof world->ids[n], "%s", test_id(n));
        world->watchers[n] =
            (struct watcher){world->ids[n], BOOT_NS - world->watching_ns[n], world->ahead_s[n]};
        if (world->watching_ns[n] > 0)
            live_add_watcher(&world->live, &world->watchers[n]);
    }
    struct report_facts facts = {.state = world->network.state,
                                 .live = &world->live,
                                 .host = &world->host,
                                 .node_id = test_id(1),
                                 .version = "1.0.0",
                                 .now_ns = NOW_NS};
    ck_assert_int_eq(report_create(&world->status, &facts, page), 0);
    world->pb = report_response(world->status);
}

static void ask(struct world *world)
{
    struct page page;
    ck_assert(page_init(&page, NULL, WALK_NODES, 0, ""));
    ask_page(world, &page);
}

static void world_fini(struct world *world)
{
    report_destroy(world->status);
    live_fini(&world->live);
    network_fini(&world->network);
}

START_TEST(says_everything)
{
    struct world world;
    world_init(&world);
    world.watching_ns[2] = 60 * NS_PER_SEC;
    ask(&world);
    const Pb__StatusResponse *pb = world.pb;
    ck_assert_str_eq(pb->version, "1.0.0");
    ck_assert_str_eq(pb->cluster_id, test_id(1000));
    ck_assert_str_eq(pb->node_id, test_id(1));
    ck_assert_str_eq(pb->master_id, test_id(1));
    ck_assert_uint_eq(pb->rev, state_rev(world.network.state));
    ck_assert_int_eq(pb->started->seconds, 1000);
    ck_assert_int_eq(pb->now->seconds, 5000);
    ck_assert_uint_eq(pb->n_nodes, 1);
    ck_assert_str_eq(pb->nodes[0]->node->name, "router");
    ck_assert_int_eq(pb->nodes[0]->node->updated->seconds, 5000);
    ck_assert_ptr_null(pb->nodes[0]->tunnel);
    ck_assert_uint_eq(pb->n_peers, 3);
    ck_assert_uint_eq(pb->n_problems, 0);
    for (size_t i = 0; i < pb->n_peers; i++) {
        const Pb__PeerStatus *peer = pb->peers[i];
        bool is_2 = strcmp(peer->peer->id, test_id(2)) == 0;
        ck_assert_int_eq(peer->watching, is_2);
        ck_assert_int_eq(peer->tunnel != NULL, is_2);
        ck_assert_int_eq(peer->peer->peer_ip[0] == '\0', strcmp(peer->peer->id, test_id(4)) == 0);
        if (!is_2)
            continue;
        ck_assert_str_eq(peer->tunnel->endpoint, "198.51.100.7:4321");
        ck_assert_str_eq(peer->peer->endpoint, "198.51.100.7:4321");
        ck_assert_int_eq(peer->tunnel->last_handshake->seconds, 4990);
        ck_assert_int_eq(peer->peer->last_seen->seconds, 5000); /* because its stream is open */
        ck_assert_uint_eq(peer->tunnel->rx_bytes, 111);
        ck_assert_uint_eq(peer->tunnel->tx_bytes, 222);
    }
    /* an unset field is absent, not a default */
    uint8_t *packed = malloc(protobuf_c_message_get_packed_size(&pb->base));
    ck_assert_ptr_nonnull(packed);
    size_t len = protobuf_c_message_pack(&pb->base, packed);
    Pb__StatusResponse *again = pb__status_response__unpack(NULL, len, packed);
    ck_assert_ptr_nonnull(again);
    pb__status_response__free_unpacked(again, NULL);
    free(packed);
    world_fini(&world);
}
END_TEST

/* A difference of clocks is reported and changes nothing else. */
START_TEST(clocks_differ)
{
    static const struct {
        int64_t ahead_s;
        const char *what; /* NULL: no problem */
    } rows[] = {{0, NULL},
                {59, NULL},
                {-59, NULL},
                {3600, "laptop (3600 s ahead)"},
                {-86400, "laptop (86400 s behind)"}};
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        struct world world;
        world_init(&world);
        world.watching_ns[2] = 60 * NS_PER_SEC;
        world.ahead_s[2] = rows[row].ahead_s;
        ask(&world);
        ck_assert_uint_eq(world.pb->n_problems, rows[row].what != NULL);
        if (rows[row].what != NULL)
            ck_assert_ptr_nonnull(strstr(world.pb->problems[0]->what, rows[row].what));
        for (size_t i = 0; i < world.pb->n_peers; i++)
            if (strcmp(world.pb->peers[i]->peer->id, test_id(2)) == 0)
                ck_assert_int_eq(world.pb->peers[i]->clock_ahead_s, rows[row].ahead_s);
        world_fini(&world);
    }
}
END_TEST

/* ---- one thing wrong each ---- */

static void tunnel_down(struct world *world)
{
    world->tunnel_down = true;
    world->watching_ns[3] = 60 * NS_PER_SEC; /* one line is enough */
}

static void tunnel_dumb(struct world *world)
{
    world->tunnel_dumb = true;
}

static void port_taken(struct world *world)
{
    world->port_taken = true;
}

static void no_forwarding(struct world *world)
{
    world->host.forwards = false;
}

static void no_firewall(struct world *world)
{
    world->host.firewall_problem = "nft is missing";
}

static void disk_full(struct world *world)
{
    world->host.disk_full = true;
}

static void no_redis(struct world *world)
{
    world->host.redis_runs = false;
    world->host.takes_changes = false;
}

static void parked(struct world *world)
{
    world->host.takes_changes = false;
}

static void damaged(struct world *world)
{
    struct record_op op = {RECORD_SET, RECORD_KEY_ROUTES "10.0.0.0/8", NULL,
                           (const uint8_t *)"\xff", 1};
    log_set_level(LOG_ERROR + 1);
    ck_assert_int_eq(state_apply(world->network.state, &op), 0);
    log_set_level(LOG_ERROR);
}

static void no_names(struct world *world)
{
    world->host.serves_names = false;
}

static void insecure(struct world *world)
{
    world->host.insecure = true;
}

static void no_handshake(struct world *world)
{
    world->watching_ns[3] = 20 * NS_PER_SEC;
}

static void old_handshake(struct world *world)
{
    world->watching_ns[2] = 300 * NS_PER_SEC;
    world->handshake_ns = NOW_NS - 181 * NS_PER_SEC;
}

static void never_shook_hands(struct world *world)
{
    world->watching_ns[2] = 300 * NS_PER_SEC;
    world->handshake_ns = 0;
}

static void other_version(struct world *world)
{
    put_version(&world->network, 2, "0.9.1");
}

static void many_versions(struct world *world)
{
    for (unsigned n = 10; n < 17; n++) {
        network_add_peer(&world->network, n, "");
        put_version(&world->network, n, "0.8");
    }
}

static void probed(struct world *world, enum report_probe_kind kind,
                   enum report_probe_result result)
{
    world->probe = (struct report_probe){.kind = kind,
                                         .result = result,
                                         .to = test_addr("192.168.50.254"),
                                         .network = test_prefix("192.168.50.0/24")};
    world->host.probes = &world->probe;
    world->host.probe_count = 1;
}

static void forward_dropped(struct world *world)
{
    probed(world, REPORT_PROBE_FORWARD, REPORT_PROBE_DROPPED);
}

static void forward_refused(struct world *world)
{
    probed(world, REPORT_PROBE_FORWARD, REPORT_PROBE_REFUSED);
}

static void no_route(struct world *world)
{
    probed(world, REPORT_PROBE_FORWARD, REPORT_PROBE_NO_ROUTE);
}

static void dns_udp_dropped(struct world *world)
{
    probed(world, REPORT_PROBE_DNS_UDP, REPORT_PROBE_DROPPED);
}

static void dns_tcp_refused(struct world *world)
{
    probed(world, REPORT_PROBE_DNS_TCP, REPORT_PROBE_REFUSED);
}

static void small_mtu(struct world *world)
{
    world->mtu = 1279;
}

static void name_taken(struct world *world)
{
    ck_assert_int_eq(network_put_node(&world->network, 9, "laptop"), GRPC_OK);
}

/* The problem and its remedy. */
static void no_preshared_key(struct world *world)
{
    world->network.no_psk = true;
    ck_assert_int_eq(network_connect(&world->network, test_id(2), "laptop", test_key(2)), GRPC_OK);
}

static const struct {
    const char *what;
    const char *remedy;
    void (*spoil)(struct world *world);
} faults[] = {
    {"the interface darknet is down", "ip link set darknet up", tunnel_down},
    {"UDP port 10100 cannot be opened", "--endpoint-port", port_taken},
    {"memory is short", "more memory", tunnel_dumb},
    {"does not forward packets", "ip_forward=1", no_forwarding},
    {"not set up: nft is missing: networks", "nftables", no_firewall},
    {"the disk of /data is full", "free space", disk_full},
    {"redis-server does not run", "/data/redis/redis.log", no_redis},
    {"the store does not take changes", "/data/redis/redis.log", parked},
    {"1 damaged records", "log names them", damaged},
    {"DNS is not served", "--dns-address", no_names},
    {"open to everyone", "without --insecure", insecure},
    {"without a preshared key, which are not safe from quantum computers: laptop", "upgrade hpeer",
     no_preshared_key},
    {"without a tunnel: ", "UDP port 10100", no_handshake},
    {"without a tunnel: laptop", "UDP port 10100", old_handshake},
    {"without a tunnel: laptop", "UDP port 10100", never_shook_hands},
    {"runs version 1.0.0, peers do not: laptop (0.9.1)", "upgrade hpeer", other_version},
    {" and 2 more", "upgrade hpeer", many_versions},
    {"the one that they chose is taken: ", "hctl peers rename", name_taken},
    {"(laptop is a node's)", "--name", name_taken},
    {"firewall of this host does not forward", "-i darknet -j ACCEPT", forward_dropped},
    {"what peers send to 192.168.50.0/24", "hook forward", forward_refused},
    {"has no route to 192.168.50.0/24", "routes delete", no_route},
    {"does not let DNS queries of peers in (port 53, UDP)", "hook input", dns_udp_dropped},
    {"(port 53, TCP)", "-i darknet", dns_tcp_refused},
    {"MTU of darknet is 1279", "mtu 1420", small_mtu},
};

START_TEST(finds_problems)
{
    struct world world;
    world_init(&world);
    faults[_i].spoil(&world);
    ask(&world);
    ck_assert_uint_eq(world.pb->n_problems, 1);
    const Pb__Problem *problem = world.pb->problems[0];
    ck_assert_msg(strstr(problem->what, faults[_i].what) != NULL, "%s", problem->what);
    ck_assert_msg(strstr(problem->remedy, faults[_i].remedy) != NULL, "%s", problem->remedy);
    /* ids are secrets: only their beginning is shown */
    for (unsigned n = 2; n < 17; n++)
        ck_assert_msg(strstr(problem->what, test_id(n)) == NULL, "%s", problem->what);
    world_fini(&world);
}
END_TEST

static void again(struct world *world)
{
    report_destroy(world->status);
    live_fini(&world->live);
}

/* A client that does not page gets as many peers as fit, and a problem for the rest. */
START_TEST(cut_to_a_size)
{
    struct world world;
    struct page page;
    world_init(&world);
    for (unsigned n = 10; n < 60; n++)
        network_add_peer(&world.network, n, "");
    ask(&world);
    size_t whole = protobuf_c_message_get_packed_size(&world.pb->base);
    ck_assert_uint_eq(world.pb->n_peers, 53);
    ck_assert_uint_eq(world.pb->n_problems, 0);
    again(&world);
    ck_assert(page_init(&page, NULL, WALK_NODES, 0, ""));
    page.room = whole - 1;
    ask_page(&world, &page);
    ck_assert_uint_le(protobuf_c_message_get_packed_size(&world.pb->base), whole - 1);
    ck_assert(world.pb->n_peers > 30 && world.pb->n_peers < 53);
    ck_assert_uint_eq(world.pb->n_problems, 1);
    ck_assert_str_eq(world.pb->next_page_token, "");
    ck_assert_msg(strstr(world.pb->problems[0]->what, " of 53 peers") != NULL, "%s",
                  world.pb->problems[0]->what);
    world_fini(&world);
}
END_TEST

/* Pages hold every node and peer once, and the problems once. */
START_TEST(pages)
{
    static const uint64_t sizes[] = {1, 7, 53, 54, 55, 1000};
    struct world world;
    world_init(&world);
    world.host.serves_names = false;
    for (unsigned n = 10; n < 60; n++)
        network_add_peer(&world.network, n, "");
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        size_t nodes = 0, peers = 0, never = 0, problems = 0, count = 0;
        char token[WALK_TOKEN] = "";
        do {
            struct page page;
            ck_assert(page_init(&page, NULL, WALK_NODES, sizes[i], token));
            ask_page(&world, &page);
            nodes += world.pb->n_nodes;
            peers += world.pb->n_peers;
            problems += world.pb->n_problems;
            for (size_t p = 0; p < world.pb->n_peers; p++)
                never += world.pb->peers[p]->peer->peer_ip[0] == '\0';
            ck_assert_uint_le(world.pb->n_nodes + world.pb->n_peers, sizes[i]);
            snprintf(token, sizeof token, "%s", world.pb->next_page_token);
            count++;
            again(&world);
        } while (token[0] != '\0');
        ck_assert_uint_eq(nodes, 1);
        ck_assert_uint_eq(peers, 53);
        ck_assert_uint_eq(never, 1);
        ck_assert_uint_eq(problems, 1);
        ck_assert_uint_eq(count, (54 + sizes[i] - 1) / sizes[i]);
    }
    network_fini(&world.network);
}
END_TEST

/* No problem: a peer that has just connected, or one that left together with its tunnel. */
START_TEST(finds_no_others)
{
    struct world world;
    world_init(&world);
    world.watching_ns[3] = 10 * NS_PER_SEC;
    world.handshake_ns = NOW_NS - 9999 * NS_PER_SEC;
    put_version(&world.network, 2, "1.0.0");
    probed(&world, REPORT_PROBE_FORWARD, REPORT_PROBE_PASSED);
    ask(&world);
    ck_assert_uint_eq(world.pb->n_problems, 0);
    world_fini(&world);
}
END_TEST

/* All problems at once fit. */
START_TEST(everything_is_wrong)
{
    struct world world;
    world_init(&world);
    world.host = (struct report_host){
        .interface_name = "darknet",
        .data_dir = "/data",
        .insecure = true,
        .disk_full = true,
        .firewall_problem = "nft is missing",
        .tunnel_problem = "another program keeps removing its routes",
    };
    many_versions(&world);
    no_handshake(&world);
    damaged(&world);
    ask(&world);
    ck_assert_uint_eq(world.pb->n_problems, 10);
    ck_assert_ptr_null(world.pb->started);
    world_fini(&world);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("status");
    tcase_add_test(tc, says_everything);
    tcase_add_test(tc, clocks_differ);
    tcase_add_loop_test(tc, finds_problems, 0, ARRAY_LEN(faults));
    tcase_add_test(tc, cut_to_a_size);
    tcase_add_test(tc, pages);
    tcase_add_test(tc, finds_no_others);
    tcase_add_test(tc, everything_is_wrong);
    return unit_run(tc);
}
