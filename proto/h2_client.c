#include "proto/h2_client.h"

#include "base/list.h"
#include "proto/h2_common.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    AUTHORITY_MAX = 280,
    HEADER_BYTES_MAX = 64 * 1024,
};

struct h2_client {
    nghttp2_session *session;
    char authority[AUTHORITY_MAX];
    bool tls;
    bool draining;
    size_t message_limit;
    uint64_t pongs;
    struct list requests;
    const char *metadata_name; /* NULL: none */
    const char *metadata_value;
};

struct h2_request {
    struct list node;
    struct h2_client *client;
    int32_t stream;
    const struct h2_request_events *events;
    void *ctx;
    struct buffer out;
    struct grpc_deframer deframer;
    int http_status;
    bool grpc_type; /* the content-type is gRPC's */
    int code;       /* grpc-status, or -1 */
    char text[GRPC_STATUS_TEXT_MAX];
    size_t header_bytes;
    bool finished; /* `finished` has run; the struct lives until its stream closes */
};

static struct h2_request *request_of(nghttp2_session *session, int32_t stream)
{
    return nghttp2_session_get_stream_user_data(session, stream);
}

static void request_finish(struct h2_request *request, enum grpc_code code, const char *text)
{
    if (request->finished)
        return;
    request->finished = true;
    request->events->finished(request->ctx, request, code, text);
}

static void request_free(struct h2_request *request)
{
    list_remove(&request->node);
    grpc_deframer_fini(&request->deframer);
    buffer_fini(&request->out);
    free(request);
}

static int parse_code(const char *text, size_t len)
{
    if (len == 0 || len > 2)
        return GRPC_UNKNOWN;
    int code = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return GRPC_UNKNOWN;
        code = code * 10 + (text[i] - '0');
    }
    return code > GRPC_UNAUTHENTICATED ? GRPC_UNKNOWN : code;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    struct h2_request *request = request_of(session, frame->hd.stream_id);
    const char *key = (const char *)name;
    (void)flags;
    (void)user;
    if (request == NULL || request->finished || frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    request->header_bytes += name_len + value_len;
    if (request->header_bytes > HEADER_BYTES_MAX)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (strcmp(key, ":status") == 0)
        request->http_status = (int)strtol((const char *)value, NULL, 10);
    else if (strcmp(key, "content-type") == 0)
        request->grpc_type = strncmp((const char *)value, "application/grpc", 16) == 0;
    else if (strcmp(key, "grpc-status") == 0)
        request->code = parse_code((const char *)value, value_len);
    else if (strcmp(key, "grpc-message") == 0)
        grpc_percent_decode(request->text, sizeof request->text, (const char *)value, value_len);
    return 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_client *client = user;
    (void)session;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        client->draining = true;
    else if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK))
        client->pongs++;
    return 0;
}

static bool deliver(void *ctx, const uint8_t *bytes, size_t len)
{
    struct h2_request *request = ctx;
    request->events->message(request->ctx, request, bytes, len);
    return !request->finished;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes,
                   size_t len, void *user)
{
    struct h2_request *request = request_of(session, stream);
    (void)flags;
    (void)user;
    if (request == NULL || request->finished || request->http_status != 200 || !request->grpc_type)
        return 0;
    enum grpc_code code = grpc_deframer_feed(&request->deframer, bytes, len, deliver, request);
    if (code != GRPC_OK)
        h2_request_cancel(request, code == GRPC_UNIMPLEMENTED ? GRPC_INTERNAL : code,
                          "the response message is malformed or too large");
    return 0;
}

/* The status of a stream that ended without grpc-status (PROTOCOL-HTTP2, "Errors"). */
static enum grpc_code code_from_stream(const struct h2_request *request, uint32_t error)
{
    if (error == NGHTTP2_NO_ERROR && request->http_status != 0 && request->http_status != 200)
        return grpc_code_from_http(request->http_status);
    switch (error) {
    case NGHTTP2_REFUSED_STREAM:
        return GRPC_UNAVAILABLE;
    case NGHTTP2_CANCEL:
        return GRPC_CANCELLED;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        return GRPC_RESOURCE_EXHAUSTED;
    case NGHTTP2_INADEQUATE_SECURITY:
        return GRPC_PERMISSION_DENIED;
    default:
        return GRPC_INTERNAL;
    }
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t error, void *user)
{
    struct h2_client *client = user;
    struct h2_request *request = request_of(session, stream);
    if (request == NULL)
        return 0;
    nghttp2_session_set_stream_user_data(session, stream, NULL);
    if (request->code == GRPC_OK && grpc_deframer_is_partial(&request->deframer))
        request_finish(request, GRPC_INTERNAL, "the response ends inside a message");
    else if (request->code >= 0)
        request_finish(request, (enum grpc_code)request->code, request->text);
    else if (client->draining && request->http_status == 0)
        request_finish(request, GRPC_UNAVAILABLE, "the server is shutting down");
    else
        request_finish(request, code_from_stream(request, error),
                       "the server ended the call without a status");
    request_free(request);
    return 0;
}

static int open_session(struct h2_client *client)
{
    nghttp2_session_callbacks *callbacks = NULL;
    int rv = -ENOMEM;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return -ENOMEM;
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW},
    };
    if (nghttp2_session_client_new(&client->session, callbacks, client) == 0 &&
        nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, settings, 2) == 0 &&
        nghttp2_session_set_local_window_size(client->session, NGHTTP2_FLAG_NONE, 0,
                                              H2_CONNECTION_WINDOW) == 0)
        rv = 0;
    nghttp2_session_callbacks_del(callbacks);
    return rv;
}

struct h2_client *h2_client_create(const char *authority, bool tls, size_t message_limit)
{
    struct h2_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return NULL;
    snprintf(client->authority, sizeof client->authority, "%s", authority);
    client->tls = tls;
    client->message_limit = message_limit;
    list_init(&client->requests);
    if (open_session(client) < 0) {
        h2_client_destroy(client);
        return NULL;
    }
    return client;
}

void h2_client_destroy(struct h2_client *client)
{
    if (client == NULL)
        return;
    client->draining = true;
    /* request_free removes it from the list, which the analyzer does not see */
    while (!list_empty(&client->requests)) {
        struct h2_request *request = list_first(&client->requests, struct h2_request, node);
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        request_finish(request, GRPC_UNAVAILABLE, "the connection was closed");
        request_free(request);
    }
    nghttp2_session_del(client->session);
    free(client);
}

int h2_client_receive(struct h2_client *client, const uint8_t *bytes, size_t len)
{
    ssize_t used = nghttp2_session_mem_recv(client->session, bytes, len);
    if (used == NGHTTP2_ERR_NOMEM)
        return -ENOMEM;
    return used < 0 ? -EPROTO : 0;
}

int h2_client_pull(struct h2_client *client, struct buffer *out, size_t max)
{
    return h2_session_pull(client->session, out, max);
}

bool h2_client_wants_send(const struct h2_client *client)
{
    return nghttp2_session_want_write(client->session) != 0;
}

bool h2_client_is_draining(const struct h2_client *client)
{
    return client->draining || nghttp2_session_check_request_allowed(client->session) == 0;
}

bool h2_client_is_over(const struct h2_client *client)
{
    return !nghttp2_session_want_read(client->session) &&
           !nghttp2_session_want_write(client->session);
}

static ssize_t read_data(nghttp2_session *session, int32_t stream, uint8_t *out, size_t capacity,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct h2_request *request = source->ptr;
    (void)session;
    (void)stream;
    (void)user;
    size_t len = buffer_len(&request->out);
    if (len > capacity)
        len = capacity;
    memcpy(out, buffer_data(&request->out), len);
    buffer_consume(&request->out, len);
    if (buffer_len(&request->out) == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)len;
}

static int submit(struct h2_request *request, const char *path, uint64_t timeout_ns)
{
    struct h2_client *client = request->client;
    char timeout[GRPC_TIMEOUT_TEXT];
    nghttp2_nv headers[9] = {
        h2_nv(":method", "POST"),
        h2_nv(":scheme", client->tls ? "https" : "http"),
        h2_nv(":path", path),
        h2_nv(":authority", client->authority),
        h2_nv("te", "trailers"),
        h2_nv("content-type", "application/grpc"),
        h2_nv("user-agent", "heimdall/" HEIMDALL_VERSION),
    };
    size_t count = 7;
    if (timeout_ns != UINT64_MAX)
        headers[count++] = h2_nv("grpc-timeout", grpc_timeout_format(timeout, timeout_ns));
    if (client->metadata_name != NULL)
        headers[count++] = h2_nv(client->metadata_name, client->metadata_value);
    const nghttp2_data_provider provider = {.source.ptr = request, .read_callback = read_data};
    request->stream =
        nghttp2_submit_request(client->session, NULL, headers, count, &provider, request);
    return request->stream < 0 ? -ENOMEM : 0;
}

void h2_client_set_metadata(struct h2_client *client, const char *name, const char *value)
{
    client->metadata_name = name;
    client->metadata_value = value;
}

struct h2_request *h2_client_start(struct h2_client *client, const char *path, const void *message,
                                   size_t len, uint64_t timeout_ns,
                                   const struct h2_request_events *events, void *ctx)
{
    if (h2_client_is_draining(client) || len > UINT32_MAX)
        return NULL;
    struct h2_request *request = calloc(1, sizeof *request);
    if (request == NULL)
        return NULL;
    request->client = client;
    request->events = events;
    request->ctx = ctx;
    request->code = -1;
    buffer_init(&request->out);
    grpc_deframer_init(&request->deframer, client->message_limit);
    list_append(&client->requests, &request->node);
    grpc_frame_append(&request->out, message, len);
    if (buffer_failed(&request->out) || submit(request, path, timeout_ns) < 0) {
        request_free(request);
        return NULL;
    }
    return request;
}

void h2_request_cancel(struct h2_request *request, enum grpc_code code, const char *text)
{
    nghttp2_submit_rst_stream(request->client->session, NGHTTP2_FLAG_NONE, request->stream,
                              NGHTTP2_CANCEL);
    request_finish(request, code, text);
}

int h2_client_ping(struct h2_client *client)
{
    return nghttp2_submit_ping(client->session, NGHTTP2_FLAG_NONE, NULL) == 0 ? 0 : -ENOMEM;
}

uint64_t h2_client_pongs(const struct h2_client *client)
{
    return client->pongs;
}
