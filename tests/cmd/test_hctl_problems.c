#include "cmd/hctl_problems.h"

#include "tests/unit.h"

#include <stdbool.h>
#include <string.h>

enum { NOW = 1700000000, PEERS = 6 };

/* A node and peers that are all well, for a test to make ill. */
struct network {
    Dev__Ehazlett__Heimdall__Api__V1__Node node;
    Heimdall__V1__NodeStatus node_status;
    Heimdall__V1__NodeStatus *nodes[1];
    Dev__Ehazlett__Heimdall__Api__V1__KeyPair keypair;
    Google__Protobuf__Timestamp handshake[PEERS];
    Heimdall__V1__TunnelStatus tunnel[PEERS];
    Dev__Ehazlett__Heimdall__Api__V1__Peer peer[PEERS];
    Heimdall__V1__PeerStatus peer_status[PEERS];
    Heimdall__V1__PeerStatus *peers[PEERS];
    Heimdall__V1__StatusResponse status;
};

static void network_init(struct network *net)
{
    static const char *const names[PEERS] = {"a", "b", "c", "d", "e", "f"};
    memset(net, 0, sizeof *net);
    dev__ehazlett__heimdall__api__v1__node__init(&net->node);
    heimdall__v1__node_status__init(&net->node_status);
    dev__ehazlett__heimdall__api__v1__key_pair__init(&net->keypair);
    heimdall__v1__status_response__init(&net->status);
    net->keypair.public_key = (char *)"key";
    net->node.id = net->status.node_id = (char *)"router-id";
    net->node.name = (char *)"router";
    net->node.endpoint_ip = (char *)"192.0.2.1";
    net->node.endpoint_port = 10100;
    net->node.version = net->status.version = (char *)"1.0";
    net->node_status.node = &net->node;
    net->nodes[0] = &net->node_status;
    for (size_t i = 0; i < PEERS; i++) {
        google__protobuf__timestamp__init(&net->handshake[i]);
        heimdall__v1__tunnel_status__init(&net->tunnel[i]);
        dev__ehazlett__heimdall__api__v1__peer__init(&net->peer[i]);
        heimdall__v1__peer_status__init(&net->peer_status[i]);
        net->handshake[i].seconds = NOW - 100;
        net->tunnel[i].last_handshake = &net->handshake[i];
        net->peer[i].name = (char *)names[i];
        net->peer[i].version = (char *)"1.0";
        net->peer[i].keypair = &net->keypair;
        net->peer_status[i].peer = &net->peer[i];
        net->peer_status[i].tunnel = &net->tunnel[i];
        net->peer_status[i].watching = true;
        net->peers[i] = &net->peer_status[i];
    }
    net->status.nodes = net->nodes;
    net->status.n_nodes = 1;
    net->status.peers = net->peers;
    net->status.n_peers = PEERS;
}

START_TEST(all_is_well)
{
    struct network net;
    struct problems problems;
    network_init(&net);
    ck_assert_int_eq(problems_find(&problems, &net.status, NOW), 0);
    ck_assert_uint_eq(problems.count, 0);
    problems_fini(&problems);
}
END_TEST

START_TEST(condition)
{
    struct network net;
    network_init(&net);
    Heimdall__V1__PeerStatus *peer = &net.peer_status[0];
    ck_assert_int_eq(peer_condition(peer, NOW), PEER_CONNECTED);
    net.handshake[0].seconds = NOW - 181;
    ck_assert_int_eq(peer_condition(peer, NOW), PEER_NO_HANDSHAKE);
    net.handshake[0].seconds = NOW - 180;
    ck_assert_int_eq(peer_condition(peer, NOW), PEER_CONNECTED);
    net.tunnel[0].last_handshake = NULL;
    ck_assert_int_eq(peer_condition(peer, NOW), PEER_NO_HANDSHAKE);
    peer->tunnel = NULL;
    ck_assert_int_eq(peer_condition(peer, NOW), PEER_NO_HANDSHAKE);
    peer->watching = false;
    ck_assert_int_eq(peer_condition(peer, NOW), PEER_OFFLINE);
    net.peer[0].keypair = NULL;
    ck_assert_int_eq(peer_condition(peer, NOW), PEER_NEVER);
    peer->peer = NULL;
    ck_assert_int_eq(peer_condition(peer, NOW), PEER_NEVER);
}
END_TEST

/* A laptop that is switched off is nobody's fault. */
START_TEST(offline_is_no_problem)
{
    struct network net;
    struct problems problems;
    network_init(&net);
    net.handshake[2].seconds = NOW - 10000;
    net.peer_status[2].watching = false;
    ck_assert_int_eq(problems_find(&problems, &net.status, NOW), 0);
    ck_assert_uint_eq(problems.count, 0);
    problems_fini(&problems);
}
END_TEST

START_TEST(no_handshake)
{
    struct network net;
    struct problems problems;
    network_init(&net);
    for (size_t i = 1; i < PEERS; i++)
        net.tunnel[i].last_handshake = NULL;
    ck_assert_int_eq(problems_find(&problems, &net.status, NOW), 0);
    ck_assert_uint_eq(problems.count, 1);
    ck_assert_str_eq(problems.all[0]->what,
                     "connected, but without a handshake in the tunnel: b, c, d and 2 more");
    ck_assert_ptr_nonnull(strstr(problems.all[0]->remedy, "192.0.2.1:10100"));
    problems_fini(&problems);
}
END_TEST

START_TEST(version_skew)
{
    struct network net;
    struct problems problems;
    network_init(&net);
    net.peer[1].version = (char *)"0.9";
    net.peer[2].version = (char *)"";  /* it did not say */
    net.peer[3].version = (char *)"2"; /* it never connected */
    net.peer[3].keypair = NULL;
    ck_assert_int_eq(problems_find(&problems, &net.status, NOW), 0);
    ck_assert_uint_eq(problems.count, 1);
    ck_assert_str_eq(problems.all[0]->what, "another version than this node's 1.0: b with 0.9");
    ck_assert_str_ne(problems.all[0]->remedy, "");
    problems_fini(&problems);
}
END_TEST

/* What the node says comes first, and stays the message's own. */
START_TEST(the_nodes_own)
{
    struct network net;
    struct problems problems;
    Heimdall__V1__Problem redis = HEIMDALL__V1__PROBLEM__INIT;
    Heimdall__V1__Problem *own[] = {&redis};
    network_init(&net);
    net.status.problems = own;
    net.status.n_problems = 1;
    net.peer[5].version = (char *)"0.9";
    ck_assert_int_eq(problems_find(&problems, &net.status, NOW), 0);
    ck_assert_uint_eq(problems.count, 2);
    ck_assert_ptr_eq(problems.all[0], &redis);
    problems_fini(&problems);
    ck_assert_ptr_eq(own[0], &redis);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("hctl_problems");
    tcase_add_test(tc, all_is_well);
    tcase_add_test(tc, condition);
    tcase_add_test(tc, offline_is_no_problem);
    tcase_add_test(tc, no_handshake);
    tcase_add_test(tc, version_skew);
    tcase_add_test(tc, the_nodes_own);
    return unit_run(tc);
}
