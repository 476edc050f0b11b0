#include "control/api/keyring.h"

#include "control/state/change.h"
#include "control/state/state.h"
#include "tests/unit.h"

#include <string.h>

#define KEY "2b1f7f1e-3c0a-4d57-9f6b-5ad0c1f2a9e4"

static const uint8_t seed[16] = {1};
static struct state *state;
static struct keyring *keyring;
static char removed[256]; /* ids, each followed by a space */
static bool with_secrets; /* in the records */

static void set_up(void)
{
    ck_assert_int_eq(state_create(&state, seed), 0);
    ck_assert_int_eq(keyring_create(&keyring, KEY, seed), 0);
    removed[0] = '\0';
    with_secrets = true;
}

static void tear_down(void)
{
    keyring_destroy(keyring);
    state_destroy(state);
}

static void on_removed(void *ctx, const char *id)
{
    ck_assert_ptr_eq(ctx, removed);
    strcat(removed, id);
    strcat(removed, " ");
}

static void authorize(const char *id, bool yes)
{
    Pb__Authorization record = PB__AUTHORIZATION__INIT;
    uint8_t value[128];
    uint8_t secret[TRANSPORT_STRETCHED_LEN];
    record.id = (char *)(uintptr_t)id;
    ck_assert_int_eq(transport_stretch_bytes(secret, id), 0);
    if (with_secrets)
        record.wire_secret = (ProtobufCBinaryData){sizeof secret, secret};
    struct record_op op = {.kind = yes ? RECORD_HSET : RECORD_HDEL,
                           .key = RECORD_KEY_AUTHORIZED,
                           .field = id,
                           .value = value,
                           .len = pb__authorization__pack(&record, value)};
    ck_assert_int_eq(state_apply(state, &op), 0);
}

/* Updates the whole keyring, or one id after the other. */
static void update(bool by_id)
{
    static const char *const ids[] = {"00", "a1", "b2", "bbb", "c3", "c9", "d4", "e5", "zz"};
    if (!by_id)
        ck_assert_int_eq(keyring_update(keyring, state, on_removed, removed), 0);
    for (size_t i = 0; i < ARRAY_LEN(ids) && by_id; i++)
        ck_assert_int_eq(keyring_update_id(keyring, state, ids[i], on_removed, removed), 0);
}

static bool knows(enum transport_role role, const char *secret, const char *expected_id)
{
    struct transport_secrets secrets = keyring_secrets(keyring);
    uint8_t hash[TRANSPORT_HASH_LEN];
    char found[TRANSPORT_SECRET_MAX];
    char id[TRANSPORT_ID_MAX];
    char stretched[TRANSPORT_STRETCHED];
    ck_assert_int_eq(transport_stretch(stretched, secret), 0);
    transport_secret_hash(hash, stretched);
    bool known = secrets.find(secrets.ctx, role, hash, found, id);
    ck_assert(!known || strcmp(found, stretched) == 0);
    ck_assert(!known || strcmp(id, expected_id) == 0);
    return known;
}

/* By the name that programs before 0.2 use. */
static bool knows_old(enum transport_role role, const char *secret)
{
    struct transport_secrets secrets = keyring_secrets(keyring);
    uint8_t hash[TRANSPORT_HASH_LEN];
    char found[TRANSPORT_SECRET_MAX];
    char id[TRANSPORT_ID_MAX];
    transport_secret_hash(hash, secret);
    return secrets.find(secrets.ctx, role, hash, found, id) && strcmp(found, secret) == 0;
}

/* Records of older versions have no secret: it is computed meanwhile, and old programs get in. */
START_TEST(missing_secrets_are_computed)
{
    static const char *const ids[] = {"a1", "b2", "c3"};
    uv_loop_t loop;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    with_secrets = false;
    keyring_complete(keyring, &loop);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        authorize(ids[i], true);
    update(_i == 1);
    ck_assert(knows_old(TRANSPORT_PEER, "b2"));
    ck_assert(knows_old(TRANSPORT_ADMIN, KEY));
    authorize("c3", false); /* removed while it is computed */
    update(_i == 1);
    if (_i < 2)
        uv_run(&loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < 2 && _i < 2; i++)
        ck_assert(knows(TRANSPORT_PEER, ids[i], ids[i]));
    ck_assert(!knows(TRANSPORT_PEER, "c3", "c3"));
    ck_assert(!knows_old(TRANSPORT_PEER, "c3"));
    keyring_destroy(keyring); /* 2: in the middle */
    keyring = NULL;
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

START_TEST(the_cluster_key_is_for_nodes_and_admins)
{
    ck_assert(knows(TRANSPORT_ADMIN, KEY, ""));
    ck_assert(knows(TRANSPORT_NODE, KEY, ""));
    ck_assert(!knows(TRANSPORT_PEER, KEY, ""));
    ck_assert(!knows(TRANSPORT_ADMIN, "another", ""));
}
END_TEST

START_TEST(an_id_is_for_a_peer_while_it_is_authorized)
{
    ck_assert(!knows(TRANSPORT_PEER, "bbb", "bbb"));
    authorize("bbb", true);
    ck_assert(!knows(TRANSPORT_PEER, "bbb", "bbb")); /* not before the update */
    update(_i == 1);
    ck_assert(knows(TRANSPORT_PEER, "bbb", "bbb"));
    ck_assert(!knows(TRANSPORT_ADMIN, "bbb", ""));
    ck_assert_str_eq(removed, "");
    authorize("bbb", false);
    update(_i == 1);
    ck_assert(!knows(TRANSPORT_PEER, "bbb", "bbb"));
    ck_assert_str_eq(removed, "bbb ");
}
END_TEST

/* Removes ids at the front, in the middle and at the end while others are added. */
START_TEST(follows_many_changes_at_once)
{
    static const char *const first[] = {"a1", "b2", "c3", "d4", "e5"};
    static const char *const later[] = {"00", "b2", "c9", "d4", "zz"};
    for (size_t i = 0; i < 5; i++)
        authorize(first[i], true);
    update(_i == 1);
    for (size_t i = 0; i < 5; i++)
        authorize(first[i], false);
    for (size_t i = 0; i < 5; i++)
        authorize(later[i], true);
    update(_i == 1);
    for (size_t i = 0; i < 5; i++)
        ck_assert(knows(TRANSPORT_PEER, later[i], later[i]));
    ck_assert_str_eq(removed, "a1 c3 e5 ");
    ck_assert(!knows(TRANSPORT_PEER, "c3", "c3"));
    removed[0] = '\0';
    update(_i == 1); /* no change */
    ck_assert_str_eq(removed, "");
    ck_assert(knows(TRANSPORT_PEER, "zz", "zz"));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("keyring");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_loop_test(tc, missing_secrets_are_computed, 0, 3);
    tcase_add_test(tc, the_cluster_key_is_for_nodes_and_admins);
    tcase_add_loop_test(tc, an_id_is_for_a_peer_while_it_is_authorized, 0, 2);
    tcase_add_loop_test(tc, follows_many_changes_at_once, 0, 2);
    return unit_run(tc);
}
