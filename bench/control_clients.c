/* The load of bench_control.py: an administrator on the node's unix socket and any number of peers,
 * each with a TLS connection and a WireGuard key of its own, as hpeer would have. Prints one figure
 * a line, "NAME VALUE". The order: authorize everybody one by one, connect everybody, let some of
 * them watch, publish and withdraw routes and look when each watch hears of it, let all of them
 * watch, again. */
#include "base/bytes.h"
#include "base/clock.h"
#include "control/rpc/address.h"
#include "control/rpc/client.h"
#include "control/rpc/transport_tls.h"
#include "control/state/access.h"
#include "control/state/record.h"
#include "proto/cluster.pb-c.h"
#include "proto/heimdall.pb-c.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

enum { AT_ONCE = 64, ROUNDS = 40, SINGLE_CHANGES = 1000, TIMEOUT_MS = 60000 };

#define SERVICE "/dev.ehazlett.heimdall.api.v1.Heimdall/"

struct bench {
    uv_loop_t loop;
    struct address node; /* over TCP */
    struct rpc_client *admin;
    struct peer *peers;
    size_t peer_count;
    size_t opening;  /* peers that have begun and are not done */
    size_t watching; /* streams that have brought a first message */
    size_t heard;    /* of the change that is out */
    uint64_t changed_ns;
    uint64_t *latencies; /* of the change that is out, in order of arrival */
    bool answered;
    char pid[16]; /* of the node */
};

struct peer {
    struct bench *bench;
    struct rpc_client *client;
    struct rpc_stream *stream;
    char id[ACCESS_ID_MAX + 1];
    char public_key[BASE64_KEY_LEN + 1];
    bool watched;
};

_Noreturn static void fail(const char *what, const char *why)
{
    fprintf(stderr, "control_clients: %s: %s\n", what, why);
    exit(EXIT_FAILURE);
}

static void on_closed(void *ctx, struct rpc_client *client, const struct err *err)
{
    (void)ctx;
    (void)client;
    fail("a connection was lost", err->text);
}

static void on_opened(void *ctx, struct rpc_client *client)
{
    (void)ctx;
    (void)client;
}

static const struct rpc_client_events client_events = {on_opened, on_closed};

/* ---- the administrator ---- */

static void on_answer(void *ctx, enum grpc_code code, const char *text,
                      const ProtobufCMessage *response)
{
    struct bench *bench = ctx;
    (void)response;
    if (code != GRPC_OK)
        fail("a change was refused", text);
    bench->answered = true;
}

/* Calls and waits for the answer. */
static void change(struct bench *bench, const char *method, const ProtobufCMessage *request)
{
    bench->answered = false;
    if (rpc_client_call(bench->admin, method, request, &google__protobuf__empty__descriptor,
                        TIMEOUT_MS, on_answer, bench) < 0)
        fail(method, "out of memory");
    while (!bench->answered)
        uv_run(&bench->loop, UV_RUN_ONCE);
}

static void authorize(struct bench *bench, struct peer *peer)
{
    Pb__AuthorizePeerRequest request;
    pb__authorize_peer_request__init(&request);
    request.id = peer->id;
    change(bench, SERVICE "AuthorizePeer", &request.base);
}

/* Publishes a network in even rounds, withdraws it in odd ones. */
static void toggle_route(struct bench *bench, const char *node_id, unsigned round)
{
    char network[] = "192.168.77.0/24";
    if (round % 2 == 0) {
        Pb__CreateRouteRequest request;
        pb__create_route_request__init(&request);
        request.node_id = (char *)node_id;
        request.network = network;
        change(bench, SERVICE "CreateRoute", &request.base);
    } else {
        Pb__DeleteRouteRequest request;
        pb__delete_route_request__init(&request);
        request.network = network;
        change(bench, SERVICE "DeleteRoute", &request.base);
    }
}

/* ---- the peers ---- */

static void peer_init(struct peer *peer, struct bench *bench)
{
    uint8_t key[32];
    uint8_t id[16];
    peer->bench = bench;
    if (getrandom(id, sizeof id, 0) != sizeof id || getrandom(key, sizeof key, 0) != sizeof key)
        fail("a peer", "no random bytes");
    access_make_id(id, peer->id);
    bytes_to_base64(peer->public_key, key, sizeof key);
}

static void on_connected(void *ctx, enum grpc_code code, const char *text,
                         const ProtobufCMessage *response)
{
    struct peer *peer = ctx;
    (void)response;
    if (code != GRPC_OK)
        fail("a peer was refused", text);
    peer->bench->opening--;
}

static void peer_connect(struct peer *peer)
{
    struct bench *bench = peer->bench;
    struct transport_tls *tls = NULL;
    struct err err;
    Pb__ConnectRequest request;
    char name[24];
    pb__connect_request__init(&request);
    snprintf(name, sizeof name, "peer-%zu", (size_t)(peer - bench->peers));
    request.id = peer->id;
    request.name = name;
    request.public_key = peer->public_key;
    if (transport_tls_create_psk_client(&tls, TRANSPORT_PEER, peer->id, &err) < 0)
        fail("a peer", err.text);
    const struct rpc_client_options options = {.addresses = &bench->node, .count = 1, .tls = tls};
    if (rpc_client_create(&peer->client, &bench->loop, &options, &client_events, bench, &err) < 0)
        fail("a peer", err.text);
    transport_tls_destroy(tls);
    if (rpc_client_call(peer->client, SERVICE "Connect", &request.base,
                        &pb__connect_response__descriptor, TIMEOUT_MS, on_connected, peer) < 0)
        fail("a peer", "out of memory");
    bench->opening++;
}

static void on_message(void *ctx, struct rpc_stream *stream, const ProtobufCMessage *message)
{
    struct peer *peer = ctx;
    struct bench *bench = peer->bench;
    (void)stream;
    (void)message;
    if (!peer->watched) {
        peer->watched = true;
        bench->watching++;
        bench->opening--;
        return;
    }
    bench->latencies[bench->heard++] = clock_boottime_ns() - bench->changed_ns;
}

static void on_finished(void *ctx, struct rpc_stream *stream, enum grpc_code code, const char *text)
{
    (void)ctx;
    (void)stream;
    (void)code;
    fail("a watch has ended", text);
}

static void peer_watch(struct peer *peer)
{
    static const struct rpc_stream_events events = {on_message, on_finished};
    Pb__WatchPeerRequest request = PB__WATCH_PEER_REQUEST__INIT;
    request.id = peer->id;
    request.public_key = peer->public_key;
    if (rpc_client_stream(&peer->stream, peer->client, "/heimdall.v1.Cluster/WatchPeer",
                          &request.base, &pb__connect_response__descriptor, &events, peer) < 0)
        fail("a watch", "out of memory");
    peer->bench->opening++;
}

/* Begins `step` for the peers from..to, a limited number at once, and waits for the last. */
static void each_peer(struct bench *bench, size_t from, size_t to, void (*step)(struct peer *peer))
{
    for (size_t i = from; i < to; i++) {
        step(&bench->peers[i]);
        while (bench->opening >= AT_ONCE)
            uv_run(&bench->loop, UV_RUN_ONCE);
    }
    while (bench->opening > 0)
        uv_run(&bench->loop, UV_RUN_ONCE);
}

/* ---- figures ---- */

static double since(uint64_t start_ns)
{
    return (double)(clock_boottime_ns() - start_ns) / NS_PER_SEC;
}

static void print_memory(const struct bench *bench, const char *name)
{
    char path[64];
    char line[128];
    long kib = 0;
    snprintf(path, sizeof path, "/proc/%s/status", bench->pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        fail(path, strerror(errno));
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "VmRSS:", 6) == 0)
            kib = strtol(line + 6, NULL, 10);
    (void)fclose(file);
    printf("%s %.1f\n", name, (double)kib / 1024);
    (void)fflush(stdout);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void print_quantiles(const char *name, size_t watches, uint64_t *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
    size_t median = count / 2;
    size_t p99 = count * 99 / 100;
    printf("%s_%zu_median_ms %.1f\n", name, watches, (double)values[median] / NS_PER_MS);
    printf("%s_%zu_p99_ms %.1f\n", name, watches, (double)values[p99] / NS_PER_MS);
    (void)fflush(stdout);
}

/* From the call of a change until each watch, and the last one, has it. */
static void measure_changes(struct bench *bench, const char *node_id)
{
    size_t watches = bench->watching;
    uint64_t *all = calloc(ROUNDS * watches, sizeof *all);
    uint64_t last[ROUNDS];
    if (all == NULL)
        fail("figures", "out of memory");
    for (unsigned round = 0; round < ROUNDS; round++) {
        bench->heard = 0;
        bench->latencies = all + round * watches;
        bench->changed_ns = clock_boottime_ns();
        toggle_route(bench, node_id, round);
        while (bench->heard < watches)
            uv_run(&bench->loop, UV_RUN_ONCE);
        last[round] = bench->latencies[watches - 1];
    }
    print_quantiles("watch", watches, all, ROUNDS * watches);
    print_quantiles("last_watch", watches, last, ROUNDS);
    free(all);
}

static void measure_single_changes(struct bench *bench, const char *node_id)
{
    uint64_t start = clock_boottime_ns();
    for (unsigned i = 0; i < SINGLE_CHANGES; i++)
        toggle_route(bench, node_id, i);
    printf("changes_a_second %.0f\n", SINGLE_CHANGES / since(start));
}

static void run(struct bench *bench, size_t watches, const char *node_id)
{
    uint64_t start = clock_boottime_ns();
    print_memory(bench, "memory_empty_mib");
    for (size_t i = 0; i < bench->peer_count; i++)
        authorize(bench, &bench->peers[i]);
    printf("authorizations_a_second %.0f\n", (double)bench->peer_count / since(start));
    print_memory(bench, "memory_authorized_mib");
    start = clock_boottime_ns();
    each_peer(bench, 0, bench->peer_count, peer_connect);
    printf("connections_a_second %.0f\n", (double)bench->peer_count / since(start));
    print_memory(bench, "memory_connected_mib");
    measure_single_changes(bench, node_id);
    each_peer(bench, 0, watches, peer_watch);
    measure_changes(bench, node_id);
    each_peer(bench, watches, bench->peer_count, peer_watch);
    measure_changes(bench, node_id);
    print_memory(bench, "memory_watching_mib");
}

int main(int argc, char **argv)
{
    struct bench *bench = calloc(1, sizeof *bench);
    struct address local;
    struct err err;
    struct rlimit files;
    if (argc != 7) {
        fprintf(stderr,
                "usage: control_clients UNIX_ADDR TCP_ADDR NODE_PID NODE_ID PEERS WATCHES\n");
        return 2;
    }
    size_t watches = strtoul(argv[6], NULL, 10);
    (void)signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    if (bench == NULL)
        fail("start", "out of memory");
    bench->peer_count = strtoul(argv[5], NULL, 10);
    bench->peers = calloc(bench->peer_count, sizeof *bench->peers);
    if (bench->peers == NULL)
        fail("start", "out of memory");
    for (size_t i = 0; i < bench->peer_count; i++)
        peer_init(&bench->peers[i], bench);
    snprintf(bench->pid, sizeof bench->pid, "%s", argv[3]);
    const struct rpc_client_options options = {.addresses = &local, .count = 1};
    if (uv_loop_init(&bench->loop) < 0 || address_parse(&local, argv[1], false, &err) < 0 ||
        address_parse(&bench->node, argv[2], false, &err) < 0 ||
        rpc_client_create(&bench->admin, &bench->loop, &options, &client_events, bench, &err) < 0)
        fail("start", err.text);
    run(bench, watches, argv[4]);
    (void)fflush(stdout);
    _exit(EXIT_SUCCESS); /* ten thousand goodbyes are not part of it */
}
