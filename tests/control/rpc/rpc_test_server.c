/* A gRPC server with the real schemas and toy answers, for clients written in other languages:
 * rpc_test_server ADDRESS [CERT KEY CA]. Prints "ready PORT" and ends with its
 * standard input. */
#include "control/rpc/server.h"

#include "base/log.h"
#include "proto/cluster.pb-c.h"
#include "proto/heimdall.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BIG = 3 << 20, ALL = TRANSPORT_ANY };

static unsigned cancels;
static struct rpc_server *server;

/* Answers with the name as the address, and with the caller and a header as "DNS". */
static void handle_connect(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pb__ConnectRequest *request = (const void *)message;
    Pb__ConnectResponse response;
    const struct transport_caller *caller = rpc_call_caller(call);
    const char *header = rpc_call_metadata(call, "x-test");
    char role[16];
    char *dns[] = {role, (char *)(uintptr_t)caller->id,
                   (char *)(uintptr_t)(header == NULL ? "" : header)};
    (void)ctx;
    snprintf(role, sizeof role, "%u", caller->roles);
    pb__connect_response__init(&response);
    response.address = request->name;
    response.n_dns = 3;
    response.dns = dns;
    rpc_call_reply(call, &response.base);
}

/* Ends with the status that the id names. */
static void handle_authorize(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pb__AuthorizePeerRequest *request = (const void *)message;
    Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
    int code = atoi(request->id);
    (void)ctx;
    if (code == 0)
        rpc_call_reply(call, &empty.base);
    else
        rpc_call_fail(call, (enum grpc_code)code, "code %d: 100%% \xc3\xbc\nend", code);
}

static void on_cancelled(void *ctx, struct rpc_call *call)
{
    (void)ctx;
    (void)call;
    cancels++;
}

/* Never answers. */
static void handle_nodes(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)ctx;
    (void)message;
    rpc_call_on_cancel(call, on_cancelled, NULL);
}

/* The number of calls that were cancelled, as `rev`. */
static void handle_status(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    Pb__StatusResponse response = PB__STATUS_RESPONSE__INIT;
    (void)ctx;
    (void)message;
    response.rev = cancels;
    rpc_call_reply(call, &response.base);
}

/* A response of 3 MiB. */
static void handle_ids(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    Pb__AuthorizedPeersResponse response;
    char *big = malloc(BIG + 1);
    (void)ctx;
    (void)message;
    if (big == NULL)
        abort();
    memset(big, 'y', BIG);
    big[BIG] = '\0';
    pb__authorized_peers_response__init(&response);
    response.n_ids = 1;
    response.ids = &big;
    rpc_call_reply(call, &response.base);
    free(big);
}

/* Sends as many messages as the id says; stays open when the key is "hold". */
static void handle_watch(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Pb__WatchPeerRequest *request = (const void *)message;
    Pb__ConnectResponse response;
    char number[16];
    (void)ctx;
    pb__connect_response__init(&response);
    response.address = number;
    for (int i = 0; i < atoi(request->id); i++) {
        snprintf(number, sizeof number, "%d", i);
        rpc_call_send(call, &response.base);
    }
    if (strcmp(request->public_key, "hold") == 0)
        rpc_call_on_cancel(call, on_cancelled, NULL);
    else
        rpc_call_finish(call, GRPC_OK, NULL);
}

#define HEIMDALL "/dev.ehazlett.heimdall.api.v1.Heimdall/"

static const struct rpc_method methods[] = {
    {HEIMDALL "Connect", RPC_UNARY, ALL, &pb__connect_request__descriptor,
     &pb__connect_response__descriptor, handle_connect},
    {HEIMDALL "AuthorizePeer", RPC_UNARY, TRANSPORT_ADMIN, &pb__authorize_peer_request__descriptor,
     &google__protobuf__empty__descriptor, handle_authorize},
    {HEIMDALL "Nodes", RPC_UNARY, ALL, &pb__nodes_request__descriptor,
     &pb__nodes_response__descriptor, handle_nodes},
    {HEIMDALL "AuthorizedPeers", RPC_UNARY, ALL, &pb__authorized_peers_request__descriptor,
     &pb__authorized_peers_response__descriptor, handle_ids},
    {"/heimdall.v1.Cluster/Status", RPC_UNARY, ALL, &pb__status_request__descriptor,
     &pb__status_response__descriptor, handle_status},
    {"/heimdall.v1.Cluster/WatchPeer", RPC_SERVER_STREAM, ALL, &pb__watch_peer_request__descriptor,
     &pb__connect_response__descriptor, handle_watch},
};

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char bytes[64];
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(bytes, sizeof bytes);
}

static void on_shut_down(void *ctx)
{
    rpc_server_destroy(ctx);
}

/* Ends in good order after "quit", at once at the end of the input. */
static void on_input(uv_stream_t *input, ssize_t len, const uv_buf_t *buf)
{
    (void)buf;
    if (len == 0)
        return;
    uv_close((uv_handle_t *)input, NULL);
    if (len > 0)
        rpc_server_shut_down(server, 1000, on_shut_down, server);
    else
        rpc_server_destroy(server);
}

int main(int argc, char **argv)
{
    uv_loop_t loop;
    uv_pipe_t input;
    struct address address;
    struct transport_tls *tls = NULL;
    struct err err = {0};
    if (argc != 2 && argc != 5)
        return 2;
    uv_loop_init(&loop);
    server = rpc_server_create(&loop);
    if (server == NULL || address_parse(&address, argv[1], false, &err) < 0)
        goto fail;
    /* port 1 stands for any */
    if (address.kind == ADDRESS_TCP && address.port == 1)
        address.endpoint.in.sin_port = 0;
    if (argc == 5 && transport_tls_create_certificate(&tls, argv[2], argv[3], argv[4], &err) < 0)
        goto fail;
    rpc_server_add(server, methods, sizeof methods / sizeof methods[0], NULL);
    if (rpc_server_listen(server, &address, tls, 0, NULL, &err) < 0)
        goto fail;
    transport_tls_destroy(tls);
    printf("ready %u\n", rpc_server_port(server));
    fflush(stdout);
    uv_pipe_init(&loop, &input, 0);
    uv_pipe_open(&input, 0);
    uv_read_start((uv_stream_t *)&input, on_alloc, on_input);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) == 0 ? 0 : 3;
fail:
    fprintf(stderr, "rpc_test_server: %s\n", err.text);
    return 1;
}
