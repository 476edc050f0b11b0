#include "control/state/plan_peer.h"

#include "control/state/access.h"
#include "control/state/peer_config.h"
#include "control/state/plan.h"
#include "control/state/prefix_rules.h"
#include "tests/control/network_fixture.h"

#include <errno.h>
#include <stdlib.h>

/* An answer of one node, or of many like it. */
struct answer {
    Pb__ConnectResponse pb;
    Pb__Peer *nodes;
    Pb__Peer **list;
    Pb__KeyPair *keypairs;
    char (*keys)[BASE64_KEY_LEN + 1];
    char *networks[32];
    char text[1024];
};

/* The nodes have distinct keys, the first of them the networks, separated by spaces. */
static void answer_init(struct answer *answer, size_t count, const char *networks)
{
    memset(answer, 0, sizeof *answer);
    pb__connect_response__init(&answer->pb);
    answer->nodes = calloc(count, sizeof *answer->nodes);
    answer->list = calloc(count, sizeof(Pb__Peer *));
    answer->keypairs = calloc(count, sizeof *answer->keypairs);
    answer->keys = calloc(count, sizeof *answer->keys);
    for (size_t i = 0; i < count; i++) {
        uint8_t key[32] = {9};
        store_be32(key + 28, (uint32_t)(i * 2654435761U));
        bytes_to_base64(answer->keys[i], key, sizeof key);
        pb__key_pair__init(&answer->keypairs[i]);
        pb__peer__init(&answer->nodes[i]);
        answer->keypairs[i].public_key = answer->keys[i];
        answer->nodes[i].keypair = &answer->keypairs[i];
        answer->nodes[i].endpoint = "192.0.2.1:10100";
        answer->list[i] = &answer->nodes[i];
    }
    answer->nodes[0].name = "router";
    answer->nodes[0].peer_ip = "10.11.0.1";
    answer->pb.address = "10.51.0.2/16";
    answer->pb.address6 = "fd01:2:3:ffff::2/64";
    answer->pb.peers = answer->list;
    answer->pb.n_peers = count;
    snprintf(answer->text, sizeof answer->text, "%s", networks);
    answer->nodes[0].allowed_ips = answer->networks;
    for (char *word = strtok(answer->text, " "); word != NULL; word = strtok(NULL, " "))
        answer->networks[answer->nodes[0].n_allowed_ips++] = word;
}

static void answer_fini(struct answer *answer)
{
    free(answer->nodes);
    free(answer->list);
    free(answer->keypairs);
    free(answer->keys);
}

/* What hostile or broken nodes ask for; `why` is a part of the refusal. */
static const struct {
    const char *networks;
    const char *exit_node;
    const char *why; /* NULL: accepted */
} asks[] = {
    {"10.11.0.0/16 10.51.0.0/16 fd01:2:3:1::/64 fd01:2:3:ffff::/64", NULL, NULL},
    {"10.11.0.0/16 10.99.0.0/16 8.8.8.0/24 2001:db8::/32", NULL, NULL},
    {"10.11.0.0/16 0.0.0.0/0 ::/0", NULL, NULL}, /* ignored */
    {"10.11.0.0/16 0.0.0.0/1 128.0.0.0/1 ::/1 8000::/1", NULL, "reserved"},
    {"0.0.0.0/1", NULL, "reserved"},
    {"1.0.0.0/8 2.0.0.0/7 4.0.0.0/6 12.0.0.0/6 16.0.0.0/4 32.0.0.0/3", NULL, "--exit-node"},
    {"2000::/3", NULL, "--exit-node"},
    {"1.0.0.0/8 2.0.0.0/7 4.0.0.0/6 12.0.0.0/6 16.0.0.0/4 32.0.0.0/3", "router", NULL},
    {"127.0.0.0/8", NULL, "reserved"},
    {"127.0.0.53/32", "router", "reserved"},
    {"169.254.169.254/32", NULL, "reserved"},
    {"10.51.0.2/32", NULL, "own network"},
    {"10.51.0.0/17", NULL, "own network"},
    {"10.0.0.0/8", NULL, "own network"},
    {"fd01:2:3:ffff::2/128", NULL, "own network"},
    {"10.11.0.0/16 fd01:2:3:ffff::/64", NULL, "own address"},
    {"10.51.0.0/16 10.11.0.0/16", NULL, "own address"},
};

START_TEST(hostile_networks)
{
    struct answer answer;
    struct plan plan;
    struct err err = {0};
    answer_init(&answer, 1, asks[_i].networks);
    int rc =
        plan_of_peer(&answer.pb, &(struct plan_self){.exit_node = asks[_i].exit_node}, &plan, &err);
    ck_assert_msg(rc == (asks[_i].why == NULL ? 0 : -EINVAL), "%s: %d", asks[_i].networks, rc);
    if (rc != 0)
        ck_assert_msg(strstr(err.text, asks[_i].why) != NULL, "%s", err.text);
    plan_fini(&plan);
    answer_fini(&answer);
}
END_TEST

static const struct {
    const char *address;
    const char *address6;
    const char *node_address;
    int rc;
} addresses[] = {
    {"10.51.0.2/16", "", "10.11.0.1", 0},
    {"10.51.0.2/16", "", "10.51.0.2", -EINVAL}, /* the node's own */
    {"10.51.0.2/16", "", "10.51.0.1", -EINVAL}, /* in the peers' network */
    {"10.11.0.1/16", "", "", -EINVAL},          /* in the node's network */
    {"10.11.7.7/16", "", "", -EINVAL},
    {"10.51.0.2/16", "fd01::2/64", "fd01::2", -EINVAL},
    {"10.51.0.2/0", "", "", -EINVAL},
    {"10.51.0.2/16", "fd01::2/0", "", -EINVAL},
    {"127.0.0.1/8", "", "", -EINVAL},
    {"10.51.0.2/16", "fe80::2/64", "", -EINVAL},
    {"169.254.1.1/16", "", "", -EINVAL},
};

START_TEST(hostile_addresses)
{
    struct answer answer;
    struct plan plan;
    struct err err = {0};
    answer_init(&answer, 1, "10.11.0.0/16");
    answer.pb.address = (char *)(uintptr_t)addresses[_i].address;
    answer.pb.address6 = (char *)(uintptr_t)addresses[_i].address6;
    if (strchr(addresses[_i].node_address, ':') == NULL)
        answer.nodes[0].peer_ip = (char *)(uintptr_t)addresses[_i].node_address;
    else
        answer.nodes[0].peer_ip6 = (char *)(uintptr_t)addresses[_i].node_address;
    ck_assert_int_eq(plan_of_peer(&answer.pb, &(struct plan_self){0}, &plan, &err),
                     addresses[_i].rc);
    plan_fini(&plan);
    answer_fini(&answer);
}
END_TEST

/* A node that copies the exit node's name does not become one. */
START_TEST(two_exit_nodes)
{
    struct answer answer;
    struct plan plan;
    struct err err = {0};
    static char *wide[] = {"16.0.0.0/4", "32.0.0.0/3"};
    answer_init(&answer, 2, "0.0.0.0/0");
    answer.nodes[1].name = "router";
    answer.nodes[1].allowed_ips = wide;
    answer.nodes[1].n_allowed_ips = 2;
    ck_assert_int_eq(
        plan_of_peer(&answer.pb, &(struct plan_self){.exit_node = "router"}, &plan, &err), -EINVAL);
    plan_fini(&plan);
    answer_fini(&answer);
}
END_TEST

/* The largest accepted answer, and those that are larger. */
START_TEST(many_nodes)
{
    static const size_t counts[] = {PREFIX_NODES_MAX, PREFIX_NODES_MAX + 1, 45000};
    struct answer answer;
    struct plan plan;
    struct err err = {0};
    answer_init(&answer, counts[_i], "10.11.0.0/16");
    int rc = plan_of_peer(&answer.pb, &(struct plan_self){0}, &plan, &err);
    ck_assert_int_eq(rc, _i == 0 ? 0 : -EINVAL);
    if (rc == 0)
        ck_assert_uint_eq(plan.peer_count, PREFIX_NODES_MAX);
    else
        ck_assert_ptr_nonnull(strstr(err.text, "nodes, and 4096 are the most"));
    plan_fini(&plan);
    answer_fini(&answer);
}
END_TEST

START_TEST(many_networks)
{
    struct answer answer;
    struct plan plan;
    struct err err = {0};
    enum { MANY = PREFIX_ROUTES_MAX + 4 * PREFIX_NODES_MAX + 1 };
    static char texts[MANY][IP_PREFIX_TEXT];
    static char *list[MANY];
    answer_init(&answer, 1, "");
    for (int i = 0; i < MANY; i++) {
        snprintf(texts[i], sizeof texts[i], "10.%d.%d.%d/32", 100 + (i >> 16), i >> 8 & 255,
                 i & 255);
        list[i] = texts[i];
    }
    answer.nodes[0].allowed_ips = list;
    answer.nodes[0].n_allowed_ips = MANY - 1;
    ck_assert_int_eq(plan_of_peer(&answer.pb, &(struct plan_self){0}, &plan, &err), 0);
    ck_assert_uint_eq(plan.route_count, MANY - 1);
    plan_fini(&plan);
    answer.nodes[0].n_allowed_ips = MANY;
    ck_assert_int_eq(plan_of_peer(&answer.pb, &(struct plan_self){0}, &plan, &err), -EINVAL);
    plan_fini(&plan);
    answer_fini(&answer);
}
END_TEST

/* The store's record of the nth of the largest nodes or routes. */
static void put_node(struct state *state, unsigned n)
{
    char id[ACCESS_ID_MAX + 1];
    char name[ACCESS_NAME_MAX + 1];
    char addr[257];
    char network[32];
    char gateway[32];
    char key[256];
    uint8_t value[2048];
    Pb__KeyPair keypair = PB__KEY_PAIR__INIT;
    Pb__Node node = PB__NODE__INIT;
    snprintf(id, sizeof id, "%0*u", ACCESS_ID_MAX, n);
    snprintf(name, sizeof name, "%0*u", ACCESS_NAME_MAX, n);
    snprintf(addr, sizeof addr, "tcp://%0*u", 250, n);
    snprintf(network, sizeof network, "10.%u.%u.%u/29", 100 + (n >> 13), n >> 5 & 255,
             n << 3 & 255);
    snprintf(gateway, sizeof gateway, "10.%u.%u.%u", 100 + (n >> 13), n >> 5 & 255,
             (n << 3 & 255) + 1);
    snprintf(key, sizeof key, RECORD_KEY_NODES "%s", id);
    keypair.public_key = (char *)(uintptr_t)test_key(100000 + n);
    node.id = id;
    node.name = name;
    node.addr = addr;
    node.keypair = &keypair;
    node.endpoint_ip = "2001:db8:1234:5678:9abc:def0:1234:5678";
    node.endpoint_port = 65535;
    node.network = network;
    node.gateway_ip = gateway;
    node.join_seq = n;
    node.psk_version = RECORD_PSK_VERSION;
    struct record_op op = {RECORD_SET, key, NULL, value, pb__node__pack(&node, value)};
    ck_assert_int_eq(state_apply(state, &op), 0);
}

static void put_route(struct state *state, unsigned n)
{
    char id[ACCESS_ID_MAX + 1];
    char network[IP_PREFIX_TEXT];
    char key[256];
    uint8_t value[256];
    Pb__Route route = PB__ROUTE__INIT;
    snprintf(id, sizeof id, "%0*u", ACCESS_ID_MAX, n % PREFIX_NODES_MAX);
    snprintf(network, sizeof network, "fd99:1234:5678:9abc:def0:1234:ffff:%x/128", 0x1000 + n);
    snprintf(key, sizeof key, RECORD_KEY_ROUTES "%s", network);
    route.node_id = id;
    route.network = network;
    struct record_op op = {RECORD_SET, key, NULL, value, pb__route__pack(&route, value)};
    ck_assert_int_eq(state_apply(state, &op), 0);
}

/* The answer to a peer of the largest network fits one message, and the peer follows it. Another
 * node or route is refused. */
START_TEST(largest_network)
{
    struct network network;
    struct plan plan;
    struct err err = {0};
    network_init(&network);
    for (unsigned n = 0; n < PREFIX_NODES_MAX; n++)
        put_node(network.state, n);
    for (unsigned n = 0; n < PREFIX_ROUTES_MAX; n++)
        put_route(network.state, n);
    ck_assert_uint_eq(state_damaged(network.state), 0);
    ck_assert_uint_eq(state_node_count(network.state), PREFIX_NODES_MAX);
    network_add_peer(&network, 5000, "p");
    Pb__ConnectResponse *response = peer_config_build(network.state, test_id(5000), "heimdall");
    ck_assert_uint_le(pb__connect_response__get_packed_size(response), GRPC_MESSAGE_MAX);
    ck_assert_int_eq(plan_of_peer(response, &(struct plan_self){0}, &plan, &err), 0);
    ck_assert_uint_eq(plan.peer_count, PREFIX_NODES_MAX);
    ck_assert_int_eq(network_put_node(&network, 250, "more"), GRPC_RESOURCE_EXHAUSTED);
    struct change change;
    char id[ACCESS_ID_MAX + 1];
    snprintf(id, sizeof id, "%0*u", ACCESS_ID_MAX, 1);
    enum grpc_code code = change_create_route(
        &change, network.state, &(struct change_route){id, "192.168.7.0/24", false}, &network.err);
    ck_assert_int_eq(network_apply(&network, &change, code), GRPC_RESOURCE_EXHAUSTED);
    plan_fini(&plan);
    pb__connect_response__free_unpacked(response, NULL);
    network_fini(&network);
}
END_TEST

START_TEST(same_key_twice)
{
    struct answer answer;
    struct plan plan;
    struct err err = {0};
    answer_init(&answer, 100, "10.11.0.0/16");
    answer.keypairs[70].public_key = answer.keys[3];
    ck_assert_int_eq(plan_of_peer(&answer.pb, &(struct plan_self){0}, &plan, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, answer.keys[3]));
    plan_fini(&plan);
    answer_fini(&answer);
}
END_TEST

/* A node must not send a peer's queries to a resolver outside the overlay. */
START_TEST(resolvers_outside)
{
    char *given[] = {(char *)"8.8.8.8", (char *)"10.11.0.1", (char *)"127.0.0.1",
                     (char *)"10.51.0.9", (char *)"2001:4860:4860::8888"};
    struct answer answer;
    struct plan plan;
    struct err err = {0};
    answer_init(&answer, 1, "10.11.0.0/16 0.0.0.0/0 ::/0");
    answer.pb.dns = given;
    answer.pb.n_dns = ARRAY_LEN(given);
    ck_assert_int_eq(plan_of_peer(&answer.pb, &(struct plan_self){0}, &plan, &err), 0);
    ck_assert_uint_eq(plan.dns_count, 2);
    char text[IP_ADDR_TEXT];
    ck_assert_str_eq(ip_addr_format(&plan.dns[0], text), "10.11.0.1");
    ck_assert_str_eq(ip_addr_format(&plan.dns[1], text), "10.51.0.9");
    plan_fini(&plan);
    answer_fini(&answer);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("plan_peer");
    tcase_add_loop_test(tc, hostile_networks, 0, ARRAY_LEN(asks));
    tcase_add_loop_test(tc, hostile_addresses, 0, ARRAY_LEN(addresses));
    tcase_add_test(tc, two_exit_nodes);
    tcase_add_loop_test(tc, many_nodes, 0, 3);
    tcase_add_test(tc, many_networks);
    tcase_add_test(tc, largest_network);
    tcase_add_test(tc, same_key_twice);
    tcase_add_test(tc, resolvers_outside);
    return unit_run(tc);
}
