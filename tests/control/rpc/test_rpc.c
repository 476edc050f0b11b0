#include "control/rpc/client.h"
#include "control/rpc/server.h"

#include "proto/cluster.pb-c.h"
#include "proto/h2_client.h"
#include "proto/heimdall.pb-c.h"
#include "tests/control/loop_fixture.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#define REQUEST  Pb__ConnectRequest
#define RESPONSE Pb__ConnectResponse
static const ProtobufCMessageDescriptor *const response_type = &pb__connect_response__descriptor;

static const char text_with_everything[] = "no \"such\" thing: 100% ü\n\tend";

static uv_loop_t loop;
static char dir[64];
static struct address address;
static struct rpc_server *server;
static struct rpc_client *client;
static bool opened, closed, done, cancelled, stream_done, shut_down;
static struct err closed_err;
static enum grpc_code code;
static char text[GRPC_STATUS_TEXT_MAX];
static char answer[128];
static size_t answer_len;
static unsigned calls_done, messages, cancels;
static struct rpc_call *held;
static uv_timer_t later;

static void handle_echo(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const REQUEST *request = (const REQUEST *)(const void *)message;
    RESPONSE response;
    (void)ctx;
    pb__connect_response__init(&response);
    response.address = request->name;
    rpc_call_reply(call, &response.base);
}

static void handle_fail(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)ctx;
    (void)message;
    rpc_call_fail(call, GRPC_NOT_FOUND, "%s", text_with_everything);
}

static void on_cancelled(void *ctx, struct rpc_call *call)
{
    (void)call;
    *(bool *)ctx = true;
    cancels++;
    held = NULL;
}

static void handle_hold(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)ctx;
    (void)message;
    held = call;
    rpc_call_on_cancel(call, on_cancelled, &cancelled);
}

static void on_later(uv_timer_t *timer)
{
    RESPONSE response;
    pb__connect_response__init(&response);
    response.address = (char *)"later";
    rpc_call_reply(timer->data, &response.base);
}

static void handle_later(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)ctx;
    (void)message;
    later.data = call;
    uv_timer_start(&later, on_later, 20, 0);
}

/* Sends as many messages as the id says, then ends well; with the name "hold" it stays open. */
static void handle_stream(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const REQUEST *request = (const REQUEST *)(const void *)message;
    RESPONSE response;
    char number[16];
    (void)ctx;
    pb__connect_response__init(&response);
    for (int i = 0; i < atoi(request->id); i++) {
        snprintf(number, sizeof number, "%d", i);
        response.address = number;
        ck_assert_int_eq(rpc_call_send(call, &response.base), 0);
    }
    held = call;
    if (strcmp(request->name, "hold") == 0)
        rpc_call_on_cancel(call, on_cancelled, &cancelled);
    else
        rpc_call_finish(call, GRPC_OK, NULL);
}

static void handle_explained(void *ctx, struct rpc_call *call, const ProtobufCMessage *message);

static const struct rpc_method methods[] = {
    {"/t.T/Echo", RPC_UNARY, TRANSPORT_ADMIN | TRANSPORT_PEER, &pb__connect_request__descriptor,
     &pb__connect_response__descriptor, handle_echo},
    {"/t.T/Fail", RPC_UNARY, TRANSPORT_ADMIN, &pb__connect_request__descriptor,
     &pb__connect_response__descriptor, handle_fail},
    {"/t.T/Hold", RPC_UNARY, TRANSPORT_ADMIN, &pb__connect_request__descriptor,
     &pb__connect_response__descriptor, handle_hold},
    {"/t.T/Explained", RPC_UNARY, TRANSPORT_ADMIN, &pb__connect_request__descriptor,
     &pb__connect_response__descriptor, handle_explained},
    {"/t.T/Later", RPC_UNARY, TRANSPORT_ADMIN, &pb__connect_request__descriptor,
     &pb__connect_response__descriptor, handle_later},
    {"/t.T/Node", RPC_UNARY, TRANSPORT_NODE, &pb__connect_request__descriptor,
     &pb__connect_response__descriptor, handle_echo},
    {"/t.T/Stream", RPC_SERVER_STREAM, TRANSPORT_ADMIN, &pb__connect_request__descriptor,
     &pb__connect_response__descriptor, handle_stream},
};

static void on_opened(void *ctx, struct rpc_client *which)
{
    (void)ctx;
    (void)which;
    opened = true;
}

static void on_closed(void *ctx, struct rpc_client *which, const struct err *err)
{
    (void)ctx;
    ck_assert_ptr_eq(which, client);
    closed = true;
    closed_err = *err;
    rpc_client_destroy(client);
    client = NULL;
}

static const struct rpc_client_events client_events = {on_opened, on_closed};

/* `ping_ms` 0: no pings. */
static void connect_client(uint32_t ping_ms)
{
    const struct rpc_client_options options = {
        .addresses = &address, .count = 1, .ping_ms = ping_ms};
    struct err err = {0};
    ck_assert_msg(rpc_client_create(&client, &loop, &options, &client_events, NULL, &err) == 0,
                  "%s", err.text);
}

static void setup(void)
{
    char path[128];
    struct err err = {0};
    uv_loop_init(&loop);
    temp_dir_create(dir);
    snprintf(path, sizeof path, "unix://%s/rpc.sock", dir);
    ck_assert_int_eq(address_parse(&address, path, false, NULL), 0);
    server = rpc_server_create(&loop);
    ck_assert_ptr_nonnull(server);
    ck_assert_int_eq(rpc_server_add(server, methods, ARRAY_LEN(methods), NULL), 0);
    ck_assert_msg(rpc_server_listen(server, &address, NULL, 0, NULL, &err) == 0, "%s", err.text);
    uv_timer_init(&loop, &later);
    connect_client(0);
}

static void teardown(void)
{
    rpc_client_destroy(client);
    rpc_server_destroy(server);
    uv_close((uv_handle_t *)&later, NULL);
    loop_finish(&loop);
    temp_dir_remove(dir);
}

static void on_done(void *ctx, enum grpc_code got, const char *message,
                    const ProtobufCMessage *response)
{
    (void)ctx;
    ck_assert_ptr_nonnull(message);
    ck_assert_int_eq(response != NULL, got == GRPC_OK);
    done = true;
    calls_done++;
    code = got;
    snprintf(text, sizeof text, "%s", message);
    if (response == NULL)
        return;
    const RESPONSE *echo = (const RESPONSE *)(const void *)response;
    answer_len = strlen(echo->address);
    snprintf(answer, sizeof answer, "%.100s", echo->address);
}

static int start(const char *path, const char *name, uint32_t timeout_ms)
{
    REQUEST request;
    pb__connect_request__init(&request);
    request.name = (char *)(uintptr_t)name;
    done = false;
    return rpc_client_call(client, path, &request.base, response_type, timeout_ms, on_done, NULL);
}

static void call(const char *path, const char *name, uint32_t timeout_ms)
{
    ck_assert_int_eq(start(path, name, timeout_ms), 0);
    ck_assert(!done);
    ck_assert(loop_run_until(&loop, &done, 5000));
}

START_TEST(unary)
{
    call("/t.T/Echo", "hello", 1000);
    ck_assert_int_eq(code, GRPC_OK);
    ck_assert_str_eq(answer, "hello");
    call("/t.T/Echo", "", 0);
    ck_assert_int_eq(code, GRPC_OK);
    ck_assert_uint_eq(answer_len, 0);
    ck_assert(opened);
}
END_TEST

START_TEST(status_text)
{
    call("/t.T/Fail", "", 1000);
    ck_assert_int_eq(code, GRPC_NOT_FOUND);
    ck_assert_str_eq(text, text_with_everything);
}
END_TEST

START_TEST(answered_later)
{
    call("/t.T/Later", "", 1000);
    ck_assert_int_eq(code, GRPC_OK);
    ck_assert_str_eq(answer, "later");
}
END_TEST

START_TEST(unknown_method)
{
    call("/t.T/None", "", 1000);
    ck_assert_int_eq(code, GRPC_UNIMPLEMENTED);
}
END_TEST

START_TEST(wrong_role)
{
    call("/t.T/Node", "", 1000);
    ck_assert_int_eq(code, GRPC_PERMISSION_DENIED);
}
END_TEST

START_TEST(malformed_request)
{
    Google__Protobuf__Timestamp wrong = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    wrong.seconds = 5; /* field 1 as a number, where a string must be */
    ck_assert_int_eq(
        rpc_client_call(client, "/t.T/Echo", &wrong.base, response_type, 0, on_done, NULL), 0);
    ck_assert(loop_run_until(&loop, &done, 5000));
    ck_assert_int_eq(code, GRPC_INVALID_ARGUMENT);
    call("/t.T/Echo", "still here", 1000);
    ck_assert_int_eq(code, GRPC_OK);
}
END_TEST

START_TEST(malformed_response)
{
    REQUEST request;
    pb__connect_request__init(&request);
    request.name = (char *)"x";
    /* ConnectResponse.address, a string, read as Timestamp.nanos, a number */
    ck_assert_int_eq(rpc_client_call(client, "/t.T/Echo", &request.base,
                                     &google__protobuf__timestamp__descriptor, 0, on_done, NULL),
                     0);
    ck_assert(loop_run_until(&loop, &done, 5000));
    ck_assert_int_eq(code, GRPC_INTERNAL);
}
END_TEST

START_TEST(deadline)
{
    call("/t.T/Hold", "", 100);
    ck_assert_int_eq(code, GRPC_DEADLINE_EXCEEDED);
    ck_assert(loop_run_until(&loop, &cancelled, 10000));
    ck_assert_uint_eq(cancels, 1);
}
END_TEST

static void on_explained(void *ctx, struct rpc_call *call)
{
    (void)ctx;
    held = NULL;
    rpc_call_explain(call, "the change may still happen");
}

static void handle_explained(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)ctx;
    (void)message;
    rpc_call_on_cancel(call, on_explained, NULL);
}

static void on_late(void *ctx, struct h2_request *request, enum grpc_code late_code,
                    const char *late_text)
{
    (void)request;
    code = late_code;
    snprintf(text, sizeof text, "%s", late_text);
    *(bool *)ctx = true;
}

static void no_message(void *ctx, struct h2_request *request, const uint8_t *bytes, size_t len)
{
    (void)ctx;
    (void)request;
    (void)bytes;
    (void)len;
}

/* Moves bytes between a session and a socket until the flag is set. */
static void talk(struct h2_client *session, int fd, const bool *flag)
{
    struct buffer out;
    uint8_t in[4096];
    for (int i = 0; i < 1000 && !*flag; i++) {
        buffer_init(&out);
        ck_assert_int_eq(h2_client_pull(session, &out, sizeof in), 0);
        ck_assert_int_eq(send(fd, buffer_data(&out), buffer_len(&out), 0),
                         (ssize_t)buffer_len(&out));
        buffer_fini(&out);
        loop_run_for(&loop, 10);
        ssize_t len = recv(fd, in, sizeof in, MSG_DONTWAIT);
        if (len > 0)
            ck_assert_int_eq(h2_client_receive(session, in, (size_t)len), 0);
    }
    ck_assert(*flag);
}

/* A client without a clock of its own reads what the handler knows of the outcome. */
START_TEST(deadline_is_explained)
{
    static const struct h2_request_events events = {.message = no_message, .finished = on_late};
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    bool finished = false;
    strcpy(to.sun_path, address.path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    struct h2_client *session = h2_client_create("localhost", false, GRPC_MESSAGE_MAX);
    ck_assert_ptr_nonnull(
        h2_client_start(session, "/t.T/Explained", "", 0, 50 * 1000000, &events, &finished));
    talk(session, fd, &finished);
    ck_assert_int_eq(code, GRPC_DEADLINE_EXCEEDED);
    ck_assert_str_eq(text, "the deadline has passed: the change may still happen");
    h2_client_destroy(session);
    close(fd);
}
END_TEST

static const struct {
    size_t len;
    enum grpc_code code;
} sizes[] = {
    {1, GRPC_OK},
    {16384, GRPC_OK},
    {65535, GRPC_OK},
    {3 << 20, GRPC_OK},
    {(4 << 20) - 8, GRPC_OK},
    {(4 << 20) + 1, GRPC_RESOURCE_EXHAUSTED},
    {20 << 20, GRPC_RESOURCE_EXHAUSTED},
};

START_TEST(message_size)
{
    char *name = malloc(sizes[_i].len + 1);
    ck_assert_ptr_nonnull(name);
    memset(name, 'x', sizes[_i].len);
    name[sizes[_i].len] = '\0';
    call("/t.T/Echo", name, 5000);
    ck_assert_msg(code == sizes[_i].code, "%d %s", code, text);
    if (code == GRPC_OK)
        ck_assert_uint_eq(answer_len, sizes[_i].len);
    free(name);
    call("/t.T/Echo", "after", 1000);
    ck_assert_int_eq(code, GRPC_OK);
}
END_TEST

/* The server takes some of the calls at once; the others wait for their turn. */
START_TEST(many_calls_at_once)
{
    bool never = false;
    for (int i = 0; i < 500; i++)
        ck_assert_int_eq(start("/t.T/Echo", "x", 5000), 0);
    for (int i = 0; i < 100 && calls_done < 500; i++)
        loop_run_until(&loop, &never, 20);
    ck_assert_uint_eq(calls_done, 500);
    ck_assert_int_eq(code, GRPC_OK);
}
END_TEST

static struct rpc_stream *cancel_at_message;

static void on_stream_message(void *ctx, struct rpc_stream *stream, const ProtobufCMessage *message)
{
    const RESPONSE *response = (const RESPONSE *)(const void *)message;
    (void)ctx;
    ck_assert_int_eq(atoi(response->address), (int)messages);
    messages++;
    done = true;
    if (stream == cancel_at_message)
        rpc_stream_cancel(stream);
}

static void on_stream_finished(void *ctx, struct rpc_stream *stream, enum grpc_code got,
                               const char *message)
{
    (void)ctx;
    (void)stream;
    stream_done = true;
    code = got;
    snprintf(text, sizeof text, "%s", message);
}

static const struct rpc_stream_events stream_events = {on_stream_message, on_stream_finished};

static struct rpc_stream *open_stream(const char *count, const char *name)
{
    struct rpc_stream *stream;
    REQUEST request;
    pb__connect_request__init(&request);
    request.id = (char *)(uintptr_t)count;
    request.name = (char *)(uintptr_t)name;
    ck_assert_int_eq(rpc_client_stream(&stream, client, "/t.T/Stream", &request.base, response_type,
                                       &stream_events, NULL),
                     0);
    return stream;
}

START_TEST(stream_to_its_end)
{
    open_stream(_i == 0 ? "1000" : "0", "");
    ck_assert(loop_run_until(&loop, &stream_done, 5000));
    ck_assert_int_eq(code, GRPC_OK);
    ck_assert_uint_eq(messages, _i == 0 ? 1000 : 0);
}
END_TEST

START_TEST(stream_cancelled)
{
    struct rpc_stream *stream = open_stream("3", "hold");
    if (_i == 0) {
        cancel_at_message = stream;
    } else {
        ck_assert(loop_run_until(&loop, &done, 10000));
        rpc_stream_cancel(stream);
    }
    ck_assert(loop_run_until(&loop, &cancelled, 5000));
    ck_assert_uint_eq(cancels, 1);
    ck_assert(!stream_done);
    ck_assert_uint_eq(messages, _i == 0 ? 1 : 3);
    call("/t.T/Echo", "still here", 1000);
    ck_assert_int_eq(code, GRPC_OK);
}
END_TEST

START_TEST(stream_cancelled_before_it_started)
{
    rpc_stream_cancel(open_stream("3", "hold"));
    loop_run_for(&loop, 50);
    ck_assert_uint_eq(messages, 0);
    ck_assert(!stream_done);
}
END_TEST

START_TEST(client_destroyed_with_open_calls)
{
    open_stream("3", "hold");
    ck_assert(loop_run_until(&loop, &done, 10000));
    ck_assert_int_eq(start("/t.T/Echo", "x", 3000), 0);
    rpc_client_destroy(client);
    client = NULL;
    ck_assert(loop_run_until(&loop, &cancelled, 10000));
    ck_assert(!stream_done);
    ck_assert(!closed);
    ck_assert_uint_eq(calls_done, 0);
}
END_TEST

START_TEST(client_destroyed_at_once)
{
    ck_assert_int_eq(start("/t.T/Echo", "x", 3000), 0);
    rpc_client_destroy(client);
    client = NULL;
    loop_run_for(&loop, 50);
    ck_assert_uint_eq(calls_done, 0);
}
END_TEST

START_TEST(server_destroyed_with_open_calls)
{
    open_stream("3", "hold");
    ck_assert(loop_run_until(&loop, &done, 10000));
    rpc_server_destroy(server);
    server = NULL;
    ck_assert_uint_eq(cancels, 1); /* before it returns */
    ck_assert(loop_run_until(&loop, &closed, 10000));
    ck_assert(stream_done);
    ck_assert_int_eq(code, GRPC_UNAVAILABLE);
    ck_assert_int_ne(closed_err.code, 0);
}
END_TEST

static void on_shut_down(void *ctx)
{
    (void)ctx;
    shut_down = true;
}

START_TEST(graceful_shutdown)
{
    open_stream("3", "hold");
    ck_assert(loop_run_until(&loop, &done, 10000));
    ck_assert_int_eq(start("/t.T/Later", "x", 3000), 0);
    loop_run_for(&loop, 10);
    rpc_server_shut_down(server, 2000, on_shut_down, NULL);
    ck_assert(!shut_down);
    ck_assert(loop_run_until(&loop, &shut_down, 1500));
    ck_assert(loop_run_until(&loop, &closed, 10000));
    ck_assert_uint_eq(calls_done, 1); /* the unary call was answered */
    ck_assert_str_eq(answer, "later");
    ck_assert(stream_done);
    ck_assert_uint_eq(cancels, 1);
}
END_TEST

START_TEST(shutdown_does_not_wait_for_ever)
{
    ck_assert_int_eq(start("/t.T/Hold", "x", 0), 0);
    loop_run_for(&loop, 30);
    rpc_server_shut_down(server, 100, on_shut_down, NULL);
    ck_assert(loop_run_until(&loop, &shut_down, 1500));
    ck_assert_uint_eq(cancels, 1);
    ck_assert(loop_run_until(&loop, &done, 10000));
    ck_assert_int_eq(code, GRPC_UNAVAILABLE);
}
END_TEST

START_TEST(shutdown_of_an_idle_server)
{
    rpc_client_destroy(client);
    client = NULL;
    loop_run_for(&loop, 50);
    rpc_server_shut_down(server, 1000, on_shut_down, NULL);
    ck_assert(loop_run_until(&loop, &shut_down, 500));
}
END_TEST

START_TEST(disconnected_by_id)
{
    open_stream("1", "hold");
    ck_assert(loop_run_until(&loop, &done, 10000));
    rpc_server_disconnect(server, TRANSPORT_PEER, "", "not you");
    rpc_server_disconnect(server, TRANSPORT_ADMIN, "other", "not you");
    loop_run_for(&loop, 30);
    ck_assert(!stream_done);
    rpc_server_disconnect(server, TRANSPORT_ADMIN, "", "go away");
    ck_assert(loop_run_until(&loop, &stream_done, 10000));
    ck_assert_int_eq(code, GRPC_PERMISSION_DENIED);
    ck_assert_str_eq(text, "go away");
    ck_assert(loop_run_until(&loop, &closed, 10000));
}
END_TEST

/* 0: without a first call; 1: after the last one; 2: while a call is open. */
START_TEST(idle_connections_are_ended)
{
    rpc_server_set_patience(server, 200, 800);
    if (_i == 1) {
        call("/t.T/Echo", "x", 1000);
        loop_run_for(&loop, 400);
        ck_assert(!closed);
    } else if (_i == 2) {
        open_stream("1", "hold");
    }
    bool ended = loop_run_until(&loop, &closed, 1500);
    ck_assert_int_eq(ended, _i != 2);
    ck_assert_uint_eq(rpc_server_connection_count(server), ended ? 0 : 1);
}
END_TEST

static void count_late(void *ctx, const char *method, enum grpc_code which, uint64_t count)
{
    if (strcmp(method, "/t.T/Echo") == 0 && which == GRPC_DEADLINE_EXCEEDED)
        *(uint64_t *)ctx += count;
}

/* A call sends its headers and nothing else. */
START_TEST(request_that_does_not_come)
{
    static const char bytes[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                "\0\0\0\4\0\0\0\0\0"
                                "\0\0\x2f\1\4\0\0\0\1"
                                "\x83\x86\4\x09/t.T/Echo\1\1x"
                                "\0\x0c"
                                "content-type\x10"
                                "application/grpc";
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    uint64_t late = 0;
    rpc_server_set_patience(server, 200, 60000);
    call("/t.T/Echo", "x", 1000);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(to.sun_path, address.path, strlen(address.path));
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    ck_assert_int_eq(write(fd, bytes, sizeof bytes - 1), (ssize_t)sizeof bytes - 1);
    loop_run_for(&loop, 120);
    rpc_server_each_count(server, count_late, &late);
    ck_assert_uint_eq(late, 0);
    for (int turns = 0; turns < 40 && late == 0; turns++) {
        loop_run_for(&loop, 50);
        rpc_server_each_count(server, count_late, &late);
    }
    ck_assert_uint_eq(late, 1);
    ck_assert(!closed); /* the server keeps the connection */
    close(fd);
}
END_TEST

START_TEST(nobody_there)
{
    rpc_client_destroy(client);
    snprintf(address.path, sizeof address.path, "%s/none.sock", dir);
    connect_client(0);
    ck_assert_int_eq(start("/t.T/Echo", "x", 3000), 0);
    ck_assert(loop_run_until(&loop, &closed, 10000));
    ck_assert(!opened);
    ck_assert_uint_eq(calls_done, 1);
    ck_assert_int_eq(code, GRPC_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(closed_err.text, "none.sock"));
    ck_assert_str_eq(text, closed_err.text);
}
END_TEST

START_TEST(second_address_is_tried)
{
    struct address both[2] = {address, address};
    rpc_client_destroy(client);
    snprintf(both[0].path, sizeof both[0].path, "%s/none.sock", dir);
    const struct rpc_client_options options = {.addresses = both, .count = 2};
    ck_assert_int_eq(rpc_client_create(&client, &loop, &options, &client_events, NULL, NULL), 0);
    call("/t.T/Echo", "x", 1000);
    ck_assert_int_eq(code, GRPC_OK);
    ck_assert(address_equal(rpc_client_address(client), &both[1]));
}
END_TEST

/* Connects to a server that accepts and sends nothing. */
static void connect_to_mute(uint32_t ping_ms)
{
    char command[256];
    rpc_client_destroy(client);
    snprintf(address.path, sizeof address.path, "%s/mute.sock", dir);
    snprintf(command, sizeof command,
             "timeout 5 python3 -c 'import socket, time\n"
             "s = socket.socket(socket.AF_UNIX); s.bind(\"%s\"); s.listen(); time.sleep(5)' &",
             address.path);
    ck_assert_int_eq(system(command), 0);
    for (int i = 0; i < 100 && access(address.path, F_OK) < 0; i++)
        usleep(20000);
    usleep(50000);
    connect_client(ping_ms);
    ck_assert(loop_run_until(&loop, &opened, 10000));
}

START_TEST(ping_without_answer)
{
    connect_to_mute(60);
    ck_assert(loop_run_until(&loop, &closed, 10000));
    ck_assert_int_eq(closed_err.code, -ETIMEDOUT);
}
END_TEST

/* With pings of the client's own, and without. */
START_TEST(probe_without_answer)
{
    connect_to_mute(_i == 0 ? 60000 : 0);
    rpc_client_probe(client, 60);
    ck_assert(loop_run_until(&loop, &closed, 10000));
    ck_assert_int_eq(closed_err.code, -ETIMEDOUT);
}
END_TEST

START_TEST(probe_with_answer)
{
    rpc_client_destroy(client);
    connect_client(0);
    rpc_client_probe(client, 60); /* too early: nothing happens */
    ck_assert(loop_run_until(&loop, &opened, 10000));
    rpc_client_probe(client, 200);
    rpc_client_probe(client, 200);
    loop_run_for(&loop, 500);
    ck_assert(!closed);
    call("/t.T/Echo", "x", 1000);
    ck_assert_int_eq(code, GRPC_OK);
}
END_TEST

START_TEST(ping_with_answer)
{
    rpc_client_destroy(client);
    connect_client(200);
    loop_run_for(&loop, 900);
    ck_assert(opened && !closed);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("rpc");
    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, unary);
    tcase_add_test(tc, status_text);
    tcase_add_test(tc, answered_later);
    tcase_add_test(tc, unknown_method);
    tcase_add_test(tc, wrong_role);
    tcase_add_test(tc, malformed_request);
    tcase_add_test(tc, malformed_response);
    tcase_add_test(tc, deadline);
    tcase_add_test(tc, deadline_is_explained);
    tcase_add_loop_test(tc, message_size, 0, (int)ARRAY_LEN(sizes));
    tcase_add_test(tc, many_calls_at_once);
    tcase_add_loop_test(tc, stream_to_its_end, 0, 2);
    tcase_add_loop_test(tc, stream_cancelled, 0, 2);
    tcase_add_test(tc, stream_cancelled_before_it_started);
    tcase_add_test(tc, client_destroyed_with_open_calls);
    tcase_add_test(tc, client_destroyed_at_once);
    tcase_add_test(tc, server_destroyed_with_open_calls);
    tcase_add_test(tc, graceful_shutdown);
    tcase_add_test(tc, shutdown_does_not_wait_for_ever);
    tcase_add_test(tc, shutdown_of_an_idle_server);
    tcase_add_test(tc, disconnected_by_id);
    tcase_add_loop_test(tc, idle_connections_are_ended, 0, 3);
    tcase_add_test(tc, request_that_does_not_come);
    tcase_add_test(tc, nobody_there);
    tcase_add_test(tc, second_address_is_tried);
    tcase_add_test(tc, ping_without_answer);
    tcase_add_test(tc, ping_with_answer);
    tcase_add_loop_test(tc, probe_without_answer, 0, 2);
    tcase_add_test(tc, probe_with_answer);
    return unit_run(tc);
}
