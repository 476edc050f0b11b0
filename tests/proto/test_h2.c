/* The server's and the client's session back to back, with their bytes cut at every place, and the
 * server alone against hand-written bytes. */
#include "proto/h2_client.h"
#include "proto/h2_server.h"

#include "tests/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The path of a call selects what the server does. */
struct world {
    struct h2_server *server;
    struct h2_client *client;
    size_t cut; /* bytes moved at once */
    unsigned started, closed, messages, half_closed, writable;
    struct h2_call *call;
    unsigned answers, finished;
    enum grpc_code code;
    char text[GRPC_STATUS_TEXT_MAX];
    char answer[64];
    char metadata[64];
    uint64_t timeout_ns;
};

static void on_started(void *ctx, struct h2_call *call)
{
    struct world *world = ctx;
    const char *agent = h2_call_metadata(call, "user-agent");
    world->started++;
    world->call = call;
    world->timeout_ns = h2_call_timeout_ns(call);
    snprintf(world->metadata, sizeof world->metadata, "%s", agent == NULL ? "" : agent);
    if (strcmp(h2_call_path(call), "/t/Refuse") == 0)
        h2_call_finish(call, GRPC_NOT_FOUND, "50% of it\n");
}

static void on_message(void *ctx, struct h2_call *call, const uint8_t *bytes, size_t len)
{
    struct world *world = ctx;
    world->messages++;
    if (strcmp(h2_call_path(call), "/t/Echo") == 0) {
        ck_assert_int_eq(h2_call_send(call, bytes, len), 0);
        h2_call_finish(call, GRPC_OK, NULL);
    } else if (strcmp(h2_call_path(call), "/t/Three") == 0) {
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(h2_call_send(call, bytes, len), 0);
        h2_call_finish(call, GRPC_ABORTED, "enough");
    }
}

static void on_half_closed(void *ctx, struct h2_call *call)
{
    struct world *world = ctx;
    (void)call;
    world->half_closed++;
}

static void on_writable(void *ctx, struct h2_call *call)
{
    struct world *world = ctx;
    ck_assert_uint_eq(h2_call_pending(call), 0);
    world->writable++;
}

static void on_closed(void *ctx, struct h2_call *call)
{
    struct world *world = ctx;
    if (world->call == call)
        world->call = NULL;
    world->closed++;
}

static const struct h2_server_events server_events = {on_started, on_message, on_half_closed,
                                                      on_writable, on_closed};

static void on_answer(void *ctx, struct h2_request *request, const uint8_t *bytes, size_t len)
{
    struct world *world = ctx;
    (void)request;
    world->answers++;
    snprintf(world->answer, sizeof world->answer, "%.*s", (int)(len < 60 ? len : 60),
             (const char *)bytes);
}

static void on_finished(void *ctx, struct h2_request *request, enum grpc_code code,
                        const char *text)
{
    struct world *world = ctx;
    (void)request;
    world->finished++;
    world->code = code;
    snprintf(world->text, sizeof world->text, "%s", text);
}

static const struct h2_request_events request_events = {on_answer, on_finished};

static void world_init(struct world *world, const struct h2_limits *limits)
{
    *world = (struct world){.cut = SIZE_MAX};
    world->server = h2_server_create(&server_events, world, limits);
    world->client = h2_client_create("test", false, GRPC_MESSAGE_MAX);
    ck_assert_ptr_nonnull(world->server);
    ck_assert_ptr_nonnull(world->client);
}

static void world_fini(struct world *world)
{
    h2_client_destroy(world->client);
    h2_server_destroy(world->server);
    ck_assert_uint_eq(world->started, world->closed);
}

static bool carry(struct world *world, bool to_server)
{
    struct buffer bytes;
    buffer_init(&bytes);
    ck_assert_int_eq(to_server ? h2_client_pull(world->client, &bytes, 100000)
                               : h2_server_pull(world->server, &bytes, 100000),
                     0);
    bool any = buffer_len(&bytes) > 0;
    while (buffer_len(&bytes) > 0) {
        size_t n = buffer_len(&bytes) < world->cut ? buffer_len(&bytes) : world->cut;
        int rv = to_server ? h2_server_receive(world->server, buffer_data(&bytes), n)
                           : h2_client_receive(world->client, buffer_data(&bytes), n);
        ck_assert_int_eq(rv, 0);
        buffer_consume(&bytes, n);
    }
    buffer_fini(&bytes);
    return any;
}

static void settle(struct world *world)
{
    for (int i = 0; i < 10000; i++) {
        bool a = carry(world, true);
        bool b = carry(world, false);
        if (!a && !b)
            return;
    }
    ck_abort_msg("the sessions never come to rest");
}

static struct h2_request *begin(struct world *world, const char *path, const void *bytes,
                                size_t len)
{
    struct h2_request *request =
        h2_client_start(world->client, path, bytes, len, UINT64_MAX, &request_events, world);
    ck_assert_ptr_nonnull(request);
    return request;
}

START_TEST(echo_at_every_cut)
{
    struct world world;
    world_init(&world, &h2_limits_default);
    world.cut = (size_t)_i;
    begin(&world, "/t/Echo", "hello", 5);
    settle(&world);
    ck_assert_uint_eq(world.finished, 1);
    ck_assert_int_eq(world.code, GRPC_OK);
    ck_assert_str_eq(world.answer, "hello");
    ck_assert_uint_eq(world.closed, 1);
    ck_assert_int_eq(strncmp(world.metadata, "heimdall/", 9), 0);
    world_fini(&world);
}
END_TEST

START_TEST(trailers_only)
{
    struct world world;
    world_init(&world, &h2_limits_default);
    begin(&world, "/t/Refuse", "", 0);
    settle(&world);
    ck_assert_int_eq(world.code, GRPC_NOT_FOUND);
    ck_assert_str_eq(world.text, "50% of it\n");
    ck_assert_uint_eq(world.answers, 0);
    world_fini(&world);
}
END_TEST

START_TEST(stream_with_status)
{
    struct world world;
    world_init(&world, &h2_limits_default);
    begin(&world, "/t/Three", "x", 1);
    settle(&world);
    ck_assert_uint_eq(world.answers, 3);
    ck_assert_int_eq(world.code, GRPC_ABORTED);
    ck_assert_str_eq(world.text, "enough");
    world_fini(&world);
}
END_TEST

START_TEST(timeout_is_carried)
{
    struct world world;
    world_init(&world, &h2_limits_default);
    h2_client_start(world.client, "/t/Hold", "", 0, 1500000000, &request_events, &world);
    settle(&world);
    ck_assert_uint_eq(world.timeout_ns, 1500000000);
    world_fini(&world);
    ck_assert_int_eq(world.code, GRPC_UNAVAILABLE); /* destroying the client ended it */
}
END_TEST

START_TEST(cancelled_by_the_client)
{
    struct world world;
    world_init(&world, &h2_limits_default);
    struct h2_request *request = begin(&world, "/t/Hold", "x", 1);
    if (_i == 0)
        settle(&world);
    h2_request_cancel(request, GRPC_CANCELLED, "");
    ck_assert_uint_eq(world.finished, 1);
    settle(&world);
    ck_assert_uint_eq(world.started, _i == 0 ? 1 : 0);
    ck_assert_uint_eq(world.closed, world.started);
    ck_assert_uint_eq(h2_server_calls(world.server), 0);
    ck_assert_uint_eq(world.finished, 1);
    world_fini(&world);
}
END_TEST

START_TEST(sends_again_when_writable)
{
    struct world world;
    world_init(&world, &h2_limits_default);
    begin(&world, "/t/Hold", "x", 1);
    settle(&world);
    for (unsigned i = 1; i <= 3; i++) {
        ck_assert_int_eq(h2_call_send(world.call, "abc", 3), 0);
        ck_assert_uint_eq(h2_call_pending(world.call), 8);
        settle(&world);
        ck_assert_uint_eq(world.answers, i);
        ck_assert_uint_eq(world.writable, i);
    }
    h2_call_finish(world.call, GRPC_OK, NULL);
    settle(&world);
    ck_assert_int_eq(world.code, GRPC_OK);
    ck_assert_uint_eq(world.finished, 1);
    world_fini(&world);
}
END_TEST

START_TEST(queue_is_limited)
{
    struct h2_limits limits = h2_limits_default;
    struct world world;
    limits.buffered_bytes = 100;
    world_init(&world, &limits);
    begin(&world, "/t/Hold", "x", 1);
    settle(&world);
    char bytes[96] = {0};
    ck_assert_int_eq(h2_call_send(world.call, bytes, 96), -ENOBUFS);
    ck_assert_int_eq(h2_call_send(world.call, bytes, 95), 0);
    ck_assert_int_eq(h2_call_send(world.call, bytes, 1), -ENOBUFS);
    h2_call_finish(world.call, GRPC_OK, NULL);
    ck_assert_int_eq(h2_call_send(world.call, bytes, 1), -EPIPE);
    settle(&world);
    ck_assert_uint_eq(world.answers, 1);
    world_fini(&world);
}
END_TEST

/* All calls of a connection together, without those that ended. */
START_TEST(queues_are_limited_together)
{
    struct h2_limits limits = h2_limits_default;
    struct world world;
    struct h2_call *calls[2];
    char bytes[95] = {0};
    limits.queued_bytes = 150;
    world_init(&world, &limits);
    for (int i = 0; i < 2; i++) {
        begin(&world, "/t/Hold", "x", 1);
        settle(&world);
        calls[i] = world.call;
    }
    size_t calls_held = h2_server_held(world.server);
    ck_assert_int_eq(h2_call_send(calls[0], bytes, 95), 0);
    ck_assert_uint_eq(h2_server_held(world.server), calls_held + 100);
    ck_assert_int_eq(h2_call_send(calls[1], bytes, 46), -ENOBUFS);
    ck_assert_int_eq(h2_call_send(calls[1], bytes, 45), 0);
    ck_assert_uint_eq(h2_server_held(world.server), calls_held + 150);
    h2_call_drop_queue(calls[0]);
    ck_assert_uint_eq(h2_server_held(world.server), calls_held + 50);
    settle(&world);
    ck_assert_uint_eq(h2_server_held(world.server), calls_held);
    world_fini(&world);
}
END_TEST

/* Calls whose request has not come hold memory too, and give it back when they end. */
START_TEST(headers_are_counted)
{
    struct world world;
    world_init(&world, &h2_limits_default);
    settle(&world);
    ck_assert_uint_eq(h2_server_held(world.server), 0);
    begin(&world, "/t/Hold", "x", 1);
    settle(&world);
    size_t one = h2_server_held(world.server);
    ck_assert_uint_ge(one, 1024);
    begin(&world, "/t/Hold", "x", 1);
    settle(&world);
    ck_assert_uint_eq(h2_server_held(world.server), 2 * one);
    h2_call_finish(world.call, GRPC_OK, NULL);
    settle(&world);
    ck_assert_uint_eq(h2_server_held(world.server), one);
    world_fini(&world);
}
END_TEST

/* Messages that were not pulled in part are dropped. The rest and the status arrive. */
START_TEST(queue_is_dropped)
{
    enum { LEN = 40000, FRAMED = LEN + GRPC_PREFIX_LEN, COUNT = 3 };
    static char bytes[LEN];
    struct world world;
    struct buffer frames;
    world_init(&world, &h2_limits_default);
    begin(&world, "/t/Hold", "x", 1);
    settle(&world);
    for (int i = 0; i < COUNT; i++)
        ck_assert_int_eq(h2_call_send(world.call, bytes, LEN), 0);
    buffer_init(&frames);
    for (int i = 0; i < _i; i++)
        ck_assert_int_eq(h2_server_pull(world.server, &frames, 1), 0);
    size_t pulled = (size_t)COUNT * FRAMED - h2_call_pending(world.call);
    ck_assert(_i < 3 || pulled > 0);
    h2_call_drop_queue(world.call);
    h2_call_finish(world.call, GRPC_RESOURCE_EXHAUSTED, "too slow");
    ck_assert_int_eq(h2_client_receive(world.client, buffer_data(&frames), buffer_len(&frames)), 0);
    buffer_fini(&frames);
    settle(&world);
    ck_assert_uint_eq(world.answers, (pulled + FRAMED - 1) / FRAMED);
    ck_assert_int_eq(world.code, GRPC_RESOURCE_EXHAUSTED);
    ck_assert_str_eq(world.text, "too slow");
    world_fini(&world);
}
END_TEST

START_TEST(message_over_the_limit)
{
    struct h2_limits limits = h2_limits_default;
    struct world world;
    char bytes[101] = {0};
    limits.message_bytes = 100;
    world_init(&world, &limits);
    begin(&world, "/t/Echo", bytes, _i == 0 ? 100 : 101);
    settle(&world);
    ck_assert_int_eq(world.code, _i == 0 ? GRPC_OK : GRPC_RESOURCE_EXHAUSTED);
    world_fini(&world);
}
END_TEST

START_TEST(calls_over_the_limit_wait)
{
    struct h2_limits limits = h2_limits_default;
    struct world world;
    limits.streams = 2;
    world_init(&world, &limits);
    settle(&world);
    for (int i = 0; i < 5; i++)
        begin(&world, "/t/Hold", "x", 1);
    settle(&world);
    ck_assert_uint_eq(world.started, 2);
    h2_call_finish(world.call, GRPC_OK, NULL);
    settle(&world);
    ck_assert_uint_eq(world.started, 3);
    world_fini(&world);
    ck_assert_uint_eq(world.finished, 5);
}
END_TEST

START_TEST(goaway)
{
    struct world world;
    world_init(&world, &h2_limits_default);
    begin(&world, "/t/Hold", "x", 1);
    settle(&world);
    h2_server_shut_down(world.server);
    settle(&world);
    ck_assert(h2_client_is_draining(world.client));
    ck_assert_ptr_null(
        h2_client_start(world.client, "/t/Echo", "", 0, UINT64_MAX, &request_events, &world));
    ck_assert(!h2_server_is_over(world.server));
    ck_assert_int_eq(h2_call_send(world.call, "last", 4), 0);
    h2_call_finish(world.call, GRPC_OK, NULL);
    settle(&world);
    ck_assert_str_eq(world.answer, "last");
    ck_assert_int_eq(world.code, GRPC_OK);
    ck_assert(h2_server_is_over(world.server));
    ck_assert(h2_client_is_over(world.client));
    world_fini(&world);
}
END_TEST

START_TEST(ping)
{
    struct world world;
    world_init(&world, &h2_limits_default);
    ck_assert_int_eq(h2_client_ping(world.client), 0);
    ck_assert_uint_eq(h2_client_pongs(world.client), 0);
    settle(&world);
    ck_assert_uint_eq(h2_client_pongs(world.client), 1);
    world_fini(&world);
}
END_TEST

/* A hand-written frame: header, then payload. */
static void put_frame(struct buffer *out, uint8_t type, uint8_t flags, uint32_t stream,
                      const void *payload, size_t len)
{
    const uint8_t header[9] = {(uint8_t)(len >> 16),
                               (uint8_t)(len >> 8),
                               (uint8_t)len,
                               type,
                               flags,
                               (uint8_t)(stream >> 24),
                               (uint8_t)(stream >> 16),
                               (uint8_t)(stream >> 8),
                               (uint8_t)stream};
    buffer_append(out, header, sizeof header);
    buffer_append(out, payload, len);
}

/* Header fields as HPACK literals without indexing (RFC 7541 section 6.2.2); short ones only. */
static void put_fields(struct buffer *out, const char *const fields[][2])
{
    for (size_t i = 0; fields[i][0] != NULL; i++) {
        size_t value = strlen(fields[i][1]);
        uint8_t zero = 0, name_len = (uint8_t)strlen(fields[i][0]), value_len = (uint8_t)value;
        ck_assert_uint_lt(value, 127);
        buffer_append(out, &zero, 1);
        buffer_append(out, &name_len, 1);
        buffer_append_string(out, fields[i][0]);
        buffer_append(out, &value_len, 1);
        buffer_append_string(out, fields[i][1]);
    }
}

static void put_start(struct buffer *out)
{
    buffer_append_string(out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    put_frame(out, 4, 0, 0, NULL, 0);
}

enum { END_STREAM = 1, END_HEADERS = 4 };

static void put_headers(struct buffer *out, uint32_t stream, const char *const fields[][2],
                        uint8_t flags)
{
    struct buffer block;
    buffer_init(&block);
    put_fields(&block, fields);
    put_frame(out, 1, flags, stream, buffer_data(&block), buffer_len(&block));
    buffer_fini(&block);
}

#define BASICS                                                                                     \
    {":method", "POST"}, {":scheme", "http"}, {":path", "/t/Hold"}, {":authority", "x"},           \
    {                                                                                              \
        "te", "trailers"                                                                           \
    }

/* The bytes that the server sends contain this text (its fields are literals, maybe Huffman coded,
 * so only the number of a status is looked for through the client). */
static const struct {
    const char *const fields[9][2];
    bool starts;
} requests[] = {
    {{BASICS, {"content-type", "application/grpc"}}, true},
    {{BASICS, {"content-type", "application/grpc+proto"}}, true},
    {{BASICS, {"content-type", "application/grpc;charset=x"}}, true},
    {{BASICS, {"content-type", "application/grpcx"}}, false},
    {{BASICS, {"content-type", "text/html"}}, false},
    {{BASICS}, false},
    {{BASICS, {"content-type", "application/grpc"}, {"grpc-encoding", "gzip"}}, false},
    {{BASICS, {"content-type", "application/grpc"}, {"grpc-encoding", "identity"}}, true},
    {{BASICS, {"content-type", "application/grpc"}, {"grpc-timeout", "soon"}}, false},
    {{{":method", "GET"},
      {":scheme", "http"},
      {":path", "/t/Hold"},
      {":authority", "x"},
      {"content-type", "application/grpc"}},
     false},
    {{{":method", "POST"}, {":scheme", "http"}, {"content-type", "application/grpc"}}, false},
};

START_TEST(request_headers)
{
    struct world world;
    struct buffer in, out;
    world_init(&world, &h2_limits_default);
    buffer_init(&in);
    buffer_init(&out);
    put_start(&in);
    put_headers(&in, 1, requests[_i].fields, END_HEADERS);
    ck_assert_int_eq(h2_server_receive(world.server, buffer_data(&in), buffer_len(&in)), 0);
    ck_assert_uint_eq(world.started, requests[_i].starts);
    ck_assert_int_eq(h2_server_pull(world.server, &out, 100000), 0);
    /* SETTINGS come first (RFC 9113 section 3.4) */
    ck_assert_uint_ge(buffer_len(&out), 9);
    ck_assert_uint_eq(buffer_data(&out)[3], 4);
    /* a refused call is answered and closed */
    ck_assert_uint_eq(h2_server_calls(world.server), requests[_i].starts);
    buffer_fini(&in);
    buffer_fini(&out);
    world_fini(&world);
}
END_TEST

START_TEST(too_many_header_bytes)
{
    static const char *const fields[][2] = {BASICS,
                                            {"content-type", "application/grpc"},
                                            {"x", "0123456789012345678901234567890123456789"},
                                            {NULL, NULL}};
    struct h2_limits limits = h2_limits_default;
    struct world world;
    struct buffer in;
    limits.header_bytes = 300;
    world_init(&world, &limits);
    buffer_init(&in);
    put_start(&in);
    put_headers(&in, 1, fields, END_HEADERS);
    ck_assert_int_eq(h2_server_receive(world.server, buffer_data(&in), buffer_len(&in)), 0);
    ck_assert_uint_eq(world.started, 0);
    buffer_fini(&in);
    world_fini(&world);
}
END_TEST

static const char *const good[][2] = {BASICS, {"content-type", "application/grpc"}, {NULL, NULL}};

START_TEST(request_cut_inside_a_message)
{
    struct world world;
    struct buffer in;
    world_init(&world, &h2_limits_default);
    buffer_init(&in);
    put_start(&in);
    put_headers(&in, 1, good, END_HEADERS);
    put_frame(&in, 0, END_STREAM, 1, "\0\0\0\0\5abc", 8);
    ck_assert_int_eq(h2_server_receive(world.server, buffer_data(&in), buffer_len(&in)), 0);
    ck_assert_uint_eq(world.started, 1);
    ck_assert_uint_eq(world.messages, 0);
    ck_assert_uint_eq(world.half_closed, 0);
    buffer_clear(&in);
    ck_assert_int_eq(h2_server_pull(world.server, &in, 100000), 0);
    ck_assert_uint_eq(world.closed, 1);
    buffer_fini(&in);
    world_fini(&world);
}
END_TEST

START_TEST(incomplete_messages_are_limited_together)
{
    struct h2_limits limits = h2_limits_default;
    struct world world;
    struct buffer in;
    uint8_t part[600] = {0, 0, 0, 3, 232}; /* of a message of 1000 bytes */
    limits.partial_bytes = 2000;
    world_init(&world, &limits);
    buffer_init(&in);
    put_start(&in);
    for (uint32_t stream = 1; stream <= 7; stream += 2) {
        put_headers(&in, stream, good, END_HEADERS);
        put_frame(&in, 0, 0, stream, part, sizeof part);
    }
    ck_assert_int_eq(h2_server_receive(world.server, buffer_data(&in), buffer_len(&in)), 0);
    ck_assert_uint_eq(world.started, 4);
    buffer_clear(&in);
    ck_assert_int_eq(h2_server_pull(world.server, &in, 100000), 0);
    ck_assert_uint_eq(h2_server_calls(world.server), 3); /* the fourth is over the limit */
    buffer_fini(&in);
    world_fini(&world);
}
END_TEST

/* Streams opened and reset at once (CVE-2023-44487): the connection ends. */
START_TEST(rapid_reset)
{
    struct world world;
    struct buffer in, out;
    world_init(&world, &h2_limits_default);
    buffer_init(&in);
    buffer_init(&out);
    put_start(&in);
    for (uint32_t i = 0; i < 2000; i++) {
        put_headers(&in, 2 * i + 1, good, END_HEADERS);
        put_frame(&in, 3, 0, 2 * i + 1, "\0\0\0\10", 4);
    }
    while (buffer_len(&in) > 0 && !h2_server_is_over(world.server)) {
        size_t n = buffer_len(&in) < 4096 ? buffer_len(&in) : 4096;
        h2_server_receive(world.server, buffer_data(&in), n);
        buffer_consume(&in, n);
        ck_assert_int_eq(h2_server_pull(world.server, &out, 1000000), 0);
    }
    ck_assert(h2_server_is_over(world.server));
    ck_assert_uint_lt(world.started, 500);
    buffer_fini(&in);
    buffer_fini(&out);
    world_fini(&world);
}
END_TEST

START_TEST(pings_that_are_not_read)
{
    struct world world;
    struct buffer in;
    int rv = 0;
    world_init(&world, &h2_limits_default);
    buffer_init(&in);
    put_start(&in);
    for (int i = 0; i < 5000; i++)
        put_frame(&in, 6, 0, 0, "12345678", 8);
    rv = h2_server_receive(world.server, buffer_data(&in), buffer_len(&in));
    ck_assert(rv < 0 || h2_server_control_frames(world.server) >= 5000);
    ck_assert_int_lt(rv, 0);
    buffer_fini(&in);
    world_fini(&world);
}
END_TEST

START_TEST(control_frames_are_counted)
{
    struct world world;
    struct buffer in, out;
    world_init(&world, &h2_limits_default);
    buffer_init(&in);
    buffer_init(&out);
    put_start(&in);
    for (int i = 0; i < 50; i++)
        put_frame(&in, 6, 0, 0, "12345678", 8);
    ck_assert_int_eq(h2_server_receive(world.server, buffer_data(&in), buffer_len(&in)), 0);
    ck_assert_uint_eq(h2_server_control_frames(world.server), 51);
    buffer_fini(&in);
    buffer_fini(&out);
    world_fini(&world);
}
END_TEST

START_TEST(garbage)
{
    for (unsigned seed = 0; seed < 300; seed++) {
        struct world world;
        struct buffer in, out;
        srand(seed);
        world_init(&world, &h2_limits_default);
        buffer_init(&in);
        buffer_init(&out);
        if (seed % 3 != 0)
            put_start(&in);
        for (int i = 0; i < 40; i++) {
            uint8_t junk[64];
            for (size_t j = 0; j < sizeof junk; j++)
                junk[j] = (uint8_t)rand();
            if (seed % 3 == 1)
                put_frame(&in, (uint8_t)(rand() % 11), (uint8_t)rand(), (uint32_t)rand() % 5, junk,
                          (size_t)rand() % sizeof junk);
            else if (seed % 3 == 2)
                put_headers(&in, (uint32_t)(2 * i + 1), good, END_HEADERS);
            if (seed % 3 != 1)
                buffer_append(&in, junk, sizeof junk);
        }
        h2_server_receive(world.server, buffer_data(&in), buffer_len(&in));
        h2_server_pull(world.server, &out, 100000);
        buffer_fini(&in);
        buffer_fini(&out);
        world_fini(&world);
    }
}
END_TEST

START_TEST(client_against_garbage)
{
    struct world world;
    struct buffer out;
    world_init(&world, &h2_limits_default);
    buffer_init(&out);
    begin(&world, "/t/Echo", "x", 1);
    h2_client_receive(world.client, (const uint8_t *)"HTTP/1.1 400 Bad\r\n\r\n", 20);
    ck_assert_int_eq(h2_client_pull(world.client, &out, 100000), 0);
    ck_assert(h2_client_is_over(world.client));
    buffer_fini(&out);
    world_fini(&world);
    ck_assert_uint_eq(world.finished, 1);
    ck_assert_int_eq(world.code, GRPC_UNAVAILABLE);
}
END_TEST

/* nghttp2 drops them without a word, so that a flood of them cost nothing but the server's time. */
START_TEST(frames_for_closed_streams_are_counted)
{
    struct world world;
    struct buffer in, out;
    world_init(&world, &h2_limits_default);
    buffer_init(&in);
    buffer_init(&out);
    put_start(&in);
    put_headers(&in, 1, good, END_HEADERS);
    put_frame(&in, 3, 0, 1, "\0\0\0\10", 4); /* RST_STREAM closes it */
    ck_assert_int_eq(h2_server_receive(world.server, buffer_data(&in), buffer_len(&in)), 0);
    uint64_t before = h2_server_control_frames(world.server);
    buffer_clear(&in);
    for (int i = 0; i < 1000; i++)
        put_frame(&in, 8, 0, 1, "\0\0\0\1", 4); /* WINDOW_UPDATE */
    ck_assert_int_eq(h2_server_receive(world.server, buffer_data(&in), buffer_len(&in)), 0);
    ck_assert_uint_eq(h2_server_control_frames(world.server), before + 1000);
    buffer_fini(&in);
    buffer_fini(&out);
    world_fini(&world);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("h2");
    tcase_set_timeout(tc, 30);
    tcase_add_loop_test(tc, echo_at_every_cut, 1, 140);
    tcase_add_test(tc, trailers_only);
    tcase_add_test(tc, stream_with_status);
    tcase_add_test(tc, timeout_is_carried);
    tcase_add_loop_test(tc, cancelled_by_the_client, 0, 2);
    tcase_add_test(tc, sends_again_when_writable);
    tcase_add_test(tc, queue_is_limited);
    tcase_add_test(tc, queues_are_limited_together);
    tcase_add_test(tc, headers_are_counted);
    tcase_add_loop_test(tc, queue_is_dropped, 0, 11);
    tcase_add_loop_test(tc, message_over_the_limit, 0, 2);
    tcase_add_test(tc, calls_over_the_limit_wait);
    tcase_add_test(tc, goaway);
    tcase_add_test(tc, ping);
    tcase_add_loop_test(tc, request_headers, 0, (int)ARRAY_LEN(requests));
    tcase_add_test(tc, too_many_header_bytes);
    tcase_add_test(tc, request_cut_inside_a_message);
    tcase_add_test(tc, incomplete_messages_are_limited_together);
    tcase_add_test(tc, rapid_reset);
    tcase_add_test(tc, pings_that_are_not_read);
    tcase_add_test(tc, control_frames_are_counted);
    tcase_add_test(tc, frames_for_closed_streams_are_counted);
    tcase_add_test(tc, garbage);
    tcase_add_test(tc, client_against_garbage);
    return unit_run(tc);
}
