/*
 * A connection goes RESOLVING (dialers with a host name) -> CONNECTING (dialers) -> HANDSHAKE ->
 * OPEN -> ENDING (sends what is queued, announces the end, then waits a moment for the other
 * side's, so that the kernel does not discard what is still under way) -> CLOSED (waits until libuv
 * has released the handles, then reports `closed` and frees). Every failure goes straight to
 * CLOSED, except that a TLS alert gets the time of ENDING to leave.
 */
#include "control/rpc/transport_conn.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "control/rpc/transport_tls_session.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    READ_CHUNK = 64 * 1024,
    PLAIN_CHUNK = 16 * 1024,
    LINGER_MS = 1000,
    KEEPALIVE_S = 30,
    USER_TIMEOUT_MS = 30000,
};

const struct transport_limits transport_limits_default = {
    .connections = 65536,
    .not_begun = 2048,
    .handshakes = 512,
    .handshake_ms = 5000,
    .write_stall_ms = 30000,
};

struct write_request {
    uv_write_t request;
    size_t len;
    uint8_t bytes[];
};

static _Thread_local uint8_t read_chunk[READ_CHUNK];
static _Thread_local uint8_t plain_chunk[PLAIN_CHUNK];

/* Limited, because anybody who reaches the port can cause these lines. */
static void log_refused(struct transport_conn *conn)
{
    unsigned left_out;
    if (conn->place.source == NULL ||
        !transport_pending_may_log(&conn->owner->pending, &conn->place, clock_boottime_ns(),
                                   &left_out))
        return;
    if (left_out > 0)
        log_info("control connections refused without a line each", F_INT("count", left_out),
                 F_STR("address", conn->caller.source));
    log_info("control connection refused", F_STR("reason", conn->err->text));
}

void transport_conn_release(struct transport_conn *conn)
{
    static const struct err clean_end;
    if (--conn->holds > 0 || conn->state != TRANSPORT_CLOSED)
        return;
    if (conn->owner != NULL && !conn->authenticated && conn->err != NULL)
        log_refused(conn);
    if (conn->owner != NULL) {
        transport_pending_close(&conn->owner->pending, &conn->place, clock_boottime_ns());
        conn->owner->gone(conn->owner->ctx);
    }
    if (conn->events != NULL)
        conn->events->closed(conn->ctx, conn, conn->err != NULL ? conn->err : &clean_end);
    tls_session_destroy(conn->session);
    transport_tls_destroy(conn->tls);
    free(conn->dial);
    free(conn->address);
    free(conn->err);
    free(conn);
}

static void leave_pending(struct transport_conn *conn)
{
    if (conn->owner != NULL)
        transport_pending_leave(&conn->owner->pending, &conn->place);
}

static void conn_handle_closed(uv_handle_t *handle)
{
    transport_conn_release(handle->data);
}

void transport_conn_shut(struct transport_conn *conn)
{
    if (conn->state == TRANSPORT_CLOSED)
        return;
    leave_pending(conn);
    conn->state = TRANSPORT_CLOSED;
    if (conn->stop_dial != NULL)
        conn->stop_dial(conn);
    uv_close((uv_handle_t *)&conn->timer, conn_handle_closed);
    if (conn->io_open) {
        conn->io_open = false;
        uv_close(&conn->io.handle, conn_handle_closed);
    }
}

/* Keeps the first failure; most connections have none, and an error takes much room. */
static void remember(struct transport_conn *conn, const struct err *err)
{
    if (conn->err != NULL || err == NULL)
        return;
    conn->err = malloc(sizeof *conn->err);
    if (conn->err != NULL)
        *conn->err = *err;
}

/* The same behind the name of the other side. */
static void remember_text(struct transport_conn *conn, int code, const char *text)
{
    char at[ADDRESS_TEXT];
    struct err err;
    err_set(&err, code, "%s: %s",
            conn->owner != NULL ? conn->caller.remote : address_format(conn->address, at), text);
    remember(conn, &err);
}

void transport_conn_fail(struct transport_conn *conn, int code, const char *text)
{
    if (conn->state == TRANSPORT_CLOSED)
        return;
    remember_text(conn, code, text);
    transport_conn_shut(conn);
}

static void fail_errno(struct transport_conn *conn, int code)
{
    transport_conn_fail(conn, code, uv_strerror(code));
}

static void make_room(struct transport_place *place)
{
    transport_conn_fail(container_of(place, struct transport_conn, place), -ECONNABORTED,
                        "it made room for a newer one before it was authenticated");
}

/* A connection that has proved nothing must not keep others out. */
static void join_pending(struct transport_conn *conn, enum transport_stage stage)
{
    struct transport_place *victim =
        transport_pending_join(&conn->owner->pending, &conn->place, stage);
    if (victim != NULL)
        make_room(victim);
}

bool transport_conn_make_room(struct transport_owner *owner)
{
    struct transport_place *victim = transport_pending_victim(&owner->pending);
    if (victim != NULL)
        make_room(victim);
    return victim != NULL;
}

static void conn_timed_out(uv_timer_t *timer)
{
    struct transport_conn *conn = timer->data;
    switch (conn->state) {
    case TRANSPORT_RESOLVING:
    case TRANSPORT_CONNECTING:
        transport_conn_fail(conn, -ETIMEDOUT, "no answer in time");
        break;
    case TRANSPORT_HANDSHAKE:
        transport_conn_fail(conn, -ETIMEDOUT, "the TLS handshake took too long");
        break;
    case TRANSPORT_OPEN:
        transport_conn_fail(conn, -ETIMEDOUT, "the other side does not read what it is sent");
        break;
    case TRANSPORT_ENDING:
        transport_conn_shut(conn);
        break;
    case TRANSPORT_CLOSED:
        break;
    }
}

static void arm_stall_timer(struct transport_conn *conn)
{
    if (conn->pending > 0)
        uv_timer_start(&conn->timer, conn_timed_out, conn->limits.write_stall_ms, 0);
    else
        uv_timer_stop(&conn->timer);
}

static void conn_shut_down(uv_shutdown_t *request, int status)
{
    struct transport_conn *conn = request->data;
    free(request);
    if (status < 0)
        transport_conn_shut(conn);
    transport_conn_release(conn);
}

/* In ENDING, once everything is written: shuts this side down, then waits for the other one. */
static void end_writing(struct transport_conn *conn)
{
    if (conn->state != TRANSPORT_ENDING || conn->pending > 0 || conn->shut)
        return;
    conn->shut = true;
    uv_shutdown_t *request = malloc(sizeof *request);
    if (request != NULL)
        request->data = conn;
    if (request == NULL || uv_shutdown(request, &conn->io.stream, conn_shut_down) < 0) {
        free(request);
        transport_conn_shut(conn);
        return;
    }
    conn->holds++;
    uv_timer_start(&conn->timer, conn_timed_out, LINGER_MS, 0);
}

static void conn_written(uv_write_t *request, int status)
{
    struct transport_conn *conn = request->data;
    struct write_request *write = container_of(request, struct write_request, request);
    conn->pending -= write->len;
    free(write);
    if (status < 0) {
        if (conn->state != TRANSPORT_CLOSED)
            fail_errno(conn, status);
    } else if (conn->state == TRANSPORT_OPEN) {
        arm_stall_timer(conn);
        if (conn->above_low_water && conn->pending < TRANSPORT_LOW_WATER) {
            conn->above_low_water = false;
            conn->events->drained(conn->ctx, conn);
        }
    } else {
        end_writing(conn);
    }
    transport_conn_release(conn);
}

static struct write_request *write_create(size_t len)
{
    struct write_request *write = malloc(sizeof *write + len);
    if (write != NULL)
        write->len = len;
    return write;
}

/* Takes ownership of `write`. */
static int write_start(struct transport_conn *conn, struct write_request *write)
{
    uv_buf_t buf = uv_buf_init((char *)write->bytes, (unsigned)write->len);
    write->request.data = conn;
    int rv = uv_write(&write->request, &conn->io.stream, &buf, 1, conn_written);
    if (rv < 0) {
        free(write);
        return rv;
    }
    conn->holds++;
    conn->pending += write->len;
    if (conn->pending >= TRANSPORT_LOW_WATER)
        conn->above_low_water = true;
    if (conn->state == TRANSPORT_OPEN && !uv_is_active((uv_handle_t *)&conn->timer))
        arm_stall_timer(conn);
    return 0;
}

/* Sends the records that TLS has made. */
static int flush_session(struct transport_conn *conn)
{
    size_t len = tls_session_output_len(conn->session);
    if (len == 0)
        return 0;
    struct write_request *write = write_create(len);
    if (write == NULL)
        return -ENOMEM;
    write->len = tls_session_output(conn->session, write->bytes, len);
    return write_start(conn, write);
}

static void conn_end(struct transport_conn *conn)
{
    if (conn->state == TRANSPORT_ENDING || conn->state == TRANSPORT_CLOSED)
        return;
    if (!conn->io_open || conn->state == TRANSPORT_RESOLVING ||
        conn->state == TRANSPORT_CONNECTING) {
        transport_conn_shut(conn);
        return;
    }
    transport_set_reading(conn, true); /* for the end of the other side */
    conn->state = TRANSPORT_ENDING;
    if (conn->session != NULL) {
        tls_session_end(conn->session);
        flush_session(conn);
    }
    if (conn->pending > 0)
        uv_timer_start(&conn->timer, conn_timed_out, conn->limits.write_stall_ms, 0);
    end_writing(conn);
}

/* Ends after a failure of TLS, so that its alert still reaches the other side. */
static void fail_tls(struct transport_conn *conn, const struct err *err)
{
    remember_text(conn, err->code, err->text);
    conn_end(conn);
}

static void become_open(struct transport_conn *conn)
{
    conn->state = TRANSPORT_OPEN;
    conn->authenticated = true;
    leave_pending(conn);
    arm_stall_timer(conn);
    if (conn->owner != NULL)
        conn->owner->authenticated(conn->owner->ctx, conn);
    else
        conn->events->opened(conn->ctx, conn);
}

static void step_handshake(struct transport_conn *conn)
{
    struct err err;
    int rv = tls_session_handshake(conn->session, &err);
    if (flush_session(conn) < 0)
        transport_conn_fail(conn, -ENOMEM, "out of memory");
    else if (rv < 0)
        fail_tls(conn, &err);
    else if (rv > 0)
        become_open(conn);
}

static void read_plaintext(struct transport_conn *conn)
{
    while (conn->state == TRANSPORT_OPEN) {
        struct err err;
        int len = tls_session_read(conn->session, plain_chunk, sizeof plain_chunk, &err);
        if (len > 0) {
            conn->events->received(conn->ctx, conn, plain_chunk, (size_t)len);
            continue;
        }
        /* reading can make TLS answer, with a key update or an alert */
        if (flush_session(conn) < 0)
            transport_conn_fail(conn, -ENOMEM, "out of memory");
        else if (len == -EPIPE)
            conn_end(conn);
        else if (len < 0)
            fail_tls(conn, &err);
        return;
    }
}

static bool make_session(struct transport_conn *conn)
{
    conn->session = tls_session_create(conn->tls, conn->owner != NULL, &conn->caller);
    if (conn->session == NULL)
        transport_conn_fail(conn, -EINVAL,
                            "these TLS settings are not for this side of a connection");
    return conn->session != NULL;
}

static void conn_take(struct transport_conn *conn, const uint8_t *bytes, size_t len)
{
    if (conn->state == TRANSPORT_HANDSHAKE && conn->session == NULL) {
        join_pending(conn, TRANSPORT_HANDSHAKING);
        if (conn->state != TRANSPORT_HANDSHAKE || !make_session(conn))
            return;
    }
    if (conn->session != NULL && tls_session_receive(conn->session, bytes, len) < 0) {
        transport_conn_fail(conn, -ENOMEM, "out of memory");
        return;
    }
    if (conn->state == TRANSPORT_HANDSHAKE)
        step_handshake(conn);
    if (conn->state != TRANSPORT_OPEN)
        return;
    if (conn->session == NULL)
        conn->events->received(conn->ctx, conn, bytes, len);
    else
        read_plaintext(conn);
}

static void conn_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init((char *)read_chunk, sizeof read_chunk);
}

static void conn_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct transport_conn *conn = stream->data;
    if (len > 0 && (conn->state == TRANSPORT_HANDSHAKE || conn->state == TRANSPORT_OPEN))
        conn_take(conn, (const uint8_t *)buf->base, (size_t)len);
    if (len >= 0)
        return;
    if (len != UV_EOF && conn->state != TRANSPORT_ENDING)
        fail_errno(conn, (int)len);
    else if (conn->state == TRANSPORT_HANDSHAKE)
        transport_conn_fail(conn, -ECONNRESET,
                            "the other side closed the connection before it was authenticated");
    else
        /* no close_notify is needed: HTTP/2 marks its own end, so a truncation shows there */
        transport_conn_shut(conn);
}

void transport_set_reading(struct transport_conn *conn, bool reading)
{
    if (conn->state != TRANSPORT_OPEN || conn->paused == !reading)
        return;
    conn->paused = !reading;
    if (conn->paused)
        (void)uv_read_stop(&conn->io.stream);
    else
        (void)uv_read_start(&conn->io.stream, conn_alloc, conn_read);
}

/* libuv writes to sockets without MSG_NOSIGNAL. Leaves a handler that the program has set. */
static void ignore_sigpipe(void)
{
    static atomic_bool ignored;
    struct sigaction action;
    if (atomic_exchange(&ignored, true) || sigaction(SIGPIPE, NULL, &action) < 0 ||
        action.sa_handler != SIG_DFL)
        return;
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

struct transport_conn *transport_conn_create(uv_loop_t *loop,
                                             const struct transport_options *options)
{
    struct transport_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        return NULL;
    ignore_sigpipe();
    uv_timer_init(loop, &conn->timer);
    conn->timer.data = conn;
    conn->holds = 1;
    conn->tls = transport_tls_ref(options->tls);
    conn->fwmark = options->fwmark;
    conn->limits = options->limits != NULL ? *options->limits : transport_limits_default;
    uv_timer_start(&conn->timer, conn_timed_out, conn->limits.handshake_ms, 0);
    return conn;
}

static void set_tcp_options(uv_tcp_t *tcp)
{
    uv_os_fd_t fd;
    unsigned timeout = USER_TIMEOUT_MS;
    uv_tcp_nodelay(tcp, 1);
    uv_tcp_keepalive(tcp, 1, KEEPALIVE_S);
    if (uv_fileno((uv_handle_t *)tcp, &fd) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
}

/* One host or one site: an IPv4 address or an IPv6 /64. */
static void name_source(char out[TRANSPORT_SOURCE_MAX], const union endpoint *remote)
{
    struct ip_prefix prefix = {.len = 64};
    endpoint_addr(remote, &prefix.addr);
    if (prefix.addr.family == 4) {
        ip_addr_format(&prefix.addr, out);
    } else {
        ip_prefix_mask(&prefix);
        ip_prefix_format(&prefix, out);
    }
}

/* Names an IPv4 client of a dual-stack listener by its IPv4 address. */
static void name_remote(struct transport_conn *conn)
{
    union endpoint remote = {0};
    int len = sizeof remote;
    snprintf(conn->caller.remote, sizeof conn->caller.remote, "unix");
    if (conn->kind == ADDRESS_UNIX)
        return;
    snprintf(conn->caller.source, sizeof conn->caller.source, "unknown");
    if (uv_tcp_getpeername(&conn->io.tcp, &remote.sa, &len) < 0)
        return;
    if (remote.sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&remote.in6.sin6_addr)) {
        struct ip_addr addr;
        uint16_t port = endpoint_port(&remote);
        ip_addr_from_bytes(&addr, 4, remote.in6.sin6_addr.s6_addr + 12);
        endpoint_from_addr(&remote, &addr, port);
    }
    endpoint_format(&remote, conn->caller.remote);
    name_source(conn->caller.source, &remote);
}

static bool is_plain(const struct transport_conn *conn)
{
    return conn->kind == ADDRESS_UNIX || transport_tls_security(conn->tls) == TRANSPORT_PLAINTEXT;
}

void transport_conn_start(struct transport_conn *conn)
{
    if (conn->kind == ADDRESS_TCP)
        set_tcp_options(&conn->io.tcp);
    name_remote(conn);
    conn->state = TRANSPORT_HANDSHAKE;
    if (conn->owner != NULL &&
        transport_pending_open(&conn->owner->pending, &conn->place, conn->caller.source,
                               clock_boottime_ns()) < 0) {
        fail_errno(conn, -ENOMEM);
        return;
    }
    int rv = uv_read_start(&conn->io.stream, conn_alloc, conn_read);
    if (rv < 0)
        fail_errno(conn, rv);
    else if (is_plain(conn))
        become_open(conn);
    else if (conn->owner != NULL) /* a client that sends nothing costs no TLS session */
        join_pending(conn, TRANSPORT_NOT_BEGUN);
    else if (make_session(conn))
        step_handshake(conn);
}

int transport_conn_accept(uv_stream_t *listener, bool is_unix,
                          const struct transport_options *options, struct transport_owner *owner)
{
    struct transport_conn *conn = transport_conn_create(listener->loop, options);
    if (conn == NULL)
        return -ENOMEM;
    conn->owner = owner;
    conn->state = TRANSPORT_HANDSHAKE;
    conn->kind = is_unix ? ADDRESS_UNIX : ADDRESS_TCP;
    if (is_unix)
        uv_pipe_init(listener->loop, &conn->io.pipe, 0);
    else
        uv_tcp_init(listener->loop, &conn->io.tcp);
    conn->io.handle.data = conn;
    conn->io_open = true;
    conn->holds++;
    int rv = uv_accept(listener, &conn->io.stream);
    if (rv < 0) {
        transport_conn_shut(conn);
        return 0; /* the owner hears of it through `gone` */
    }
    if (is_unix)
        conn->caller.roles = TRANSPORT_ADMIN;
    else if (is_plain(conn))
        conn->caller.roles = TRANSPORT_ANY;
    transport_conn_start(conn);
    return 0;
}

int transport_tcp_open(uv_tcp_t *tcp, int family, uint32_t fwmark)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int rv = 0;
    if (fwmark != 0 && setsockopt(fd, SOL_SOCKET, SO_MARK, &fwmark, sizeof fwmark) < 0)
        rv = -errno;
    if (rv == 0)
        rv = uv_tcp_open(tcp, fd);
    if (rv < 0)
        close(fd);
    return rv;
}

void transport_conn_set_events(struct transport_conn *conn, const struct transport_events *events,
                               void *ctx)
{
    conn->events = events;
    conn->ctx = ctx;
}

const struct transport_caller *transport_conn_caller(const struct transport_conn *conn)
{
    return &conn->caller;
}

int transport_send(struct transport_conn *conn, const uint8_t *bytes, size_t len)
{
    if (conn->state != TRANSPORT_OPEN)
        return -EPIPE;
    if (len == 0)
        return 0;
    if (conn->session != NULL) {
        int rv = tls_session_write(conn->session, bytes, len);
        return rv < 0 ? rv : flush_session(conn);
    }
    struct write_request *write = write_create(len);
    if (write == NULL)
        return -ENOMEM;
    memcpy(write->bytes, bytes, len);
    return write_start(conn, write);
}

size_t transport_queued(const struct transport_conn *conn)
{
    return conn->pending;
}

void transport_close(struct transport_conn *conn)
{
    conn_end(conn);
}

void transport_abort(struct transport_conn *conn, const struct err *err)
{
    remember(conn, err);
    transport_conn_shut(conn);
}
