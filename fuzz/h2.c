#include "base/buffer.h"
#include "fuzz/fuzz.h"
#include "proto/h2_client.h"
#include "proto/h2_server.h"

#include <stdlib.h>
#include <string.h>

/* A server that receives any bytes, a client that receives any bytes, and both together, their
 * bytes cut anywhere and perhaps broken off. Every call has its events in order and ends once.
 * Between the two, nothing is lost or changed before the break. */

enum { CALLS = 32, MESSAGE_MAX = 64, SMALL = 4096 };

static const struct h2_limits limits = {.streams = 8,
                                        .header_bytes = 2048,
                                        .message_bytes = SMALL,
                                        .partial_bytes = (size_t)2 * SMALL,
                                        .buffered_bytes = SMALL,
                                        .queued_bytes = (size_t)2 * SMALL};

/* ---- the server's side ---- */

struct serving {
    size_t open;
    bool echo; /* echoes each message, and answers the end with a status */
};

/* Of one call, from `started` to `closed`. */
struct served {
    struct serving *serving;
    size_t messages;
    bool has_ended;
};

static void started(void *ctx, struct h2_call *call)
{
    struct serving *serving = ctx;
    struct served *served = calloc(1, sizeof *served);
    require(served != NULL && h2_call_user(call) == NULL);
    require(h2_call_path(call) != NULL); /* any text after a foreign scheme */
    served->serving = serving;
    h2_call_set_user(call, served);
    require(++serving->open <= limits.streams);
    (void)h2_call_metadata(call, "te");
    (void)h2_call_timeout_ns(call);
}

static void got_message(void *ctx, struct h2_call *call, const uint8_t *bytes, size_t len)
{
    struct served *served = h2_call_user(call);
    require(served != NULL && served->serving == ctx && !served->has_ended);
    require(len <= limits.message_bytes);
    served->messages++;
    int rc = h2_call_send(call, bytes, len);
    require(rc == 0 || h2_call_pending(call) > 0);
    if (!served->serving->echo && len > 0 && bytes[0] == 'd')
        h2_call_drop_queue(call);
    if (!served->serving->echo && len > 0 && bytes[0] == 'x')
        h2_call_finish(call, GRPC_NOT_FOUND, "no\nsuch %thing");
}

static void half_closed(void *ctx, struct h2_call *call)
{
    struct served *served = h2_call_user(call);
    require(served != NULL && served->serving == ctx && !served->has_ended);
    served->has_ended = true;
    h2_call_finish(call, served->serving->echo ? GRPC_ALREADY_EXISTS : GRPC_OK, "as asked");
}

static void writable(void *ctx, struct h2_call *call)
{
    struct served *served = h2_call_user(call);
    require(served != NULL && served->serving == ctx && h2_call_pending(call) == 0);
}

static void closed(void *ctx, struct h2_call *call)
{
    struct serving *serving = ctx;
    struct served *served = h2_call_user(call);
    require(served != NULL && serving->open > 0);
    serving->open--;
    h2_call_set_user(call, NULL);
    free(served);
}

static const struct h2_server_events server_events = {started, got_message, half_closed, writable,
                                                      closed};

static size_t chunk_of(uint8_t cut, size_t left)
{
    static const size_t sizes[] = {SIZE_MAX, 1, 3, 17, 100};
    size_t size = sizes[(cut >> 4) % 5];
    return size < left ? size : left;
}

/* Memory of exact length, so that a sanitizer sees a read past the end. */
static uint8_t *copy_of(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    require(copy != NULL);
    memcpy(copy, bytes, len);
    return copy;
}

static void fuzz_server(struct input *input, uint8_t cut)
{
    struct serving serving = {.open = 0};
    struct buffer out;
    struct h2_server *server = h2_server_create(&server_events, &serving, &limits);
    require(server != NULL);
    buffer_init(&out);
    int rc = 0;
    while (rc == 0 && input_has(input)) {
        size_t len = chunk_of(cut, input->left);
        uint8_t *bytes = copy_of(input->at, len);
        input->at += len;
        input->left -= len;
        rc = h2_server_receive(server, bytes, len);
        free(bytes);
        require(h2_server_calls(server) >= serving.open); /* more: with headers on the way */
        require(h2_server_held(server) <= limits.partial_bytes + SMALL + limits.queued_bytes);
        require(h2_server_calls(server) > 0 || h2_server_held(server) == 0);
        require(h2_server_pull(server, &out, SMALL) == 0);
        buffer_clear(&out);
    }
    h2_server_shut_down(server);
    require(h2_server_pull(server, &out, SMALL) == 0);
    h2_server_destroy(server);
    require(serving.open == 0);
    buffer_fini(&out);
}

/* ---- the client's side ---- */

struct asked {
    size_t len;
    uint8_t bytes[MESSAGE_MAX];
    unsigned messages;
    unsigned finished;
    enum grpc_code code;
    bool same; /* the answer echoed the question */
};

static void got_answer(void *ctx, struct h2_request *request, const uint8_t *bytes, size_t len)
{
    struct asked *asked = ctx;
    require(request != NULL && asked->finished == 0 && len <= SMALL);
    asked->messages++;
    asked->same = len == asked->len && memcmp(bytes, asked->bytes, len) == 0;
}

static void finished(void *ctx, struct h2_request *request, enum grpc_code code, const char *text)
{
    struct asked *asked = ctx;
    require(request != NULL && text != NULL && strlen(text) < GRPC_STATUS_TEXT_MAX);
    require(asked->finished++ == 0 && (unsigned)code <= GRPC_UNAUTHENTICATED);
    asked->code = code;
}

static const struct h2_request_events request_events = {got_answer, finished};

static struct h2_request *ask(struct h2_client *client, struct asked *asked)
{
    return h2_client_start(client, "/a.B/C", asked->bytes, asked->len, UINT64_MAX, &request_events,
                           asked);
}

static void fuzz_client(struct input *input, uint8_t cut)
{
    struct asked asked[4] = {{.len = 3, .bytes = "abc"}, {.len = 0}, {.len = 1}, {.len = 2}};
    bool is_asked[4] = {false};
    struct buffer out;
    struct h2_client *client = h2_client_create("h", false, SMALL);
    require(client != NULL);
    buffer_init(&out);
    for (size_t i = 0; i < 4; i++)
        is_asked[i] = ask(client, &asked[i]) != NULL;
    int rc = 0;
    while (rc == 0 && input_has(input)) {
        size_t len = chunk_of(cut, input->left);
        uint8_t *bytes = copy_of(input->at, len);
        input->at += len;
        input->left -= len;
        rc = h2_client_receive(client, bytes, len);
        free(bytes);
        require(h2_client_pull(client, &out, SMALL) == 0);
        buffer_clear(&out);
    }
    h2_client_destroy(client);
    for (size_t i = 0; i < 4; i++)
        require(asked[i].finished == (is_asked[i] ? 1 : 0));
    buffer_fini(&out);
}

/* ---- both ---- */

/* Moves some bytes. False at the break. */
static bool pass(struct buffer *from, struct input *input,
                 int (*receive)(void *, const uint8_t *, size_t), void *to, bool may_break)
{
    size_t len = 1 + (size_t)input_byte(input) * 4;
    if (may_break && input_byte(input) == 255)
        return false;
    if (len > buffer_len(from))
        len = buffer_len(from);
    if (len == 0)
        return true;
    uint8_t *bytes = copy_of(buffer_data(from), len);
    buffer_consume(from, len);
    require(receive(to, bytes, len) == 0);
    free(bytes);
    return true;
}

static int to_server(void *to, const uint8_t *bytes, size_t len)
{
    return h2_server_receive(to, bytes, len);
}

static int to_client(void *to, const uint8_t *bytes, size_t len)
{
    return h2_client_receive(to, bytes, len);
}

static void fuzz_both(struct input *input)
{
    static struct asked asked[CALLS];
    size_t count = 0;
    bool whole = true;
    struct serving serving = {.echo = true};
    struct buffer up;
    struct buffer down;
    struct h2_client *client = h2_client_create("h", true, SMALL);
    struct h2_server *server = h2_server_create(&server_events, &serving, &limits);
    require(client != NULL && server != NULL);
    memset(asked, 0, sizeof asked);
    buffer_init(&up);
    buffer_init(&down);
    while (whole && (input_has(input) || buffer_len(&up) > 0 || buffer_len(&down) > 0 ||
                     h2_client_wants_send(client) || h2_server_wants_send(server))) {
        if (count < CALLS && count < limits.streams && (input_byte(input) & 3) == 1) {
            struct asked *next = &asked[count];
            next->len = input_byte(input) % MESSAGE_MAX;
            input_fill(input, next->bytes, next->len);
            count += ask(client, next) != NULL;
        }
        require(h2_client_pull(client, &up, 512) == 0 && h2_server_pull(server, &down, 512) == 0);
        whole = pass(&up, input, to_server, server, true) &&
                pass(&down, input, to_client, client, true);
    }
    for (size_t i = 0; i < count && whole; i++) {
        require(asked[i].finished == 1 && asked[i].code == GRPC_ALREADY_EXISTS);
        require(asked[i].messages == 1 && asked[i].same);
    }
    h2_client_destroy(client);
    h2_server_destroy(server);
    for (size_t i = 0; i < count; i++)
        require(asked[i].finished == 1);
    require(serving.open == 0);
    buffer_fini(&up);
    buffer_fini(&down);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    uint8_t what = input_byte(&input);
    switch (what % 4) {
    case 0:
        fuzz_server(&input, what);
        break;
    case 1:
        fuzz_client(&input, what);
        break;
    default:
        fuzz_both(&input);
        break;
    }
    return 0;
}
