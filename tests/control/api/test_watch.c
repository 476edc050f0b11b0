#include "control/api/watch.h"

#include "control/api/env.h"
#include "control/rpc/client.h"
#include "control/rpc/server.h"
#include "tests/control/loop_fixture.h"
#include "tests/control/network_fixture.h"

#include <errno.h>

/* A network, its server, and a client that mirrors the events. */
enum { PEERS = 3000, ROUTES = 200, ENTRIES = 16384 };

static uv_loop_t loop;
static char dir[64];
static struct network network;
static struct api_env env;
static struct rpc_server *server;
static struct watch *events;
static struct rpc_client *client;
static struct rpc_stream *stream;

/* "n ID", "p ID", "a ID", "r NETWORK" */
static char entries[ENTRIES][160];
static size_t entry_count;
static size_t messages;
static size_t messages_before_all; /* before the snapshot was complete */
static uint64_t last_rev;
static bool all, finished, changed_meanwhile;
static enum grpc_code code;
static char text[GRPC_STATUS_TEXT_MAX];

static const struct state *env_state(void *ctx)
{
    (void)ctx;
    return network.state;
}

static void on_changed(void *ctx, const struct record_change *change)
{
    (void)ctx;
    watch_changed(events, change);
}

static void copy_take(const Pb__Event *event)
{
    char entry[160] = "";
    switch (event->record_case) {
    case PB__EVENT__RECORD_NODE:
        snprintf(entry, sizeof entry, "n %s", event->node->id);
        break;
    case PB__EVENT__RECORD_PEER:
        snprintf(entry, sizeof entry, "p %s", event->peer->id);
        break;
    case PB__EVENT__RECORD_ROUTE:
        snprintf(entry, sizeof entry, "r %s", event->route->network);
        break;
    case PB__EVENT__RECORD_AUTHORIZATION:
        snprintf(entry, sizeof entry, "a %s", event->authorization->id);
        break;
    default:
        ck_abort_msg("an event without a record");
    }
    size_t i = 0;
    while (i < entry_count && strcmp(entries[i], entry) != 0)
        i++;
    if (event->removed && i < entry_count)
        memmove(entries[i], entries[--entry_count], sizeof entries[0]);
    else if (!event->removed && i == entry_count)
        snprintf(entries[entry_count++], sizeof entries[0], "%s", entry);
    ck_assert_uint_lt(entry_count, ENTRIES);
}

static bool copy_has(char kind, const char *name)
{
    for (size_t i = 0; i < entry_count; i++)
        if (entries[i][0] == kind && strcmp(entries[i] + 2, name) == 0)
            return true;
    return false;
}

/* Checks that the mirror holds exactly the network's records. */
static void check_copy(void)
{
    const struct state *state = network.state;
    char prefix[IP_PREFIX_TEXT];
    ck_assert_uint_eq(entry_count, state_node_count(state) + state_peer_count(state) +
                                       state_route_count(state) + state_authorization_count(state));
    for (size_t i = 0; i < state_node_count(state); i++)
        ck_assert(copy_has('n', state_node_at(state, i)->id));
    for (size_t i = 0; i < state_peer_count(state); i++)
        ck_assert(copy_has('p', state_peer_at(state, i)->id));
    for (size_t i = 0; i < state_authorization_count(state); i++)
        ck_assert(copy_has('a', state_authorization_at(state, i)->id));
    for (size_t i = 0; i < state_route_count(state); i++)
        ck_assert(copy_has('r', ip_prefix_format(&state_route_at(state, i)->network, prefix)));
    ck_assert_uint_eq(last_rev, state_rev(state));
}

static void on_message(void *ctx, struct rpc_stream *which, const ProtobufCMessage *message)
{
    const Pb__WatchResponse *response = (const void *)message;
    (void)ctx;
    (void)which;
    messages++;
    for (size_t i = 0; i < response->n_events; i++)
        copy_take(response->events[i]);
    ck_assert_uint_ge(response->rev, last_rev);
    last_rev = response->rev;
    ck_assert(response->snapshot_complete || !all); /* once true, always true */
    if (!all && response->snapshot_complete)
        messages_before_all = messages;
    all = response->snapshot_complete;
}

static void on_finished(void *ctx, struct rpc_stream *which, enum grpc_code got,
                        const char *message)
{
    (void)ctx;
    (void)which;
    finished = true;
    stream = NULL;
    code = got;
    snprintf(text, sizeof text, "%s", message);
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

static void setup(void)
{
    static const struct rpc_client_events client_events = {on_opened, on_closed};
    char path[128];
    struct address address;
    struct err err = {0};
    network_init(&network);
    ck_assert_int_eq(network_put_node(&network, 1, "router"), GRPC_OK);
    network.changed = on_changed;
    env = (struct api_env){.node_id = "x", .state = env_state};
    uv_loop_init(&loop);
    temp_dir_create(dir);
    snprintf(path, sizeof path, "unix://%s/rpc.sock", dir);
    ck_assert_int_eq(address_parse(&address, path, false, NULL), 0);
    server = rpc_server_create(&loop);
    ck_assert_int_eq(watch_create(&events, server, &env), 0);
    ck_assert_msg(rpc_server_listen(server, &address, NULL, 0, NULL, &err) == 0, "%s", err.text);
    const struct rpc_client_options options = {.addresses = &address, .count = 1};
    ck_assert_int_eq(rpc_client_create(&client, &loop, &options, &client_events, NULL, &err), 0);
}

static void teardown(void)
{
    rpc_client_destroy(client);
    rpc_server_destroy(server);
    loop_finish(&loop);
    watch_destroy(events);
    network_fini(&network);
    temp_dir_remove(dir);
}

static void watch(void)
{
    static const struct rpc_stream_events stream_events = {on_message, on_finished};
    Pb__WatchRequest request = PB__WATCH_REQUEST__INIT;
    ck_assert_int_eq(rpc_client_stream(&stream, client, "/heimdall.v1.Cluster/Watch", &request.base,
                                       &pb__watch_response__descriptor, &stream_events, NULL),
                     0);
}

static const char *test_network(unsigned n)
{
    static char networks[4][32];
    static unsigned next;
    char *out = networks[next++ % 4];
    snprintf(out, 32, "172.%u.%u.0/24", 16 + n / 256, n % 256);
    return out;
}

static void fill(unsigned peers, unsigned routes)
{
    for (unsigned n = 0; n < peers; n++)
        network_add_peer(&network, 100 + n, "");
    for (unsigned n = 0; n < routes; n++)
        ck_assert_int_eq(network_create_route(&network, 1, test_network(n)), GRPC_OK);
}

static void await(void)
{
    ck_assert(loop_run_until(&loop, &all, 5000));
}

START_TEST(snapshot_then_changes)
{
    fill(3, 2);
    watch();
    await();
    check_copy();
    ck_assert_uint_eq(messages, 1);
    network_add_peer(&network, 50, "late"); /* two changes */
    ck_assert_int_eq(network_delete_route(&network, test_network(1)), GRPC_OK);
    ck_assert_int_eq(network_deauthorize(&network, test_id(100)), GRPC_OK);
    ck_assert_int_eq(network_authorize(&network, test_id(60)), GRPC_OK);
    loop_run_for(&loop, 50);
    ck_assert_uint_eq(messages, 6);
    check_copy();
    ck_assert(copy_has('p', test_id(50)) && !copy_has('p', test_id(100)));
}
END_TEST

/* An empty network completes its snapshot too. */
START_TEST(nothing_but_a_node)
{
    watch();
    await();
    ck_assert_uint_eq(entry_count, 1);
    check_copy();
}
END_TEST

/* Records are added, changed and removed during the snapshot. */
START_TEST(changes_during_the_snapshot)
{
    unsigned random = 1 + (unsigned)_i;
    fill(PEERS, ROUTES);
    watch();
    for (int turn = 0; turn < 400; turn++) {
        random = random * 1103515245 + 12345;
        unsigned n = random >> 16 & 0x3ff;
        uv_run(&loop, UV_RUN_NOWAIT);
        changed_meanwhile = changed_meanwhile || (messages > 0 && !all);
        if (n % 4 == 0)
            (void)network_deauthorize(&network, test_id(100 + n % PEERS));
        else if (n % 4 == 1)
            (void)network_authorize(&network, test_id(1000 + n));
        else if (n % 4 == 2)
            (void)network_delete_route(&network, test_network(n % ROUTES));
        else
            (void)network_create_route(&network, 1, test_network(n));
    }
    await();
    loop_run_for(&loop, 50);
    ck_assert(changed_meanwhile);
    ck_assert_uint_gt(messages_before_all, (PEERS + ROUTES) / 128);
    check_copy();
}
END_TEST

/* The loop does not run, so the client does not read. */
START_TEST(slow_watcher)
{
    unsigned changes = 0;
    watch();
    await();
    while (watch_count(events) > 0) {
        ck_assert_int_eq(network_create_route(&network, 1, test_network(changes % 1000)), GRPC_OK);
        ck_assert_int_eq(network_delete_route(&network, test_network(changes % 1000)), GRPC_OK);
        changes += 2;
        ck_assert_uint_lt(changes, 100000);
    }
    ck_assert(loop_run_until(&loop, &finished, 5000));
    ck_assert_int_eq(code, GRPC_RESOURCE_EXHAUSTED);
    ck_assert_msg(strstr(text, "too slowly") != NULL, "%s", text);
    ck_assert_uint_lt(messages, changes / 2); /* the status arrives ahead of the unread events */
    /* a new watch is allowed */
    all = finished = false;
    entry_count = 0;
    watch();
    await();
    check_copy();
}
END_TEST

START_TEST(lost)
{
    watch();
    await();
    watch_lost(events);
    ck_assert(loop_run_until(&loop, &finished, 5000));
    ck_assert_int_eq(code, GRPC_ABORTED);
    ck_assert_uint_eq(watch_count(events), 0);
}
END_TEST

START_TEST(cancelled)
{
    watch();
    await();
    rpc_stream_cancel(stream);
    loop_run_for(&loop, 50);
    ck_assert_uint_eq(watch_count(events), 0);
    ck_assert_int_eq(network_create_route(&network, 1, test_network(1)), GRPC_OK);
}
END_TEST

START_TEST(while_starting)
{
    struct state *state = network.state;
    network.state = NULL;
    watch();
    ck_assert(loop_run_until(&loop, &finished, 5000));
    ck_assert_int_eq(code, GRPC_UNAVAILABLE);
    network.state = state;
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("watch");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, snapshot_then_changes);
    tcase_add_test(tc, nothing_but_a_node);
    tcase_add_loop_test(tc, changes_during_the_snapshot, 0, 3);
    tcase_add_test(tc, slow_watcher);
    tcase_add_test(tc, lost);
    tcase_add_test(tc, cancelled);
    tcase_add_test(tc, while_starting);
    return unit_run(tc);
}
