#include "cmd/hctl_lookup.h"

#include "tests/unit.h"

#include <string.h>

static const struct lookup_entry entries[] = {
    {"9c76f92d-d55a-46c0-84d6-58c981442830", "client"},
    {"9c76f92d-d55a-46c0-84d6-58c981442831", "9c76f92d-d55a-46c0-84d6-58c981442830"},
    {"5f2a1c3e-0000-4000-8000-000000000001", "laptop"},
    {"5f2a1c3e-0000-4000-8000-000000000001-longer", ""},
    {"7777777777777777777777777777777", ""},
};

static const struct {
    const char *word;
    enum lookup_outcome outcome;
    size_t place;
} words[] = {
    {"9c76f92d-d55a-46c0-84d6-58c981442830", LOOKUP_FOUND, 0}, /* an id wins over an equal name */
    {"9c76f92d-d55a-46c0-84d6-58c981442831", LOOKUP_FOUND, 1},
    {"laptop", LOOKUP_FOUND, 2},
    {"LapTop", LOOKUP_FOUND, 2},                               /* names are DNS names */
    {"5f2a1c3e-0000-4000-8000-000000000001", LOOKUP_FOUND, 2}, /* a full id wins over a longer one
                                                                */
    {"5f2a1c3e-0000-4000-8000-000000000001-", LOOKUP_FOUND, 3},
    {"77777777", LOOKUP_FOUND, 4},
    {"7777777", LOOKUP_NONE, 0}, /* too short */
    {"9c76f92d", LOOKUP_MANY, 0},
    {"9c76f92e", LOOKUP_NONE, 0},
    {"lap", LOOKUP_NONE, 0},
    {"", LOOKUP_NONE, 0}, /* an empty name never matches */
};

START_TEST(find)
{
    size_t place = SIZE_MAX;
    ck_assert_int_eq(lookup_find(entries, ARRAY_LEN(entries), words[_i].word, &place),
                     words[_i].outcome);
    if (words[_i].outcome == LOOKUP_FOUND)
        ck_assert_uint_eq(place, words[_i].place);
}
END_TEST

START_TEST(in_a_status)
{
    Pb__Peer record = PB__PEER__INIT;
    Pb__PeerStatus peer = PB__PEER_STATUS__INIT;
    Pb__PeerStatus empty = PB__PEER_STATUS__INIT;
    Pb__PeerStatus *peers[] = {&empty, &peer};
    Pb__StatusResponse status = PB__STATUS_RESPONSE__INIT;
    const Pb__PeerStatus *found = NULL;
    struct err err;
    record.id = (char *)"9c76f92d-d55a-46c0-84d6-58c981442830";
    peer.peer = &record;
    status.peers = peers;
    status.n_peers = 2;
    ck_assert_int_eq(lookup_peer_status(&status, "9c76f92d", &found, &err), GRPC_OK);
    ck_assert_ptr_eq(found, &peer);
    ck_assert_int_eq(lookup_peer_status(&status, "nobody", &found, &err), GRPC_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.text, "nobody"));
    peers[0] = &peer;
    ck_assert_int_eq(lookup_peer_status(&status, "9c76f92d", &found, &err), GRPC_INVALID_ARGUMENT);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("hctl_lookup");
    tcase_add_loop_test(tc, find, 0, ARRAY_LEN(words));
    tcase_add_test(tc, in_a_status);
    return unit_run(tc);
}
