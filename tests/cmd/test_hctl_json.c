#include "cmd/hctl_json.h"

#include "proto/cluster.pb-c.h"
#include "tests/unit.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <string.h>

/* Returns the output; the caller frees it. */
static char *printed(const ProtobufCMessage *message)
{
    char *text = NULL;
    size_t len = 0;
    FILE *file = open_memstream(&text, &len);
    ck_assert_int_eq(json_print(file, message), 0);
    fclose(file);
    return text;
}

START_TEST(a_message)
{
    Pb__KeyPair keypair = PB__KEY_PAIR__INIT;
    Pb__Peer peer = PB__PEER__INIT;
    Google__Protobuf__Timestamp seen = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    Pb__TunnelStatus tunnel = PB__TUNNEL_STATUS__INIT;
    Pb__PeerStatus status = PB__PEER_STATUS__INIT;
    char *allowed[] = {(char *)"10.51.0.2/32", (char *)"fd00::2/128"};
    keypair.private_key = (char *)"secret";
    keypair.public_key = (char *)"public";
    seen.seconds = 1700000000;
    tunnel.rx_bytes = UINT64_MAX; /* beyond a double's exact range */
    peer.keypair = &keypair;
    peer.name = (char *)"a \"quoted\"\nname";
    peer.n_allowed_ips = 2;
    peer.allowed_ips = allowed;
    peer.last_seen = &seen;
    status.peer = &peer;
    status.tunnel = &tunnel;
    status.watching = true;

    char *text = printed(&status.base);
    ck_assert_ptr_null(strstr(text, "secret"));
    ck_assert_ptr_nonnull(strstr(text, "18446744073709551615"));
    cJSON *json = cJSON_Parse(text);
    const cJSON *in_peer = cJSON_GetObjectItem(json, "peer");
    ck_assert_str_eq(cJSON_GetObjectItem(in_peer, "name")->valuestring, peer.name);
    ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(in_peer, "allowed_ips")), 2);
    ck_assert_str_eq(cJSON_GetObjectItem(in_peer, "last_seen")->valuestring,
                     "2023-11-14T22:13:20Z");
    ck_assert(
        cJSON_IsNull(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "tunnel"), "last_handshake")));
    ck_assert(cJSON_IsTrue(cJSON_GetObjectItem(json, "watching")));
    ck_assert(cJSON_IsFalse(cJSON_GetObjectItem(json, "rekey")));
    cJSON_Delete(json);
    free(text);
}
END_TEST

START_TEST(nothing_listed)
{
    Pb__RoutesResponse routes = PB__ROUTES_RESPONSE__INIT;
    char *text = printed(&routes.base);
    cJSON *json = cJSON_Parse(text);
    ck_assert(cJSON_IsArray(cJSON_GetObjectItem(json, "routes")));
    cJSON_Delete(json);
    free(text);
}
END_TEST

START_TEST(an_error)
{
    char *text = NULL;
    size_t len = 0;
    FILE *file = open_memstream(&text, &len);
    ck_assert_int_eq(json_print_error(file, "NOT_FOUND", "no \"x\"", 3), 0);
    fclose(file);
    ck_assert_str_eq(
        text,
        "{\"error\":{\"code\":\"NOT_FOUND\",\"message\":\"no \\\"x\\\"\",\"exit_status\":3}}\n");
    free(text);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("hctl_json");
    tcase_add_test(tc, a_message);
    tcase_add_test(tc, nothing_listed);
    tcase_add_test(tc, an_error);
    return unit_run(tc);
}
