/*
 * Calls made before the connection is open wait in `calls` with their packed request. Once it is
 * open, they are requests of the HTTP/2 session, whose events end them. What a call makes the
 * session send leaves on the loop's next round, so that no callback runs inside a function of
 * client.h.
 */
#include "control/rpc/client.h"

#include "base/clock.h"
#include "base/list.h"
#include "control/rpc/transport_dial.h"
#include "proto/h2_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PULL_CHUNK = 32 * 1024,
    AUTHORITY_MAX = 280,
};

struct rpc_client {
    uv_loop_t *loop;
    struct rpc_client_options options;
    struct address *addresses; /* the options' */
    size_t current;            /* the address being dialed, or open */
    const struct rpc_client_events *events;
    void *ctx;
    struct transport_conn *transport; /* NULL before dialing and after its end */
    struct h2_client *session;        /* NULL before open */
    const char *metadata_name;        /* NULL: none */
    char metadata_value[64];
    struct list calls;
    uv_timer_t flusher;
    uv_timer_t pinger;
    uint64_t pings;
    unsigned holds; /* timers and transport that still point here */
    struct err err; /* the most informative one so far */
    bool busy;
    bool ending;
    bool closed; /* `closed` has run, or must not run */
    bool destroyed;
};

/* A call of either kind. */
struct rpc_stream {
    struct list node;
    struct rpc_client *client;
    struct h2_request *request; /* NULL while the call waits for the connection */
    char *path;
    uint8_t *packed;
    size_t packed_len;
    const ProtobufCMessageDescriptor *response_type;
    ProtobufCMessage *response; /* of a unary call */
    uint64_t timeout_ns;
    uv_timer_t deadline;
    bool has_deadline;
    bool silent; /* cancelled by its owner: no more events */
    void (*done)(void *ctx, enum grpc_code code, const char *text,
                 const ProtobufCMessage *response);
    const struct rpc_stream_events *events; /* NULL for a unary call */
    void *ctx;
};

static void client_call_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void call_free(struct rpc_stream *call)
{
    list_remove(&call->node);
    if (call->response != NULL)
        protobuf_c_message_free_unpacked(call->response, NULL);
    free(call->packed);
    free(call->path);
    if (call->has_deadline)
        uv_close((uv_handle_t *)&call->deadline, client_call_closed);
    else
        free(call);
}

static void call_finish(struct rpc_stream *call, enum grpc_code code, const char *text)
{
    if (code == GRPC_OK && call->events == NULL && call->response == NULL) {
        code = GRPC_INTERNAL;
        text = "the answer has no message";
    }
    list_remove(&call->node);
    if (call->has_deadline)
        uv_timer_stop(&call->deadline);
    if (!call->silent && call->events != NULL)
        call->events->finished(call->ctx, call, code, text);
    else if (!call->silent)
        call->done(call->ctx, code, text, code == GRPC_OK ? call->response : NULL);
    call_free(call);
}

static void client_call_finished(void *ctx, struct h2_request *request, enum grpc_code code,
                                 const char *text)
{
    struct rpc_stream *call = ctx;
    (void)request;
    /* The connection is gone, and its error says more than HTTP/2's. */
    if (call->client->session == NULL && call->client->err.text[0] != '\0')
        text = call->client->err.text;
    call_finish(call, code, text);
}

static void client_call_message(void *ctx, struct h2_request *request, const uint8_t *bytes,
                                size_t len)
{
    struct rpc_stream *call = ctx;
    ProtobufCMessage *message;
    if (call->silent)
        return;
    message = protobuf_c_message_unpack(call->response_type, NULL, len, bytes);
    if (message == NULL || (call->events == NULL && call->response != NULL)) {
        if (message != NULL)
            protobuf_c_message_free_unpacked(message, NULL);
        h2_request_cancel(request, GRPC_INTERNAL, "the answer is not a message of its type");
        return;
    }
    if (call->events == NULL) {
        call->response = message;
        return;
    }
    call->events->message(call->ctx, call, message);
    protobuf_c_message_free_unpacked(message, NULL);
}

static const struct h2_request_events request_events = {
    .message = client_call_message,
    .finished = client_call_finished,
};

static void connection_lost(struct rpc_client *client, int code, const char *text)
{
    struct err err;
    char at[ADDRESS_TEXT];
    if (client->ending)
        return;
    client->ending = true;
    err_set(&err, code, "%s: %s", address_format(&client->addresses[client->current], at), text);
    transport_abort(client->transport, &err);
}

static void flush(struct rpc_client *client)
{
    struct buffer out;
    int rv = 0;
    if (client->busy || client->ending || client->session == NULL)
        return;
    client->busy = true;
    buffer_init(&out);
    while (rv == 0 && transport_queued(client->transport) < TRANSPORT_LOW_WATER &&
           h2_client_wants_send(client->session)) {
        rv = h2_client_pull(client->session, &out, PULL_CHUNK);
        size_t len = buffer_len(&out);
        if (rv < 0 || len == 0)
            break;
        rv = transport_send(client->transport, buffer_data(&out), len);
        buffer_clear(&out);
    }
    buffer_fini(&out);
    client->busy = false;
    if (rv < 0) {
        connection_lost(client, rv, uv_strerror(rv));
    } else if (!client->ending && h2_client_is_over(client->session)) {
        client->ending = true;
        transport_close(client->transport);
    }
}

static void client_flush_due(uv_timer_t *timer)
{
    flush(timer->data);
}

static void flush_later(struct rpc_client *client)
{
    if (!client->busy && !client->destroyed)
        uv_timer_start(&client->flusher, client_flush_due, 0, 0);
}

static void client_ping_due(uv_timer_t *timer)
{
    struct rpc_client *client = timer->data;
    if (client->ending)
        return;
    if (h2_client_pongs(client->session) < client->pings) {
        connection_lost(client, -ETIMEDOUT, "the server does not answer any more");
        return;
    }
    if (h2_client_ping(client->session) == 0)
        client->pings++;
    flush(client);
}

void rpc_client_probe(struct rpc_client *client, uint32_t within_ms)
{
    if (client->ending || client->session == NULL || h2_client_ping(client->session) < 0)
        return;
    client->pings++;
    uv_timer_start(&client->pinger, client_ping_due, within_ms, client->options.ping_ms);
    flush_later(client);
}

/* Hands a waiting call to the session. 0 or -EPIPE. */
static int call_start(struct rpc_stream *call)
{
    struct rpc_client *client = call->client;
    h2_client_set_metadata(client->session, client->metadata_name, client->metadata_value);
    call->request = h2_client_start(client->session, call->path, call->packed, call->packed_len,
                                    call->timeout_ns, &request_events, call);
    if (call->request == NULL)
        return -EPIPE;
    free(call->packed);
    call->packed = NULL;
    return 0;
}

static void client_call_late(uv_timer_t *timer)
{
    static const char text[] = "no answer in time";
    struct rpc_stream *call = timer->data;
    struct rpc_client *client = call->client;
    if (call->request == NULL) {
        call_finish(call, GRPC_DEADLINE_EXCEEDED, text);
        return;
    }
    h2_request_cancel(call->request, GRPC_DEADLINE_EXCEEDED, text);
    flush_later(client);
}

static void authority_of(const struct address *address, char out[AUTHORITY_MAX])
{
    char text[ADDRESS_TEXT];
    if (address->kind == ADDRESS_UNIX)
        snprintf(out, AUTHORITY_MAX, "localhost");
    else
        snprintf(out, AUTHORITY_MAX, "%s", address_format(address, text) + strlen("tcp://"));
}

static void client_opened(void *ctx, struct transport_conn *transport)
{
    struct rpc_client *client = ctx;
    const struct address *address = &client->addresses[client->current];
    char authority[AUTHORITY_MAX];
    (void)transport;
    authority_of(address, authority);
    bool tls = address->kind == ADDRESS_TCP &&
               transport_tls_security(client->options.tls) != TRANSPORT_PLAINTEXT;
    client->session = h2_client_create(authority, tls, GRPC_MESSAGE_MAX);
    if (client->session == NULL) {
        connection_lost(client, -ENOMEM, "out of memory");
        return;
    }
    /* a call that does not start is ended with the connection */
    list_for_each_safe (node, &client->calls)
        call_start(container_of(node, struct rpc_stream, node));
    if (client->options.ping_ms > 0)
        uv_timer_start(&client->pinger, client_ping_due, client->options.ping_ms,
                       client->options.ping_ms);
    flush_later(client);
    if (client->events->opened != NULL)
        client->events->opened(client->ctx, client);
}

static void client_received(void *ctx, struct transport_conn *transport, const uint8_t *bytes,
                            size_t len)
{
    struct rpc_client *client = ctx;
    (void)transport;
    if (client->ending)
        return;
    client->busy = true;
    int rv = h2_client_receive(client->session, bytes, len);
    client->busy = false;
    if (client->destroyed)
        return;
    flush(client);
    if (rv < 0)
        connection_lost(client, rv, "the server does not speak HTTP/2");
}

static void client_drained(void *ctx, struct transport_conn *transport)
{
    (void)transport;
    flush(ctx);
}

static void client_release(struct rpc_client *client)
{
    if (--client->holds > 0)
        return;
    transport_tls_destroy(client->options.tls);
    free(client->addresses);
    free(client);
}

static void client_timer_closed(uv_handle_t *handle)
{
    client_release(handle->data);
}

/* Keeps the failure that says more to a person: one from an authenticated exchange. */
static void remember_error(struct rpc_client *client, const struct err *err)
{
    if (client->err.code > TRANSPORT_EUNKNOWN || err->code <= TRANSPORT_EUNKNOWN)
        client->err = *err;
}

static int dial_next(struct rpc_client *client);

static void end_calls(struct rpc_client *client)
{
    struct h2_client *session = client->session;
    client->session = NULL;
    h2_client_destroy(session);
    /* call_finish takes the call off the list, which the analyser does not see */
    while (!list_empty(&client->calls))
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        call_finish(list_first(&client->calls, struct rpc_stream, node), GRPC_UNAVAILABLE,
                    client->err.text);
}

static void client_closed(struct rpc_client *client)
{
    client->ending = true;
    uv_timer_stop(&client->pinger);
    uv_timer_stop(&client->flusher);
    end_calls(client);
    if (client->closed)
        return;
    client->closed = true;
    client->events->closed(client->ctx, client, &client->err);
}

static void client_transport_closed(void *ctx, struct transport_conn *transport,
                                    const struct err *err)
{
    struct rpc_client *client = ctx;
    struct err lost;
    char at[ADDRESS_TEXT];
    (void)transport;
    if (err->code == 0)
        err_set(&lost, -ECONNRESET, "%s: the server closed the connection",
                address_format(&client->addresses[client->current], at));
    else
        lost = *err;
    remember_error(client, &lost);
    client->transport = NULL;
    bool was_open = client->session != NULL;
    client->current++;
    if (was_open || client->destroyed || dial_next(client) < 0)
        client_closed(client);
    client_release(client);
}

static const struct transport_events client_transport_events = {
    .opened = client_opened,
    .received = client_received,
    .drained = client_drained,
    .closed = client_transport_closed,
};

/* Dials the current address or, when that fails at once, one behind it. */
static int dial_next(struct rpc_client *client)
{
    struct transport_limits limits = transport_limits_default;
    struct transport_options options = {
        .tls = client->options.tls, .fwmark = client->options.fwmark, .limits = &limits};
    int rv = -EADDRNOTAVAIL;
    client->ending = false;
    if (client->options.connect_ms > 0)
        limits.handshake_ms = client->options.connect_ms;
    for (; client->current < client->options.count; client->current++) {
        struct err err;
        options.address = &client->addresses[client->current];
        rv = transport_dial(&client->transport, client->loop, &options, &client_transport_events,
                            client, &err);
        if (rv == 0) {
            client->holds++;
            return 0;
        }
        remember_error(client, &err);
    }
    client->current = client->options.count - 1;
    return rv;
}

int rpc_client_create(struct rpc_client **out, uv_loop_t *loop,
                      const struct rpc_client_options *options,
                      const struct rpc_client_events *events, void *ctx, struct err *err)
{
    size_t bytes = options->count * sizeof *options->addresses;
    if (options->count == 0)
        return err_set(err, -EINVAL, "no address to connect to");
    struct rpc_client *client = calloc(1, sizeof *client);
    if (client == NULL || (client->addresses = malloc(bytes)) == NULL) {
        free(client);
        return err_set(err, -ENOMEM, "out of memory");
    }
    memcpy(client->addresses, options->addresses, bytes);
    client->loop = loop;
    client->options = *options;
    client->options.tls = transport_tls_ref(options->tls);
    client->options.addresses = client->addresses;
    client->events = events;
    client->ctx = ctx;
    list_init(&client->calls);
    uv_timer_init(loop, &client->flusher);
    uv_timer_init(loop, &client->pinger);
    client->flusher.data = client;
    client->pinger.data = client;
    client->holds = 2;
    int rv = dial_next(client);
    if (rv < 0) {
        if (err != NULL)
            *err = client->err;
        rpc_client_destroy(client);
        return rv;
    }
    *out = client;
    return 0;
}

void rpc_client_destroy(struct rpc_client *client)
{
    if (client == NULL)
        return;
    client->destroyed = true;
    client->closed = true;
    client->ending = true;
    list_for_each_safe (node, &client->calls) {
        struct rpc_stream *call = container_of(node, struct rpc_stream, node);
        if (call->request != NULL)
            call->silent = true; /* ends with the session */
        else
            call_free(call);
    }
    uv_close((uv_handle_t *)&client->flusher, client_timer_closed);
    uv_close((uv_handle_t *)&client->pinger, client_timer_closed);
    if (client->transport != NULL)
        transport_close(client->transport);
}

const struct address *rpc_client_address(const struct rpc_client *client)
{
    return &client->addresses[client->current < client->options.count ? client->current : 0];
}

void rpc_client_set_metadata(struct rpc_client *client, const char *name, const char *value)
{
    client->metadata_name = value != NULL ? name : NULL;
    snprintf(client->metadata_value, sizeof client->metadata_value, "%s",
             value != NULL ? value : "");
}

static struct rpc_stream *call_create(struct rpc_client *client, const char *path,
                                      const ProtobufCMessage *request,
                                      const ProtobufCMessageDescriptor *response)
{
    struct rpc_stream *call = calloc(1, sizeof *call);
    if (call == NULL)
        return NULL;
    list_init(&call->node);
    call->client = client;
    call->response_type = response;
    call->timeout_ns = UINT64_MAX;
    call->packed_len = protobuf_c_message_get_packed_size(request);
    call->packed = malloc(call->packed_len + 1);
    call->path = strdup(path);
    if (call->packed == NULL || call->path == NULL) {
        call_free(call);
        return NULL;
    }
    protobuf_c_message_pack(request, call->packed);
    return call;
}

/* Takes ownership of `call`. */
static int call_submit(struct rpc_stream *call)
{
    struct rpc_client *client = call->client;
    list_append(&client->calls, &call->node);
    if (client->session == NULL)
        return 0;
    int rv = call_start(call);
    if (rv < 0)
        call_free(call);
    else
        flush_later(client);
    return rv;
}

int rpc_client_call(struct rpc_client *client, const char *path, const ProtobufCMessage *request,
                    const ProtobufCMessageDescriptor *response, uint32_t timeout_ms,
                    void (*done)(void *ctx, enum grpc_code code, const char *text,
                                 const ProtobufCMessage *response),
                    void *ctx)
{
    if (client->closed || client->ending)
        return -EPIPE;
    struct rpc_stream *call = call_create(client, path, request, response);
    if (call == NULL)
        return -ENOMEM;
    call->done = done;
    call->ctx = ctx;
    if (timeout_ms > 0) {
        call->timeout_ns = timeout_ms * NS_PER_MS;
        uv_timer_init(client->loop, &call->deadline);
        call->deadline.data = call;
        call->has_deadline = true;
        uv_timer_start(&call->deadline, client_call_late, timeout_ms, 0);
    }
    return call_submit(call);
}

int rpc_client_stream(struct rpc_stream **out, struct rpc_client *client, const char *path,
                      const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response,
                      const struct rpc_stream_events *events, void *ctx)
{
    if (client->closed || client->ending)
        return -EPIPE;
    struct rpc_stream *call = call_create(client, path, request, response);
    if (call == NULL)
        return -ENOMEM;
    call->events = events;
    call->ctx = ctx;
    int rv = call_submit(call);
    if (rv == 0)
        *out = call;
    return rv;
}

void rpc_stream_cancel(struct rpc_stream *stream)
{
    if (stream == NULL || stream->silent)
        return;
    struct rpc_client *client = stream->client;
    if (stream->request == NULL) {
        call_free(stream);
        return;
    }
    stream->silent = true;
    h2_request_cancel(stream->request, GRPC_CANCELLED, "");
    flush_later(client);
}
