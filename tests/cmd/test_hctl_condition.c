#include "cmd/hctl_condition.h"

#include "tests/unit.h"

#include <stdbool.h>

enum { NOW = 1700000000 };

static const struct {
    int64_t handshake_age; /* -1: none yet */
    bool has_key;
    bool watching;
    size_t nodes;
    enum peer_condition condition;
} peers[] = {
    {0, true, true, 1, PEER_CONNECTED},      {180, true, true, 1, PEER_CONNECTED},
    {181, true, true, 1, PEER_NO_HANDSHAKE}, {-1, true, true, 1, PEER_NO_HANDSHAKE},
    {1, true, false, 1, PEER_OFFLINE}, /* it has just left */
    {1, true, false, 2, PEER_CONNECTED},     {181, true, false, 2, PEER_OFFLINE},
    {-1, true, false, 2, PEER_OFFLINE},      {-1, false, false, 1, PEER_NEVER},
};

START_TEST(condition)
{
    Pb__KeyPair keypair = PB__KEY_PAIR__INIT;
    Pb__Peer peer = PB__PEER__INIT;
    Google__Protobuf__Timestamp handshake = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    Pb__TunnelStatus tunnel = PB__TUNNEL_STATUS__INIT;
    Pb__PeerStatus status = PB__PEER_STATUS__INIT;
    keypair.public_key = (char *)(peers[_i].has_key ? "key" : "");
    peer.keypair = &keypair;
    handshake.seconds = NOW - peers[_i].handshake_age;
    tunnel.last_handshake = peers[_i].handshake_age >= 0 ? &handshake : NULL;
    status.peer = &peer;
    status.tunnel = &tunnel;
    status.watching = peers[_i].watching;
    ck_assert_int_eq(peer_condition(&status, peers[_i].nodes, NOW), peers[_i].condition);
    ck_assert_str_ne(peer_condition_text(peers[_i].condition), "");
}
END_TEST

START_TEST(parts_that_are_missing)
{
    Pb__Peer peer = PB__PEER__INIT;
    Pb__PeerStatus status = PB__PEER_STATUS__INIT;
    ck_assert_int_eq(peer_condition(&status, 1, NOW), PEER_NEVER);
    status.peer = &peer;
    ck_assert_int_eq(peer_condition(&status, 1, NOW), PEER_NEVER);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("hctl_condition");
    tcase_add_loop_test(tc, condition, 0, ARRAY_LEN(peers));
    tcase_add_test(tc, parts_that_are_missing);
    return unit_run(tc);
}
