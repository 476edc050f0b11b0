/* A call ends once, in call_end(): answered by its handler, refused, past its deadline, or because
 * its stream has gone. In all but the first case the handler's `cancelled` runs before. */
#include "control/rpc/call.h"

#include "base/clock.h"
#include "base/log.h"
#include "control/rpc/connection.h"
#include "proto/strings.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct rpc_call {
    struct list node;       /* among its connection's */
    struct h2_call *stream; /* NULL once the stream has ended or has its status */
    struct rpc_connection *connection;
    const struct rpc_method *method;
    void *method_ctx;
    uv_timer_t *deadline; /* NULL: none */
    uint64_t started_ms;
    bool requested; /* the request, or a bidi stream's first message, has come */
    bool answered;  /* the handler has had its last word, or `cancelled` has run */
    bool waiting;   /* the handler was told that the call is not writable */
    void (*cancelled)(void *ctx, struct rpc_call *call);
    void *cancelled_ctx;
    const char *explanation; /* for a caller whose deadline has passed */
    void (*writable)(void *ctx, struct rpc_call *call);
    void *writable_ctx;
};

static void call_deadline_closed(uv_handle_t *handle)
{
    free(handle);
}

static void call_free(struct rpc_call *call)
{
    list_remove(&call->node);
    call->connection->account->call_count--;
    if (list_empty(&call->connection->calls))
        rpc_connection_note_waiting(call->connection);
    if (call->deadline != NULL)
        uv_close((uv_handle_t *)call->deadline, call_deadline_closed);
    free(call);
}

/* Ends the handler's part without its answer. */
static void call_cancel(struct rpc_call *call)
{
    if (call->answered)
        return;
    call->answered = true;
    if (call->cancelled != NULL)
        call->cancelled(call->cancelled_ctx, call);
}

/* Ends the call and its stream; `call` is gone when it returns. */
static void call_end(struct rpc_call *call, enum grpc_code code, const char *text)
{
    struct rpc_connection *connection = call->connection;
    struct h2_call *stream = call->stream;
    call->answered = true;
    call->stream = NULL;
    rpc_methods_count(connection->among->methods, call->method, code);
    if (stream != NULL) {
        h2_call_set_user(stream, NULL);
        h2_call_finish(stream, code, text);
        connection->answers++;
    }
    call_free(call);
    if (stream != NULL)
        rpc_connection_flush_later(connection);
}

static void call_deadline_passed(uv_timer_t *timer)
{
    struct rpc_call *call = timer->data;
    call_cancel(call);
    rpc_call_fail(call, GRPC_DEADLINE_EXCEEDED, "the deadline has passed%s%s",
                  call->explanation != NULL ? ": " : "",
                  call->explanation != NULL ? call->explanation : "");
}

/* False when memory is short. */
static bool start_deadline(struct rpc_call *call, uint64_t timeout_ns)
{
    if (timeout_ns == UINT64_MAX)
        return true;
    call->deadline = malloc(sizeof *call->deadline);
    if (call->deadline == NULL)
        return false;
    uv_timer_init(call->connection->among->loop, call->deadline);
    call->deadline->data = call;
    uv_timer_start(call->deadline, call_deadline_passed, timeout_ns / NS_PER_MS + 1, 0);
    return true;
}

static void log_refused(struct rpc_connection *connection, const struct rpc_method *method,
                        const char *reason)
{
    char message[128];
    snprintf(message, sizeof message, "call refused: %s", reason);
    rpc_connection_log(connection, message, "method", method->path);
}

/* Ends a stream for which no call is made. */
static void refuse(struct rpc_connection *connection, struct h2_call *stream,
                   const struct rpc_method *method, enum grpc_code code, const char *text)
{
    rpc_methods_count(connection->among->methods, method, code);
    h2_call_finish(stream, code, text);
}

static void call_started(void *ctx, struct h2_call *stream)
{
    struct rpc_connection *connection = ctx;
    void *method_ctx = NULL;
    const struct rpc_method *method =
        rpc_methods_find(connection->among->methods, h2_call_path(stream), &method_ctx);
    if (method == NULL) {
        connection->among->methods->unknown++;
        h2_call_finish(stream, GRPC_UNIMPLEMENTED, "no such method");
        return;
    }
    if ((method->roles & connection->caller->roles) == 0) {
        log_refused(connection, method, "wrong role");
        refuse(connection, stream, method, GRPC_PERMISSION_DENIED,
               "this role may not call this method");
        return;
    }
    if (connection->account->call_count >= connection->account->limits.calls) {
        refuse(connection, stream, method, GRPC_RESOURCE_EXHAUSTED,
               "this caller has too many calls at once");
        return;
    }
    struct rpc_call *call = calloc(1, sizeof *call);
    if (call == NULL) {
        h2_call_finish(stream, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    call->stream = stream;
    call->connection = connection;
    list_append(&connection->calls, &call->node);
    connection->account->call_count++;
    call->started_ms = uv_now(connection->among->loop);
    connection->used = true;
    rpc_connection_note_waiting(connection);
    call->method = method;
    call->method_ctx = method_ctx;
    h2_call_set_user(stream, call);
    if (!start_deadline(call, h2_call_timeout_ns(stream)))
        call_end(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
}

static void call_message(void *ctx, struct h2_call *stream, const uint8_t *bytes, size_t len)
{
    struct rpc_call *call = h2_call_user(stream);
    (void)ctx;
    if (call == NULL || call->answered)
        return;
    const struct rpc_method *method = call->method;
    if (call->requested && method->kind != RPC_BIDI_STREAM) {
        call_cancel(call);
        call_end(call, GRPC_INVALID_ARGUMENT, "this method takes one request message");
        return;
    }
    call->requested = true;
    ProtobufCMessage *request = protobuf_c_message_unpack(method->request, NULL, len, bytes);
    if (request == NULL) {
        call_cancel(call);
        call_end(call, GRPC_INVALID_ARGUMENT, "the request is not a valid message of its type");
        return;
    }
    if (strings_are_whole(method->request, bytes, len)) {
        method->handle(call->method_ctx, call, request);
        /* a stream may stay for days, and `stream` outlives this event */
        if (method->kind == RPC_SERVER_STREAM && h2_call_user(stream) == call)
            h2_call_forget_headers(stream);
    } else {
        call_cancel(call);
        call_end(call, GRPC_INVALID_ARGUMENT, "a text in the request has a NUL in it");
    }
    protobuf_c_message_free_unpacked(request, NULL);
}

static void call_half_closed(void *ctx, struct h2_call *stream)
{
    struct rpc_call *call = h2_call_user(stream);
    (void)ctx;
    if (call == NULL || call->answered)
        return;
    if (call->method->kind == RPC_BIDI_STREAM) {
        call_cancel(call);
        call_end(call, GRPC_OK, NULL);
    } else if (!call->requested) {
        call_end(call, GRPC_INVALID_ARGUMENT, "the request message is missing");
    }
}

static void call_writable(void *ctx, struct h2_call *stream)
{
    struct rpc_call *call = h2_call_user(stream);
    (void)ctx;
    if (call == NULL || call->answered || !call->waiting)
        return;
    call->waiting = false;
    if (call->writable != NULL)
        call->writable(call->writable_ctx, call);
}

static void call_closed(void *ctx, struct h2_call *stream)
{
    struct rpc_call *call = h2_call_user(stream);
    (void)ctx;
    if (call == NULL)
        return;
    call->stream = NULL;
    call_cancel(call);
    call_end(call, GRPC_CANCELLED, NULL);
}

const struct h2_server_events rpc_call_events = {
    .started = call_started,
    .message = call_message,
    .half_closed = call_half_closed,
    .writable = call_writable,
    .closed = call_closed,
};

void rpc_calls_end(struct rpc_connection *connection, bool streams_only, enum grpc_code code,
                   const char *text)
{
    list_for_each_safe (node, &connection->calls) {
        struct rpc_call *call = container_of(node, struct rpc_call, node);
        if (streams_only && call->method->kind == RPC_UNARY)
            continue;
        call_cancel(call);
        call_end(call, code, text);
    }
}

bool rpc_calls_end_late(struct rpc_connection *connection, uint64_t before_ms)
{
    bool more = false;
    list_for_each_safe (node, &connection->calls) {
        struct rpc_call *call = container_of(node, struct rpc_call, node);
        if (call->requested)
            continue;
        more = more || call->started_ms >= before_ms;
        if (call->started_ms < before_ms) {
            call_cancel(call);
            call_end(call, GRPC_DEADLINE_EXCEEDED, "the request did not come in time");
        }
    }
    return more;
}

/* ---- for handlers ---- */

const struct transport_caller *rpc_call_caller(const struct rpc_call *call)
{
    return call->connection->caller;
}

uv_loop_t *rpc_call_loop(const struct rpc_call *call)
{
    return call->connection->among->loop;
}

const char *rpc_call_account(const struct rpc_call *call)
{
    return call->connection->account->name;
}

bool rpc_call_is_peers(const struct rpc_call *call)
{
    return call->connection->account->is_peer;
}

const char *rpc_call_metadata(const struct rpc_call *call, const char *name)
{
    return call->stream == NULL ? NULL : h2_call_metadata(call->stream, name);
}

void rpc_call_on_cancel(struct rpc_call *call, void (*cancelled)(void *ctx, struct rpc_call *call),
                        void *ctx)
{
    call->cancelled = cancelled;
    call->cancelled_ctx = ctx;
}

void rpc_call_explain(struct rpc_call *call, const char *text)
{
    call->explanation = text;
}

/* Queues a message without sending it yet. */
static int queue_message(struct rpc_call *call, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    if (len > GRPC_MESSAGE_MAX)
        return -EMSGSIZE;
    uint8_t *packed = malloc(len > 0 ? len : 1);
    if (packed == NULL)
        return -ENOMEM;
    protobuf_c_message_pack(message, packed);
    int rv = h2_call_send(call->stream, packed, len);
    free(packed);
    if (rv == 0)
        call->connection->answers++;
    return rv;
}

void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *response)
{
    int rv = queue_message(call, response);
    if (rv == 0)
        call_end(call, GRPC_OK, NULL);
    else if (rv == -ENOBUFS)
        call_end(call, GRPC_RESOURCE_EXHAUSTED, "the answers to other calls are not read");
    else if (rv == -EMSGSIZE)
        call_end(call, GRPC_RESOURCE_EXHAUSTED, "the response is larger than 4 MiB");
    else
        call_end(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
}

void rpc_call_finish(struct rpc_call *call, enum grpc_code code, const char *text)
{
    call_end(call, code, text);
}

void rpc_call_fail(struct rpc_call *call, enum grpc_code code, const char *format, ...)
{
    char text[GRPC_STATUS_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    call_end(call, code, text);
}

bool rpc_call_may_log(struct rpc_call *call, unsigned *left_out)
{
    struct rpc_account *account = call->connection->account;
    *left_out = 0;
    return !account->is_peer || rpc_account_may_log(account, clock_boottime_ns(), left_out);
}

void rpc_call_deny(struct rpc_call *call, const char *reason, const char *text)
{
    log_refused(call->connection, call->method, reason);
    call_end(call, GRPC_PERMISSION_DENIED, text);
}

int rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message)
{
    struct rpc_connection *connection = call->connection;
    int rv = queue_message(call, message);
    if (rv == 0)
        rpc_connection_flush_later(connection);
    return rv;
}

size_t rpc_call_pending(const struct rpc_call *call)
{
    return h2_call_pending(call->stream);
}

void rpc_call_cut_off(struct rpc_call *call, enum grpc_code code, const char *text)
{
    h2_call_drop_queue(call->stream);
    call_end(call, code, text);
}

bool rpc_call_is_writable(struct rpc_call *call)
{
    call->waiting = h2_call_pending(call->stream) > 0;
    return !call->waiting;
}

void rpc_call_on_writable(struct rpc_call *call, void (*writable)(void *ctx, struct rpc_call *call),
                          void *ctx)
{
    call->writable = writable;
    call->writable_ctx = ctx;
}
