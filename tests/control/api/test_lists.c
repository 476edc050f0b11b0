#include "control/api/heimdall.h"

#include "control/api/env.h"
#include "control/api/facts.h"
#include "control/api/status.h"
#include "control/api/watch_peer.h"
#include "control/rpc/client.h"
#include "control/rpc/server.h"
#include "tests/control/loop_fixture.h"
#include "tests/control/network_fixture.h"
#include "wg/path/path.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

/* A network of more peers than fit into one message, its server and a client. */
enum { PEERS = 100000, RUN_MS = 120000 };

static uv_loop_t loop;
static char dir[64];
static char socket_address[128];
static struct network network;
static struct api_env env;
static struct rpc_server *server;
static struct watch_peer *streams;
static struct heimdall_service *service;
static struct status *status;
static struct rpc_client *client;

static const struct state *env_state(void *ctx)
{
    (void)ctx;
    return network.state;
}

static int env_tunnel_info(void *ctx, struct path_info *out)
{
    (void)ctx;
    *out = (struct path_info){.up = true, .listen_port = 10100, .mtu = 1420};
    return 0;
}

static void env_host(void *ctx, struct report_host *out)
{
    (void)ctx;
    *out = (struct report_host){.interface_name = "darknet",
                                .data_dir = "/data",
                                .redis_runs = true,
                                .takes_changes = true,
                                .forwards = true,
                                .serves_names = true};
}

static void on_opened(void *ctx, struct rpc_client *which)
{
    (void)ctx;
    (void)which;
}

static void on_closed(void *ctx, struct rpc_client *which, const struct err *err)
{
    (void)ctx;
    (void)which;
    ck_abort_msg("closed: %s", err->text);
}

static void put(const char *prefix, const char *id, const ProtobufCMessage *message)
{
    char key[128];
    uint8_t packed[512];
    snprintf(key, sizeof key, "%s%s", prefix, id);
    ck_assert_uint_le(protobuf_c_message_get_packed_size(message), sizeof packed);
    struct record_op op = {RECORD_SET, key, NULL, packed, protobuf_c_message_pack(message, packed)};
    ck_assert_int_eq(state_apply(network.state, &op), 0);
}

/* As connecting leaves them behind, but in the order of their ids, which is quick. */
static void fill(unsigned peers)
{
    for (unsigned n = 0; n < peers; n++) {
        Pb__Peer peer = PB__PEER__INIT;
        peer.psk_version = RECORD_PSK_VERSION; /* else status has a problem with it */
        Pb__KeyPair keypair = PB__KEY_PAIR__INIT;
        Pb__Authorization authorization = PB__AUTHORIZATION__INIT;
        char id[40], ip[32], allowed[40], name[32];
        char *list[] = {allowed};
        snprintf(id, sizeof id, "%08x-5c3e-4b1a-9d27-0123456789ab", n);
        snprintf(ip, sizeof ip, "10.%u.%u.%u", 64 + n / 65536, n / 256 % 256, n % 256);
        snprintf(allowed, sizeof allowed, "%s/32", ip);
        snprintf(name, sizeof name, "host-%u", n);
        keypair.public_key = (char *)(uintptr_t)test_key(n + 1000);
        peer.id = id;
        peer.keypair = &keypair;
        peer.allowed_ips = list;
        peer.n_allowed_ips = 1;
        peer.peer_ip = ip;
        peer.name = name;
        authorization.id = id;
        put(RECORD_KEY_PEERS, id, &peer.base);
        char field[64];
        uint8_t packed[128];
        snprintf(field, sizeof field, "%s", id);
        struct record_op op = {RECORD_HSET, RECORD_KEY_AUTHORIZED, field, packed,
                               pb__authorization__pack(&authorization, packed)};
        ck_assert_int_eq(state_apply(network.state, &op), 0);
    }
    ck_assert_uint_eq(state_peer_count(network.state), peers);
}

static void begin(unsigned peers)
{
    static const struct rpc_client_events client_events = {on_opened, on_closed};
    struct address address;
    struct err err = {0};
    network_init_empty(&network);
    ck_assert_int_eq(network_bootstrap(&network, "10.10.0.0/16", "10.64.0.0/10", "", ""), GRPC_OK);
    ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
    fill(peers);
    env = (struct api_env){.node_id = test_id(1),
                           .state = env_state,
                           .tunnel_info = env_tunnel_info,
                           .host = env_host};
    uv_loop_init(&loop);
    temp_dir_create(dir);
    snprintf(socket_address, sizeof socket_address, "unix://%s/rpc.sock", dir);
    ck_assert_int_eq(address_parse(&address, socket_address, false, NULL), 0);
    server = rpc_server_create(&loop);
    ck_assert_int_eq(watch_peer_create(&streams, server, &env), 0);
    ck_assert_int_eq(heimdall_service_create(&service, server, &env, streams), 0);
    ck_assert_int_eq(status_create(&status, server, &env, streams), 0);
    ck_assert_msg(rpc_server_listen(server, &address, NULL, 0, NULL, &err) == 0, "%s", err.text);
    const struct rpc_client_options options = {.addresses = &address, .count = 1};
    ck_assert_int_eq(rpc_client_create(&client, &loop, &options, &client_events, NULL, &err), 0);
}

static void setup(void)
{
    begin(PEERS);
}

static void setup_small(void)
{
    begin(PEERS / 20);
}

static void teardown(void)
{
    rpc_client_destroy(client);
    rpc_server_destroy(server);
    loop_finish(&loop);
    status_destroy(status);
    heimdall_service_destroy(service);
    watch_peer_destroy(streams);
    network_fini(&network);
    temp_dir_remove(dir);
}

/* ---- calls ---- */

struct answer {
    bool done;
    enum grpc_code code;
    char text[GRPC_STATUS_TEXT_MAX];
    char token[256];
    size_t count;
    size_t problems;
};

static void on_peers(void *ctx, enum grpc_code code, const char *text,
                     const ProtobufCMessage *message)
{
    struct answer *answer = ctx;
    const Pb__PeersResponse *response = (const void *)message;
    answer->done = true;
    answer->code = code;
    snprintf(answer->text, sizeof answer->text, "%s", text);
    answer->count = response != NULL ? response->n_peers : 0;
    snprintf(answer->token, sizeof answer->token, "%s",
             response != NULL ? response->next_page_token : "");
}

static void on_status(void *ctx, enum grpc_code code, const char *text,
                      const ProtobufCMessage *message)
{
    struct answer *answer = ctx;
    const Pb__StatusResponse *response = (const void *)message;
    answer->done = true;
    answer->code = code;
    ck_assert_msg(code == GRPC_OK, "%s", text);
    answer->count = response->n_peers;
    answer->problems = response->n_problems;
}

static struct answer ask_peers(uint64_t size, char *token)
{
    struct answer answer = {.done = false};
    Pb__PeersRequest request = PB__PEERS_REQUEST__INIT;
    request.page_size = size;
    request.page_token = token;
    ck_assert_int_eq(rpc_client_call(client, "/dev.ehazlett.heimdall.api.v1.Heimdall/Peers",
                                     &request.base, &pb__peers_response__descriptor, RUN_MS,
                                     on_peers, &answer),
                     0);
    ck_assert(loop_run_until(&loop, &answer.done, RUN_MS));
    return answer;
}

/* A client that knows nothing of pages hears what to do; one that asks gets everything. */
START_TEST(pages_of_peers)
{
    char token[256] = "";
    size_t count = 0;
    struct answer answer = ask_peers(0, token);
    ck_assert_int_eq(answer.code, GRPC_RESOURCE_EXHAUSTED);
    ck_assert_msg(strstr(answer.text, "page_size") != NULL, "%s", answer.text);
    ck_assert_msg(strstr(answer.text, "100000") != NULL, "%s", answer.text);
    do {
        answer = ask_peers(1000000, token); /* bounded by bytes */
        ck_assert_msg(answer.code == GRPC_OK, "%s", answer.text);
        ck_assert_uint_gt(answer.count, 1000);
        count += answer.count;
        memcpy(token, answer.token, sizeof token);
    } while (token[0] != '\0');
    ck_assert_uint_eq(count, PEERS);
    char bad[] = "x:y";
    ck_assert_int_eq(ask_peers(0, bad).code, GRPC_INVALID_ARGUMENT);
    char other[] = "r:10.0.0.0/8";
    ck_assert_int_eq(ask_peers(0, other).code, GRPC_INVALID_ARGUMENT);
}
END_TEST

START_TEST(a_status_that_is_cut)
{
    struct answer answer = {.done = false};
    Pb__StatusRequest request = PB__STATUS_REQUEST__INIT;
    ck_assert_int_eq(rpc_client_call(client, "/heimdall.v1.Cluster/Status", &request.base,
                                     &pb__status_response__descriptor, RUN_MS, on_status, &answer),
                     0);
    ck_assert(loop_run_until(&loop, &answer.done, RUN_MS));
    ck_assert(answer.count > 10000 && answer.count < PEERS);
    ck_assert_uint_eq(answer.problems, 1);
}
END_TEST

/* ---- hctl ---- */

/* The node lives 5000 s after the UNIX epoch, hctl today. */
uint64_t __wrap_clock_realtime_ns(void);

uint64_t __wrap_clock_realtime_ns(void)
{
    return 5000 * NS_PER_SEC;
}

static bool exited;
static int64_t exit_status;

static void on_exit_of_hctl(uv_process_t *process, int64_t code, int signal)
{
    exited = true;
    exit_status = signal != 0 ? -signal : code;
    uv_close((uv_handle_t *)process, NULL);
}

/* Runs it against this server; returns how many lines of its output hold `word`. */
static size_t hctl(char *const args[], const char *word)
{
    char path[128];
    char line[4096];
    char *argv[12] = {(char *)(uintptr_t)HCTL, (char *)(uintptr_t) "--addr", socket_address};
    for (size_t i = 0; args[i] != NULL; i++)
        argv[3 + i] = args[i];
    snprintf(path, sizeof path, "%s/out", dir);
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    uv_stdio_container_t stdio[3] = {{.flags = UV_IGNORE},
                                     {.flags = UV_INHERIT_FD, .data.fd = fd},
                                     {.flags = UV_INHERIT_FD, .data.fd = 2}};
    uv_process_options_t options = {
        .file = HCTL, .args = argv, .stdio = stdio, .stdio_count = 3, .exit_cb = on_exit_of_hctl};
    uv_process_t process;
    exited = false;
    ck_assert_int_eq(uv_spawn(&loop, &process, &options), 0);
    ck_assert(loop_run_until(&loop, &exited, RUN_MS));
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    size_t count = 0;
    while (fgets(line, sizeof line, file) != NULL)
        count += strstr(line, word) != NULL;
    (void)fclose(file);
    close(fd);
    return count;
}

START_TEST(hctl_pages_by_itself)
{
    static char peers[] = "peers", list[] = "list", show[] = "show", json[] = "-ojson";
    static char state[] = "status", authorized[] = "authorized", last[] = "host-99999";
    ck_assert_uint_eq(hctl((char *[]){peers, list, NULL}, "host-"), PEERS);
    ck_assert_int_eq(exit_status, 0);
    ck_assert_uint_eq(hctl((char *[]){peers, list, json, NULL}, "\"host-"), PEERS);
    ck_assert_int_eq(exit_status, 0);
    ck_assert_uint_eq(hctl((char *[]){peers, authorized, NULL}, "-5c3e-"), PEERS);
    ck_assert_int_eq(exit_status, 0);
    ck_assert_uint_eq(hctl((char *[]){state, NULL}, "host-"), PEERS);
    ck_assert_int_eq(exit_status, 0);
    ck_assert_uint_eq(hctl((char *[]){peers, show, last, NULL}, last), 1);
    ck_assert_int_eq(exit_status, 0);
}
END_TEST

/* Ages are right though the clocks of the two hosts differ by decades. */
START_TEST(ages_by_the_clock_of_the_node)
{
    static char nodes[] = "nodes", list[] = "list", state[] = "status";
    network.now_ns = 1300 * NS_PER_SEC;
    ck_assert_int_eq(network_put_node(&network, 2, "other"), GRPC_OK);
    ck_assert_uint_eq(hctl((char *[]){nodes, list, NULL}, " 1 hour ago "), 1);
    ck_assert_uint_eq(hctl((char *[]){nodes, list, NULL}, " now "), 1);
    ck_assert_uint_eq(hctl((char *[]){state, NULL}, " days ago"), 0);
}
END_TEST

/* A reader of much output that has had enough, and a disk that fills up in the middle of it. */
START_TEST(hctl_is_read_in_part)
{
    static const struct {
        const char *sink;
        const char *said; /* on standard error */
    } cases[] = {
        {"| head -n 1 >/dev/null", ""},
        {"| head -n 1 >/dev/null", ""},
        {">/dev/full", "hctl: cannot write to standard output: No space left on device\n"},
        {">/dev/full",
         "{\"error\":{\"code\":\"UNKNOWN\",\"message\":\"cannot write to standard output: "
         "No space left on device\",\"exit_status\":1}}\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char command[512];
        char path[128];
        char said[256] = "";
        snprintf(path, sizeof path, "%s/err", dir);
        snprintf(command, sizeof command, "'%s' --addr %s -o %s peers list 2>%s %s", HCTL,
                 socket_address, i % 2 == 0 ? "table" : "json", path, cases[i].sink);
        char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", command, NULL};
        uv_process_options_t options = {
            .file = "/bin/sh", .args = argv, .exit_cb = on_exit_of_hctl};
        uv_process_t process;
        exited = false;
        ck_assert_int_eq(uv_spawn(&loop, &process, &options), 0);
        ck_assert(loop_run_until(&loop, &exited, RUN_MS));
        FILE *file = fopen(path, "re");
        ck_assert_ptr_nonnull(file);
        (void)!fread(said, 1, sizeof said - 1, file);
        (void)fclose(file);
        ck_assert_str_eq(said, cases[i].said);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("lists");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, pages_of_peers);
    tcase_add_test(tc, a_status_that_is_cut);
    tcase_add_test(tc, hctl_pages_by_itself);
    TCase *small = tcase_create("small lists");
    tcase_add_checked_fixture(small, setup_small, teardown);
    tcase_set_timeout(small, 300);
    tcase_add_test(small, ages_by_the_clock_of_the_node);
    tcase_add_test(small, hctl_is_read_in_part);
    Suite *suite = suite_create("unit");
    suite_add_tcase(suite, tc);
    suite_add_tcase(suite, small);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
