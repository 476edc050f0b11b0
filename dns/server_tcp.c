#include "dns/server_tcp.h"

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/list.h"
#include "dns/server_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A connection is reading (the timer limits the next whole query), waiting for the upstream, or
 * writing a response (the timer limits that). It reads nothing while it waits or writes, so that it
 * holds at most one query, one response and the bytes of a single read. */

enum { BACKLOG = 64, READ_LEN = 4096 };

struct server_tcp {
    struct dns_server *server;
    uv_tcp_t handle;
};

enum state { READING, WAITING, WRITING, CLOSING };

struct connection {
    struct list link; /* ordered by the last answer, or by the start */
    struct server_tcp *listener;
    struct dns_server *server;
    enum state state;
    uv_tcp_t handle;
    uv_timer_t timer;
    uint8_t handles; /* of `handle` and `timer`, not yet closed */
    union endpoint client;
    struct buffer in;
    struct forward forward;
    uv_write_t write;
    uint8_t *out; /* the response being written */
};

static void handle_input(struct connection *connection);

static void on_connection_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;
    struct dns_server *server = connection->server;
    if (--connection->handles == 0) {
        buffer_fini(&connection->in);
        free(connection->out);
        free(connection);
    }
    server_handle_closed(server);
}

static void connection_close(struct connection *connection)
{
    if (connection->state == CLOSING)
        return;
    if (connection->state == WAITING)
        forward_cancel(&connection->forward);
    connection->state = CLOSING;
    list_remove(&connection->link);
    connection->server->connection_count--;
    uv_close((uv_handle_t *)&connection->handle, on_connection_closed);
    uv_close((uv_handle_t *)&connection->timer, on_connection_closed);
}

static void on_timeout(uv_timer_t *timer)
{
    connection_close(timer->data);
}

static void restart_timer(struct connection *connection)
{
    uv_timer_start(&connection->timer, on_timeout, SERVER_TCP_TIMEOUT_MS, 0);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct connection *connection = handle->data;
    (void)suggested;
    uint8_t *room = buffer_reserve(&connection->in, READ_LEN);
    *out = uv_buf_init((char *)room, room != NULL ? READ_LEN : 0);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct connection *connection = stream->data;
    (void)buf;
    if (len < 0) {
        connection_close(connection);
        return;
    }
    buffer_commit(&connection->in, (size_t)len);
    handle_input(connection);
}

static void on_written(uv_write_t *write, int status)
{
    struct connection *connection = write->data;
    free(connection->out);
    connection->out = NULL;
    if (connection->state == CLOSING)
        return;
    if (status < 0) {
        connection_close(connection);
        return;
    }
    connection->state = READING;
    list_remove(&connection->link);
    list_append(&connection->server->connections, &connection->link);
    restart_timer(connection);
    handle_input(connection);
}

static void respond(struct connection *connection, const uint8_t *response, size_t len)
{
    connection->out = malloc(len + 2);
    if (connection->out == NULL) {
        connection->state = READING;
        connection_close(connection);
        return;
    }
    server_count_answer(connection->server, response);
    store_be16(connection->out, (uint16_t)len);
    memcpy(connection->out + 2, response, len);
    uv_buf_t buf = uv_buf_init((char *)connection->out, (unsigned)(len + 2));
    connection->state = WRITING;
    connection->write.data = connection;
    restart_timer(connection);
    if (uv_write(&connection->write, (uv_stream_t *)&connection->handle, &buf, 1, on_written) < 0) {
        /* there is no callback after a failure */
        free(connection->out);
        connection->out = NULL;
        connection_close(connection);
    }
}

static void respond_forwarded(struct forward *forward, const uint8_t *response, size_t len)
{
    struct connection *connection = container_of(forward, struct connection, forward);
    respond(connection, response, len);
}

static void handle_forward(struct connection *connection, const struct dns_query *query,
                           const uint8_t *message, size_t len)
{
    struct dns_server *server = connection->server;
    connection->forward.query = *query;
    endpoint_addr(&connection->client, &connection->forward.client);
    connection->forward.transport = DNS_TCP;
    connection->forward.done = respond_forwarded;
    if (forward_start(&server->forwarder, &connection->forward, message, len) == 0) {
        server->stats.forwarded++;
        connection->state = WAITING;
        uv_timer_stop(&connection->timer); /* the forward has its own */
        return;
    }
    uint8_t out[DNS_UDP_PLAIN];
    respond(connection, out, answer_error(query, DNS_SERVFAIL, true, out));
}

static void handle_message(struct connection *connection, const uint8_t *message, size_t len)
{
    struct dns_server *server = connection->server;
    struct answer_context context = server_context(server, &connection->client, DNS_TCP);
    struct dns_query query;
    size_t out_len = 0;
    server->stats.tcp_queries++;
    switch (
        answer_query(&context, message, len, &query, server->scratch, DNS_MESSAGE_MAX, &out_len)) {
    case ANSWER_REPLY:
        respond(connection, server->scratch, out_len);
        return;
    case ANSWER_FORWARD:
        handle_forward(connection, &query, message, len);
        return;
    case ANSWER_DROP:
        server->stats.dropped++;
        connection_close(connection);
        return;
    }
}

/* Takes one query from the input, or reads more. */
static void handle_input(struct connection *connection)
{
    size_t have = buffer_len(&connection->in);
    size_t len = have >= 2 ? load_be16(buffer_data(&connection->in)) : 0;
    if (have < 2 || have - 2 < len) {
        /* may be reading already; on failure, the timer closes the connection */
        uv_read_start((uv_stream_t *)&connection->handle, on_alloc, on_read);
        return;
    }
    uv_read_stop((uv_stream_t *)&connection->handle);
    handle_message(connection, buffer_data(&connection->in) + 2, len);
    buffer_consume(&connection->in, len + 2);
}

/* Whether this client has too many connections, the new one included. */
static bool is_over_limit(const struct dns_server *server, const union endpoint *client)
{
    struct ip_addr addr;
    struct ip_addr other;
    size_t same = 0;
    endpoint_addr(client, &addr);
    list_for_each (at, &server->connections) {
        endpoint_addr(&container_of(at, struct connection, link)->client, &other);
        same += ip_addr_equal(&addr, &other);
    }
    return same > SERVER_TCP_PER_ADDRESS;
}

/* Closes, when there are too many, the idle connection with the oldest answer, so that clients that
 * only hold connections cannot keep others out. */
static void make_room(struct dns_server *server)
{
    if (server->connection_count <= SERVER_TCP_MAX)
        return;
    list_for_each (at, &server->connections) {
        struct connection *connection = container_of(at, struct connection, link);
        if (connection->state == READING) {
            server->stats.refused_connections++;
            connection_close(connection);
            return;
        }
    }
}

static void accept_connection(struct connection *connection, struct server_tcp *tcp)
{
    struct dns_server *server = connection->server;
    int name_len = sizeof connection->client;
    if (uv_accept((uv_stream_t *)&tcp->handle, (uv_stream_t *)&connection->handle) < 0 ||
        uv_tcp_getpeername(&connection->handle, (struct sockaddr *)&connection->client, &name_len) <
            0) {
        connection_close(connection);
        return;
    }
    if (is_over_limit(server, &connection->client)) {
        server->stats.refused_connections++;
        connection_close(connection);
        return;
    }
    make_room(server);
    if (connection->state == CLOSING)
        return;
    restart_timer(connection);
    handle_input(connection);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct server_tcp *tcp = stream->data;
    struct dns_server *server = tcp->server;
    struct connection *connection = status < 0 ? NULL : calloc(1, sizeof *connection);
    if (connection == NULL)
        return;
    list_append(&server->connections, &connection->link);
    server->connection_count++;
    connection->listener = tcp;
    connection->server = server;
    buffer_init(&connection->in);
    uv_tcp_init(server->loop, &connection->handle);
    uv_timer_init(server->loop, &connection->timer);
    connection->handle.data = connection;
    connection->timer.data = connection;
    connection->handles = 2;
    server_handle_opened(server);
    server_handle_opened(server);
    accept_connection(connection, tcp);
}

static void on_closed(uv_handle_t *handle)
{
    struct server_tcp *tcp = handle->data;
    struct dns_server *server = tcp->server;
    free(tcp);
    server_handle_closed(server);
}

int server_tcp_open(struct server_tcp **out, struct dns_server *server, const union endpoint *addr)
{
    struct server_tcp *tcp = calloc(1, sizeof *tcp);
    if (tcp == NULL)
        return -ENOMEM;
    tcp->server = server;
    uv_tcp_init(server->loop, &tcp->handle);
    tcp->handle.data = tcp;
    server_handle_opened(server);
    int rc =
        uv_tcp_bind(&tcp->handle, &addr->sa, addr->sa.sa_family == AF_INET6 ? UV_TCP_IPV6ONLY : 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&tcp->handle, BACKLOG, on_connection);
    if (rc < 0) {
        uv_close((uv_handle_t *)&tcp->handle, on_closed);
        return rc;
    }
    *out = tcp;
    return 0;
}

void server_tcp_close(struct server_tcp *tcp)
{
    if (tcp == NULL)
        return;
    list_for_each_safe (at, &tcp->server->connections) {
        struct connection *connection = container_of(at, struct connection, link);
        if (connection->listener == tcp)
            connection_close(connection);
    }
    uv_close((uv_handle_t *)&tcp->handle, on_closed);
}
