#include "control/api/mutation.h"

#include "proto/cluster.pb-c.h"
#include "proto/mutation.pb-c.h"
#include "tests/control/network_fixture.h"

#include <errno.h>
#include <stdlib.h>

/* protobuf-c's messages have no const; nothing writes there. */
static char *words(const char *in)
{
    return (char *)(uintptr_t)in;
}

/* Sends the mutation to "another node" and makes the change there. */
static enum grpc_code make(struct network *network, const struct mutation_kind *kind,
                           const ProtobufCMessage *request)
{
    struct mutation *here = NULL;
    struct mutation *there = NULL;
    struct change change;
    size_t len = 0;
    ck_assert_int_eq(mutation_create(&here, kind, request, NULL, network->now_ns), 0);
    uint8_t *bytes = mutation_pack(here, &len);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_int_eq(mutation_unpack(&there, bytes, len), 0);
    ck_assert_ptr_eq(there->kind, kind);
    ck_assert_mem_eq(there->request_id, here->request_id, MUTATION_ID_LEN);
    ck_assert_uint_eq(there->made_ns, network->now_ns);
    ck_assert_uint_eq(there->packed_len, here->packed_len);
    ck_assert_mem_eq(there->packed, here->packed, here->packed_len);
    enum grpc_code code = mutation_build(there, &change, network->state, &network->err);
    code = network_apply(network, &change, code);
    free(bytes);
    mutation_destroy(here);
    mutation_destroy(there);
    return code;
}

static void add_node(struct network *network)
{
    Pb__PutNodeRequest request = PB__PUT_NODE_REQUEST__INIT;
    Pb__Node node = PB__NODE__INIT;
    Pb__KeyPair keypair = PB__KEY_PAIR__INIT;
    char *networks[] = {words("10.11.0.0/16")};
    keypair.public_key = words(test_key(1));
    node.id = words(test_id(1));
    node.name = words("router");
    node.addr = words("tcp://192.0.2.1:9000");
    node.keypair = &keypair;
    node.endpoint_ip = words("192.0.2.1");
    node.endpoint_port = 10100;
    node.interface_name = words("darknet");
    request.node = &node;
    request.host_networks = networks;
    request.n_host_networks = 1;
    ck_assert_int_eq(make(network, &mutation_put_node, &request.base), GRPC_OK);
}

static void add_peer(struct network *network)
{
    Pb__AuthorizePeerRequest authorize = PB__AUTHORIZE_PEER_REQUEST__INIT;
    Pb__ConnectRequest connect = PB__CONNECT_REQUEST__INIT;
    authorize.id = words(test_id(2));
    connect.id = words(test_id(2));
    connect.name = words("laptop");
    connect.public_key = words(test_key(2));
    connect.version = words("1.2.3");
    connect.no_ipv6 = true;
    ck_assert_int_eq(make(network, &mutation_authorize_peer, &authorize.base), GRPC_OK);
    ck_assert_int_eq(make(network, &mutation_connect, &connect.base), GRPC_OK);
}

START_TEST(a_network_is_made_of_packed_requests)
{
    struct network network;
    Pb__BootstrapClusterRequest cluster = PB__BOOTSTRAP_CLUSTER_REQUEST__INIT;
    network_init_empty(&network);
    cluster.cluster_id = words(test_id(1000));
    cluster.node_network = words("10.10.0.0/16");
    cluster.peer_network = words("10.51.0.0/16");
    ck_assert_int_eq(make(&network, &mutation_bootstrap_cluster, &cluster.base), GRPC_OK);
    add_node(&network);
    /* 10.11.0.0/16 is the host's own */
    char text[IP_PREFIX_TEXT];
    ck_assert_str_eq(ip_prefix_format(&state_node(network.state, test_id(1))->network, text),
                     "10.12.0.0/16");
    add_peer(&network);
    const struct state_peer *peer = state_peer(network.state, test_id(2));
    ck_assert_str_eq(peer->name, "laptop");
    ck_assert_str_eq(peer->pb->version, "1.2.3");
    ck_assert(peer->pb->no_ipv6);
    network_fini(&network);
}
END_TEST

START_TEST(changes_of_peers_and_routes)
{
    struct network network;
    Pb__RenamePeerRequest rename = PB__RENAME_PEER_REQUEST__INIT;
    Pb__RekeyPeerRequest rekey = PB__REKEY_PEER_REQUEST__INIT;
    Pb__CreateRouteRequest create = PB__CREATE_ROUTE_REQUEST__INIT;
    Pb__DeleteRouteRequest delete = PB__DELETE_ROUTE_REQUEST__INIT;
    Pb__DeauthorizePeerRequest deauthorize = PB__DEAUTHORIZE_PEER_REQUEST__INIT;
    network_init(&network);
    add_node(&network);
    add_peer(&network);
    rename.id = words(test_id(2));
    rename.name = words("desk");
    ck_assert_int_eq(make(&network, &mutation_rename_peer, &rename.base), GRPC_OK);
    ck_assert_str_eq(state_peer(network.state, test_id(2))->name, "desk");
    rekey.id = words(test_id(2));
    ck_assert_int_eq(make(&network, &mutation_rekey_peer, &rekey.base), GRPC_OK);
    ck_assert(state_authorization(network.state, test_id(2))->pb->rekey);
    create.node_id = words(test_id(1));
    create.network = words("192.168.50.0/24");
    ck_assert_int_eq(make(&network, &mutation_create_route, &create.base), GRPC_OK);
    ck_assert_uint_eq(state_route_count(network.state), 1);
    delete.network = create.network;
    ck_assert_int_eq(make(&network, &mutation_delete_route, &delete.base), GRPC_OK);
    ck_assert_uint_eq(state_route_count(network.state), 0);
    deauthorize.id = words(test_id(2));
    ck_assert_int_eq(make(&network, &mutation_deauthorize_peer, &deauthorize.base), GRPC_OK);
    ck_assert_ptr_null(state_peer(network.state, test_id(2)));
    ck_assert_int_eq(make(&network, &mutation_deauthorize_peer, &deauthorize.base), GRPC_NOT_FOUND);
    network_fini(&network);
}
END_TEST

/* A peer that was seen after the request to expire it was made stays. */
START_TEST(seen_and_expired)
{
    struct network network;
    Pb__PeersSeenRequest seen = PB__PEERS_SEEN_REQUEST__INIT;
    Pb__PeersSeenRequest__Seen one = PB__PEERS_SEEN_REQUEST__SEEN__INIT;
    Pb__PeersSeenRequest__Seen *list[] = {&one};
    Pb__ExpirePeerRequest expire = PB__EXPIRE_PEER_REQUEST__INIT;
    network_init(&network);
    add_node(&network);
    add_peer(&network);
    one.id = words(test_id(2));
    one.seen_ns = 5000 * NS_PER_SEC;
    seen.peers = list;
    seen.n_peers = 1;
    ck_assert_int_eq(make(&network, &mutation_peers_seen, &seen.base), GRPC_OK);
    ck_assert_int_eq(state_peer(network.state, test_id(2))->pb->last_seen->seconds, 5000);
    expire.id = words(test_id(2));
    expire.seen_ns = 4000 * NS_PER_SEC;
    ck_assert_int_eq(make(&network, &mutation_expire_peer, &expire.base), GRPC_OK);
    ck_assert_uint_eq(network.ops, 0);
    expire.seen_ns = 5000 * NS_PER_SEC;
    ck_assert_int_eq(make(&network, &mutation_expire_peer, &expire.base), GRPC_OK);
    ck_assert_ptr_null(state_peer(network.state, test_id(2)));
    network_fini(&network);
}
END_TEST

/* A retry carries the id of the first attempt; without one, ids differ. */
START_TEST(request_ids)
{
    static const uint8_t id[MUTATION_ID_LEN] = {1, 2, 3};
    Pb__RekeyPeerRequest rekey = PB__REKEY_PEER_REQUEST__INIT;
    struct mutation *a = NULL;
    struct mutation *b = NULL;
    struct mutation *c = NULL;
    rekey.id = words(test_id(2));
    ck_assert_int_eq(mutation_create(&a, &mutation_rekey_peer, &rekey.base, id, 1), 0);
    ck_assert_int_eq(mutation_create(&b, &mutation_rekey_peer, &rekey.base, NULL, 1), 0);
    ck_assert_int_eq(mutation_create(&c, &mutation_rekey_peer, &rekey.base, NULL, 1), 0);
    ck_assert_mem_eq(a->request_id, id, sizeof id);
    ck_assert_mem_ne(b->request_id, c->request_id, sizeof id);
    ck_assert_str_eq(mutation_subject(a), test_id(2));
    mutation_destroy(a);
    mutation_destroy(b);
    mutation_destroy(c);
}
END_TEST

static void refused(Pb__Mutation *pb)
{
    struct mutation *out = NULL;
    uint8_t bytes[512];
    size_t len = pb__mutation__get_packed_size(pb);
    ck_assert_uint_le(len, sizeof bytes);
    pb__mutation__pack(pb, bytes);
    ck_assert_int_eq(mutation_unpack(&out, bytes, len), -EBADMSG);
    ck_assert_ptr_null(out);
}

START_TEST(bytes_that_are_no_mutation)
{
    uint8_t id[MUTATION_ID_LEN] = {1};
    uint8_t broken[] = {0x0a, 0x7f, 'x'};
    Pb__Mutation pb = PB__MUTATION__INIT;
    pb.kind = words("Unheard");
    pb.request_id = (ProtobufCBinaryData){sizeof id, id};
    refused(&pb);
    pb.kind = words("RekeyPeer");
    pb.request_id.len--;
    refused(&pb);
    pb.request_id.len++;
    pb.request = (ProtobufCBinaryData){sizeof broken, broken};
    refused(&pb);
    struct mutation *out = NULL;
    ck_assert_int_eq(mutation_unpack(&out, broken, sizeof broken), -EBADMSG);
}
END_TEST

/* What another node sends is checked as what a client sends. */
START_TEST(requests_that_make_no_sense)
{
    struct network network;
    Pb__PutNodeRequest put = PB__PUT_NODE_REQUEST__INIT;
    Pb__BootstrapClusterRequest cluster = PB__BOOTSTRAP_CLUSTER_REQUEST__INIT;
    network_init(&network);
    ck_assert_int_eq(make(&network, &mutation_put_node, &put.base), GRPC_INVALID_ARGUMENT);
    cluster.node_network = words("10.10.0.0/99");
    ck_assert_int_eq(make(&network, &mutation_bootstrap_cluster, &cluster.base),
                     GRPC_INVALID_ARGUMENT);
    network_fini(&network);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("mutation");
    tcase_add_test(tc, a_network_is_made_of_packed_requests);
    tcase_add_test(tc, changes_of_peers_and_routes);
    tcase_add_test(tc, seen_and_expired);
    tcase_add_test(tc, request_ids);
    tcase_add_test(tc, bytes_that_are_no_mutation);
    tcase_add_test(tc, requests_that_make_no_sense);
    return unit_run(tc);
}
