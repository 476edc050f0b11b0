/* A call's life: on_begin_headers creates it, on_header collects, the end of the headers refuses or
 * starts it, DATA feeds the deframer, on_stream_close destroys it. A refused call never reaches the
 * events. Answers are queued in `out` and read by nghttp2 through read_data, which adds the
 * trailers when the queue is empty and the call is finished. h2_call_send and h2_call_finish wake
 * it. */
#include "proto/h2_server.h"

#include "base/bytes.h"
#include "base/list.h"
#include "proto/h2_common.h"

#include <assert.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

const struct h2_limits h2_limits_default = {
    .streams = 100,
    .header_bytes = 16 * 1024,
    .message_bytes = GRPC_MESSAGE_MAX,
    .partial_bytes = (size_t)4 * GRPC_MESSAGE_MAX,
    .buffered_bytes = (size_t)2 * GRPC_MESSAGE_MAX,
    .queued_bytes = (size_t)8 * GRPC_MESSAGE_MAX,
};

enum {
    HEADER_OVERHEAD = 32, /* RFC 9113 section 6.5.2 counts it for each field */
    ACKS_QUEUED_MAX = 100,
    SETTINGS_MAX = 32,
    CALL_COST = 1024, /* bytes of a call and its stream, about */
    FRAME_BUFFER_LEAST = 16384,
    RESET_BURST = 200,
    RESETS_PER_SECOND = 50,
};

struct h2_server {
    nghttp2_session *session;
    const struct h2_server_events *events;
    void *ctx;
    struct h2_limits limits;
    struct list calls;
    size_t count;
    size_t headers; /* bytes of the metadata of all calls */
    size_t partial; /* bytes of incomplete messages in all calls */
    size_t queued;  /* bytes in the queues of all calls */
    size_t notices; /* calls with `notify` set */
    uint64_t control_frames;
    bool shutting_down;
    bool creating; /* inside nghttp2's constructor */
    void *frame;   /* nghttp2's buffer of a frame to send, in pages of its own */
    size_t frame_len;
    bool frame_used; /* its pages may be resident */
};

struct h2_call {
    struct list node;
    struct h2_server *server;
    int32_t stream;
    void *user;
    char *path;
    struct buffer metadata; /* name NUL value NUL, repeated */
    size_t header_bytes;
    uint64_t timeout_ns;
    struct grpc_deframer deframer;
    struct buffer out;
    size_t out_begun; /* bytes at the front of `out` that belong to a message pulled in part */
    struct buffer status_text; /* percent-encoded, with a NUL */
    enum grpc_code code;
    int refuse_http;            /* status to refuse with; 200 for a gRPC status */
    enum grpc_code refuse_code; /* with refuse_http 200 */
    const char *refuse_text;
    bool started;    /* `started` has run */
    bool responding; /* response headers submitted */
    bool deferred;   /* read_data waits to be woken */
    bool finished;   /* no more answers from the caller */
    bool half_closed;
    bool notify; /* `writable` is due */
};

static void refuse(struct h2_call *call, int http, enum grpc_code code, const char *text)
{
    if (call->refuse_http != 0)
        return;
    call->refuse_http = http;
    call->refuse_code = code;
    call->refuse_text = text;
}

static struct h2_call *call_of(nghttp2_session *session, int32_t stream)
{
    return nghttp2_session_get_stream_user_data(session, stream);
}

static struct h2_call *call_create(struct h2_server *server, int32_t stream)
{
    struct h2_call *call = calloc(1, sizeof *call);
    if (call == NULL)
        return NULL;
    call->server = server;
    call->stream = stream;
    call->timeout_ns = UINT64_MAX;
    buffer_init(&call->metadata);
    buffer_init(&call->out);
    buffer_init(&call->status_text);
    grpc_deframer_init(&call->deframer, server->limits.message_bytes);
    list_append(&server->calls, &call->node);
    server->count++;
    return call;
}

static void call_destroy(struct h2_call *call)
{
    struct h2_server *server = call->server;
    if (call->started)
        server->events->closed(server->ctx, call);
    server->headers -= call->metadata.capacity;
    server->partial -= buffer_len(&call->deframer.partial);
    server->queued -= buffer_len(&call->out);
    server->notices -= call->notify;
    server->count--;
    list_remove(&call->node);
    grpc_deframer_fini(&call->deframer);
    buffer_fini(&call->status_text);
    buffer_fini(&call->out);
    buffer_fini(&call->metadata);
    free(call->path);
    free(call);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct h2_call *call = call_create(user, frame->hd.stream_id);
    if (call == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
    return 0;
}

/* A C string: nghttp2 rejects a NUL in a field. */
static bool has_prefix(const char *text, const char *prefix)
{
    return strncasecmp(text, prefix, strlen(prefix)) == 0;
}

static bool is_grpc_type(const char *value)
{
    static const char type[] = "application/grpc";
    if (!has_prefix(value, type))
        return false;
    char next = value[sizeof type - 1];
    return next == '\0' || next == '+' || next == ';';
}

static void take_header(struct h2_call *call, const char *name, const char *value, size_t len)
{
    if (strcmp(name, ":path") == 0) {
        free(call->path);
        call->path = strdup(value);
    } else if (strcmp(name, ":method") == 0) {
        if (strcmp(value, "POST") != 0)
            refuse(call, 405, GRPC_INTERNAL, NULL);
    } else if (strcmp(name, "grpc-timeout") == 0) {
        if (!grpc_timeout_parse(&call->timeout_ns, value, len))
            refuse(call, 200, GRPC_INTERNAL, "grpc-timeout is malformed");
    } else if (strcmp(name, "grpc-encoding") == 0 && strcmp(value, "identity") != 0) {
        refuse(call, 200, GRPC_UNIMPLEMENTED, "only the identity encoding is supported");
    }
    if (name[0] != ':') {
        buffer_append(&call->metadata, name, strlen(name) + 1);
        buffer_append(&call->metadata, value, strlen(value) + 1);
    }
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    struct h2_server *server = user;
    struct h2_call *call = call_of(session, frame->hd.stream_id);
    (void)flags;
    if (call == NULL || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    call->header_bytes += name_len + value_len + HEADER_OVERHEAD;
    if (call->header_bytes > server->limits.header_bytes) {
        refuse(call, 200, GRPC_RESOURCE_EXHAUSTED, "too many header bytes");
        return 0;
    }
    size_t before = call->metadata.capacity;
    take_header(call, (const char *)name, (const char *)value, value_len);
    server->headers += call->metadata.capacity - before;
    return buffer_failed(&call->metadata) ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

/* Answers a call that the events never see. */
static int answer_refused(struct h2_call *call)
{
    struct h2_server *server = call->server;
    if (call->refuse_http == 200) {
        h2_call_finish(call, call->refuse_code, call->refuse_text);
        return 0;
    }
    const nghttp2_nv headers[] = {h2_nv(":status", call->refuse_http == 415 ? "415" : "405")};
    call->finished = true;
    call->responding = true;
    return nghttp2_submit_response(server->session, call->stream, headers, 1, NULL);
}

static int headers_complete(struct h2_call *call)
{
    struct h2_server *server = call->server;
    const char *type = h2_call_metadata(call, "content-type");
    if (call->path == NULL)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (type == NULL || !is_grpc_type(type))
        refuse(call, 415, GRPC_UNKNOWN, NULL);
    if (call->refuse_http != 0)
        return answer_refused(call) == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
    call->started = true;
    server->events->started(server->ctx, call);
    return 0;
}

static void half_close(struct h2_call *call)
{
    struct h2_server *server = call->server;
    call->half_closed = true;
    if (!call->started || call->finished)
        return;
    if (grpc_deframer_is_partial(&call->deframer))
        h2_call_finish(call, GRPC_INTERNAL, "the request ends inside a message");
    else
        server->events->half_closed(server->ctx, call);
}

/* Counts every frame, also those for streams that are closed, which nghttp2 reports nowhere else. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *header, void *user)
{
    struct h2_server *server = user;
    (void)session;
    (void)header;
    server->control_frames++;
    return 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_server *server = user;
    struct h2_call *call = NULL;
    int rv = 0;
    if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA)
        call = call_of(session, frame->hd.stream_id);
    if (call != NULL && (frame->hd.type == NGHTTP2_HEADERS || frame->hd.length > 0))
        server->control_frames--; /* on_begin_frame has counted it */
    if (call == NULL)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        rv = headers_complete(call);
    if (rv == 0 && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        half_close(call);
    return rv;
}

static bool deliver(void *ctx, const uint8_t *bytes, size_t len)
{
    struct h2_call *call = ctx;
    struct h2_server *server = call->server;
    server->events->message(server->ctx, call, bytes, len);
    return !call->finished;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes,
                   size_t len, void *user)
{
    struct h2_server *server = user;
    struct h2_call *call = call_of(session, stream);
    (void)flags;
    if (call == NULL || !call->started || call->finished)
        return 0;
    struct buffer *partial = &call->deframer.partial;
    size_t before = buffer_len(partial);
    enum grpc_code code = grpc_deframer_feed(&call->deframer, bytes, len, deliver, call);
    server->partial = server->partial - before + buffer_len(partial);
    if (code == GRPC_OK && server->partial > server->limits.partial_bytes)
        code = GRPC_RESOURCE_EXHAUSTED;
    if (code != GRPC_OK) {
        server->partial -= buffer_len(partial);
        buffer_fini(partial);
        h2_call_finish(call, code,
                       code == GRPC_UNIMPLEMENTED
                           ? "compressed messages are not supported"
                           : "the request message is malformed or too large");
    }
    return 0;
}

/* Stops a client that is still sending after its answer is complete (RFC 9113 section 8.1). */
static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)user;
    if (frame->hd.type != NGHTTP2_HEADERS || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    struct h2_call *call = call_of(session, frame->hd.stream_id);
    if (call != NULL && !call->half_closed)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, call->stream, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t error, void *user)
{
    struct h2_call *call = call_of(session, stream);
    (void)error;
    (void)user;
    if (call != NULL) {
        nghttp2_session_set_stream_user_data(session, stream, NULL);
        call_destroy(call);
    }
    return 0;
}

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    return callbacks;
}

/* nghttp2 keeps a buffer of 16 KiB in each session, which holds something only while a frame is
 * sent. It is the only large block that the constructor allocates. */
static void *h2_malloc(size_t size, void *user)
{
    struct h2_server *server = user;
    if (!server->creating || size < FRAME_BUFFER_LEAST || server->frame != NULL)
        return malloc(size);
    void *frame = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (frame == MAP_FAILED)
        return NULL;
    server->frame = frame;
    server->frame_len = size;
    return frame;
}

static void h2_free(void *block, void *user)
{
    struct h2_server *server = user;
    if (block == NULL || block != server->frame) {
        free(block);
        return;
    }
    munmap(server->frame, server->frame_len);
    server->frame = NULL;
}

static void *h2_calloc(size_t count, size_t size, void *user)
{
    (void)user;
    return calloc(count, size);
}

static void *h2_realloc(void *block, size_t size, void *user)
{
    const struct h2_server *server = user;
    if (block == NULL)
        return h2_malloc(size, user);
    if (block != server->frame)
        return realloc(block, size);
    void *moved = malloc(size);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, size < server->frame_len ? size : server->frame_len);
    h2_free(block, user);
    return moved;
}

void h2_server_rest(struct h2_server *server)
{
    if (!server->frame_used || server->frame == NULL ||
        nghttp2_session_want_write(server->session) != 0)
        return;
    (void)madvise(server->frame, server->frame_len, MADV_DONTNEED);
    server->frame_used = false;
}

static int open_session(struct h2_server *server)
{
    nghttp2_mem mem = {server, h2_malloc, h2_free, h2_calloc, h2_realloc};
    nghttp2_session_callbacks *callbacks = make_callbacks();
    nghttp2_option *option = NULL;
    int rv = -ENOMEM;
    if (callbacks == NULL || nghttp2_option_new(&option) != 0)
        goto out;
    nghttp2_option_set_max_outbound_ack(option, ACKS_QUEUED_MAX);
    nghttp2_option_set_max_settings(option, SETTINGS_MAX);
    nghttp2_option_set_max_deflate_dynamic_table_size(option, 0);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_stream_reset_rate_limit(option, RESET_BURST, RESETS_PER_SECOND);
    server->creating = true;
    int created = nghttp2_session_server_new3(&server->session, callbacks, server, option, &mem);
    server->creating = false;
    if (created != 0)
        goto out;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, server->limits.streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, server->limits.header_bytes},
        {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, 0}, /* a table for each connection costs too much */
    };
    if (nghttp2_submit_settings(server->session, NGHTTP2_FLAG_NONE, settings, 4) == 0 &&
        nghttp2_session_set_local_window_size(server->session, NGHTTP2_FLAG_NONE, 0,
                                              H2_CONNECTION_WINDOW) == 0)
        rv = 0;
out:
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return rv;
}

struct h2_server *h2_server_create(const struct h2_server_events *events, void *ctx,
                                   const struct h2_limits *limits)
{
    struct h2_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return NULL;
    server->events = events;
    server->ctx = ctx;
    server->limits = *limits;
    list_init(&server->calls);
    if (open_session(server) < 0) {
        h2_server_destroy(server);
        return NULL;
    }
    return server;
}

void h2_server_destroy(struct h2_server *server)
{
    if (server == NULL)
        return;
    /* call_destroy removes it from the list, which the analyzer does not see */
    while (!list_empty(&server->calls))
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        call_destroy(list_first(&server->calls, struct h2_call, node));
    nghttp2_session_del(server->session);
    free(server);
}

int h2_server_receive(struct h2_server *server, const uint8_t *bytes, size_t len)
{
    ssize_t used = nghttp2_session_mem_recv(server->session, bytes, len);
    if (used == NGHTTP2_ERR_NOMEM)
        return -ENOMEM;
    return used < 0 ? -EPROTO : 0;
}

static void run_notices(struct h2_server *server)
{
    list_for_each_safe (node, &server->calls) {
        if (server->notices == 0)
            break;
        struct h2_call *call = container_of(node, struct h2_call, node);
        if (!call->notify)
            continue;
        call->notify = false;
        server->notices--;
        if (!call->finished)
            server->events->writable(server->ctx, call);
    }
}

int h2_server_pull(struct h2_server *server, struct buffer *out, size_t max)
{
    server->frame_used = true;
    int rv = h2_session_pull(server->session, out, max);
    if (rv == 0)
        run_notices(server);
    return rv;
}

bool h2_server_wants_send(const struct h2_server *server)
{
    return nghttp2_session_want_write(server->session) != 0;
}

bool h2_server_is_over(const struct h2_server *server)
{
    return !nghttp2_session_want_read(server->session) &&
           !nghttp2_session_want_write(server->session);
}

void h2_server_shut_down(struct h2_server *server)
{
    if (server->shutting_down)
        return;
    server->shutting_down = true;
    nghttp2_submit_goaway(server->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(server->session),
                          NGHTTP2_NO_ERROR, NULL, 0);
}

size_t h2_server_calls(const struct h2_server *server)
{
    return server->count;
}

size_t h2_server_held(const struct h2_server *server)
{
    return server->partial + server->queued + server->headers + server->count * CALL_COST;
}

uint64_t h2_server_control_frames(const struct h2_server *server)
{
    return server->control_frames;
}

const char *h2_call_path(const struct h2_call *call)
{
    return call->path;
}

const char *h2_call_metadata(const struct h2_call *call, const char *name)
{
    size_t len = buffer_len(&call->metadata);
    if (len == 0)
        return NULL;
    const char *at = (const char *)buffer_data(&call->metadata);
    const char *end = at + len;
    while (at < end) {
        const char *value = at + strlen(at) + 1;
        if (strcmp(at, name) == 0)
            return value;
        at = value + strlen(value) + 1;
    }
    return NULL;
}

void h2_call_forget_headers(struct h2_call *call)
{
    call->server->headers -= call->metadata.capacity;
    buffer_fini(&call->metadata);
    free(call->path);
    call->path = NULL;
}

uint64_t h2_call_timeout_ns(const struct h2_call *call)
{
    return call->timeout_ns;
}

void *h2_call_user(const struct h2_call *call)
{
    return call->user;
}

void h2_call_set_user(struct h2_call *call, void *user)
{
    call->user = user;
}

/* Fills in grpc-status and grpc-message. Returns the number of headers. */
static size_t status_headers(const struct h2_call *call, char number[4], nghttp2_nv headers[2])
{
    number[0] = (char)(call->code >= 10 ? '1' : '0' + (int)call->code);
    number[1] = (char)(call->code >= 10 ? '0' + (int)call->code - 10 : '\0');
    number[2] = '\0';
    headers[0] = h2_nv("grpc-status", number);
    if (buffer_len(&call->status_text) <= 1)
        return 1;
    headers[1] = h2_nv("grpc-message", (const char *)buffer_data(&call->status_text));
    return 2;
}

static void note_drained(struct h2_call *call)
{
    if (call->started && !call->finished && !call->notify) {
        call->notify = true;
        call->server->notices++;
    }
}

/* Takes `len` bytes from the queue and remembers how much of the last message remains. */
static void take_from_queue(struct h2_call *call, uint8_t *out, size_t len)
{
    const uint8_t *queued = buffer_data(&call->out);
    size_t at = call->out_begun;
    while (at < len)
        at += GRPC_PREFIX_LEN + load_be32(queued + at + 1);
    call->out_begun = at - len;
    memcpy(out, queued, len);
    buffer_consume(&call->out, len);
    call->server->queued -= len;
    if (buffer_len(&call->out) == 0)
        note_drained(call);
}

static ssize_t read_data(nghttp2_session *session, int32_t stream, uint8_t *out, size_t capacity,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct h2_call *call = source->ptr;
    (void)user;
    size_t len = buffer_len(&call->out);
    if (len > capacity)
        len = capacity;
    if (len > 0)
        take_from_queue(call, out, len);
    if (buffer_len(&call->out) > 0)
        return (ssize_t)len;
    if (call->finished) {
        char number[4];
        nghttp2_nv headers[2];
        size_t count = status_headers(call, number, headers);
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(session, stream, headers, count) != 0)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        return (ssize_t)len;
    }
    if (len == 0) {
        call->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)len;
}

static void wake(struct h2_call *call)
{
    if (!call->deferred)
        return;
    call->deferred = false;
    nghttp2_session_resume_data(call->server->session, call->stream);
}

int h2_call_send(struct h2_call *call, const void *message, size_t len)
{
    struct h2_server *server = call->server;
    if (call->finished)
        return -EPIPE;
    if (len > UINT32_MAX ||
        buffer_len(&call->out) + len + GRPC_PREFIX_LEN > server->limits.buffered_bytes ||
        server->queued + len + GRPC_PREFIX_LEN > server->limits.queued_bytes)
        return -ENOBUFS;
    size_t before = buffer_len(&call->out);
    grpc_frame_append(&call->out, message, len);
    server->queued += buffer_len(&call->out) - before;
    if (buffer_failed(&call->out))
        return -ENOMEM;
    if (call->responding) {
        wake(call);
        return 0;
    }
    const nghttp2_nv headers[] = {
        h2_nv(":status", "200"),
        h2_nv("content-type", "application/grpc"),
    };
    const nghttp2_data_provider provider = {.source.ptr = call, .read_callback = read_data};
    call->responding = true;
    return nghttp2_submit_response(server->session, call->stream, headers, 2, &provider) == 0
               ? 0
               : -ENOMEM;
}

size_t h2_call_pending(const struct h2_call *call)
{
    return buffer_len(&call->out);
}

void h2_call_drop_queue(struct h2_call *call)
{
    call->server->queued -= buffer_len(&call->out) - call->out_begun;
    buffer_truncate(&call->out, call->out_begun);
}

static void send_trailers_only(struct h2_call *call)
{
    char number[4];
    nghttp2_nv headers[5] = {
        h2_nv(":status", "200"),
        h2_nv("content-type", "application/grpc"),
    };
    size_t count = 2 + status_headers(call, number, headers + 2);
    if (call->code == GRPC_UNIMPLEMENTED)
        headers[count++] = h2_nv("grpc-accept-encoding", "identity");
    call->responding = true;
    nghttp2_submit_response(call->server->session, call->stream, headers, count, NULL);
}

void h2_call_finish(struct h2_call *call, enum grpc_code code, const char *text)
{
    if (call->finished)
        return;
    call->finished = true;
    call->code = code;
    char cut[GRPC_STATUS_TEXT_MAX];
    size_t len = text == NULL ? 0 : strnlen(text, sizeof cut - 1);
    if (len > 0)
        memcpy(cut, text, len);
    cut[len] = '\0';
    grpc_percent_encode(&call->status_text, cut);
    buffer_append(&call->status_text, "", 1);
    /* send the status without its text */
    if (buffer_failed(&call->status_text))
        buffer_fini(&call->status_text);
    if (call->responding)
        wake(call);
    else
        send_trailers_only(call);
}
