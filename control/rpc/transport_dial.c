/* Resolves a name on libuv's thread pool, then tries its addresses in turn. */
#include "control/rpc/transport_dial.h"

#include "control/rpc/transport_conn.h"

#include <errno.h>
#include <string.h>

static void try_connect(struct transport_conn *conn);

static void dial_attempt_closed(uv_handle_t *handle)
{
    struct transport_conn *conn = handle->data;
    if (conn->state != TRANSPORT_CLOSED)
        try_connect(conn);
    transport_conn_release(conn);
}

static void attempt_failed(struct transport_conn *conn, int code)
{
    if (conn->next == NULL) {
        transport_conn_fail(conn, code, uv_strerror(code));
        return;
    }
    conn->io_open = false;
    uv_close(&conn->io.handle, dial_attempt_closed);
}

static void dial_connected(uv_connect_t *request, int status)
{
    struct transport_conn *conn = request->data;
    if (conn->state == TRANSPORT_CONNECTING && status < 0)
        attempt_failed(conn, status);
    else if (conn->state == TRANSPORT_CONNECTING)
        transport_conn_start(conn);
    transport_conn_release(conn);
}

static int connect_tcp(struct transport_conn *conn, const struct sockaddr *to)
{
    uv_tcp_init(conn->timer.loop, &conn->io.tcp);
    conn->io.handle.data = conn;
    conn->io_open = true;
    conn->holds++;
    int rv = transport_tcp_open(&conn->io.tcp, to->sa_family, conn->fwmark);
    return rv < 0 ? rv : uv_tcp_connect(&conn->connect, &conn->io.tcp, to, dial_connected);
}

/* Tries the next address of a name. */
static void try_connect(struct transport_conn *conn)
{
    struct addrinfo *at = conn->next;
    union endpoint to = {0};
    conn->next = at->ai_next;
    memcpy(&to, at->ai_addr, at->ai_addrlen < sizeof to ? at->ai_addrlen : sizeof to);
    if (to.sa.sa_family == AF_INET6)
        to.in6.sin6_port = htons(conn->address.port);
    else
        to.in.sin_port = htons(conn->address.port);
    int rv = connect_tcp(conn, &to.sa);
    if (rv == 0)
        conn->holds++;
    else
        attempt_failed(conn, rv);
}

static void dial_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct transport_conn *conn = request->data;
    conn->resolving = false;
    conn->found = found;
    conn->next = found;
    if (conn->state == TRANSPORT_RESOLVING && status < 0) {
        transport_conn_fail(conn, status, "the name cannot be resolved");
    } else if (conn->state == TRANSPORT_RESOLVING) {
        conn->state = TRANSPORT_CONNECTING;
        try_connect(conn);
    }
    transport_conn_release(conn);
}

static int resolve(struct transport_conn *conn)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    conn->state = TRANSPORT_RESOLVING;
    conn->resolve.data = conn;
    int rv = uv_getaddrinfo(conn->timer.loop, &conn->resolve, dial_resolved, conn->address.host,
                            NULL, &hints);
    if (rv == 0) {
        conn->resolving = true;
        conn->holds++;
    }
    return rv;
}

static int start_dial(struct transport_conn *conn)
{
    conn->connect.data = conn;
    conn->state = TRANSPORT_CONNECTING;
    if (conn->address.kind == ADDRESS_UNIX) {
        uv_pipe_init(conn->timer.loop, &conn->io.pipe, 0);
        conn->io.handle.data = conn;
        conn->io_open = true;
        conn->holds++;
        uv_pipe_connect(&conn->connect, &conn->io.pipe, conn->address.path, dial_connected);
    } else if (endpoint_is_set(&conn->address.endpoint)) {
        int rv = connect_tcp(conn, &conn->address.endpoint.sa);
        if (rv < 0)
            return rv;
    } else {
        return resolve(conn);
    }
    conn->holds++;
    return 0;
}

int transport_dial(struct transport_conn **out, uv_loop_t *loop,
                   const struct transport_options *options, const struct transport_events *events,
                   void *ctx, struct err *err)
{
    char at[ADDRESS_TEXT];
    struct transport_conn *conn = transport_conn_create(loop, options);
    if (conn == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    conn->address = *options->address;
    int rv = start_dial(conn);
    if (rv < 0) {
        transport_conn_shut(conn);
        return err_set(err, rv, "%s: %s", address_format(options->address, at), uv_strerror(rv));
    }
    conn->events = events;
    conn->ctx = ctx;
    *out = conn;
    return 0;
}
