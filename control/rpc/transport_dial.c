/*
 * A name is looked up in both families at once, in threads. Its addresses are tried as RFC 8305
 * says: IPv6 and IPv4 in turn, the next one when the one before has failed or has been silent for
 * 250 ms, until the first connects. The others are closed then. IPv4 addresses wait 50 ms for IPv6
 * ones that are still looked up.
 */
#include "control/rpc/transport_dial.h"

#include "base/list.h"
#include "control/rpc/name_lookup.h"
#include "control/rpc/transport_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ATTEMPT_DELAY_MS = 250,
    RESOLUTION_DELAY_MS = 50,
    ADDRESSES_MAX = 16, /* of a family; more are ignored */
};

enum { V6, V4, FAMILIES };

struct lookup {
    struct name_lookup *pending; /* NULL: none */
    struct transport_conn *conn;
    union endpoint found[ADDRESSES_MAX];
    size_t count;
    size_t tried;
};

struct transport_dial {
    uv_connect_t pipe;               /* of a unix socket, which uses nothing else */
    struct lookup lookups[FAMILIES]; /* a literal address is the only result of one */
    uv_timer_t delay;                /* until the next attempt */
    struct list attempts;            /* in progress */
    int turn;                        /* the family of the next attempt */
    int error;                       /* of the last failure */
};

struct attempt {
    struct list node;
    uv_tcp_t tcp;
    uv_connect_t request;
    struct transport_conn *conn;
};

static void try_next(struct transport_conn *conn);

static void dial_attempt_closed(uv_handle_t *handle)
{
    struct attempt *attempt = handle->data;
    struct transport_conn *conn = attempt->conn;
    free(attempt);
    transport_conn_release(conn);
}

static void close_attempt(struct attempt *attempt)
{
    list_remove(&attempt->node);
    uv_close((uv_handle_t *)&attempt->tcp, dial_attempt_closed);
}

static void dial_delay_closed(uv_handle_t *handle)
{
    transport_conn_release(handle->data);
}

/* Ends what is in progress; the connection is open or closed now. */
static void dial_stop(struct transport_conn *conn)
{
    struct transport_dial *dial = conn->dial;
    while (!list_empty(&dial->attempts))
        close_attempt(list_first(&dial->attempts, struct attempt, node));
    for (int family = 0; family < FAMILIES; family++)
        name_lookup_cancel(dial->lookups[family].pending);
    uv_close((uv_handle_t *)&dial->delay, dial_delay_closed);
    conn->stop_dial = NULL;
}

/* Gives the connection the attempt's socket: handles cannot move, descriptors can. */
static int take_socket(struct transport_conn *conn, const struct attempt *attempt)
{
    uv_os_fd_t fd;
    int rv = uv_fileno((const uv_handle_t *)&attempt->tcp, &fd);
    if (rv < 0)
        return rv;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return -errno;
    uv_tcp_init(conn->timer.loop, &conn->io.tcp);
    conn->io.handle.data = conn;
    conn->io_open = true;
    conn->holds++;
    rv = uv_tcp_open(&conn->io.tcp, copy);
    if (rv < 0)
        close(copy);
    return rv;
}

static void dial_attempt_done(uv_connect_t *request, int status)
{
    struct attempt *attempt = request->data;
    struct transport_conn *conn = attempt->conn;
    if (conn->state != TRANSPORT_CONNECTING || status == -ECANCELED)
        return;
    if (status < 0) {
        conn->dial->error = status;
        close_attempt(attempt);
        try_next(conn);
        return;
    }
    int rv = take_socket(conn, attempt);
    dial_stop(conn);
    if (rv < 0)
        transport_conn_fail(conn, rv, uv_strerror(rv));
    else
        transport_conn_start(conn);
}

/* 0, or a negative errno when the address fails at once. */
static int start_attempt(struct transport_conn *conn, const union endpoint *to)
{
    struct attempt *attempt = calloc(1, sizeof *attempt);
    if (attempt == NULL)
        return -ENOMEM;
    uv_tcp_init(conn->timer.loop, &attempt->tcp);
    attempt->tcp.data = attempt;
    attempt->request.data = attempt;
    attempt->conn = conn;
    list_append(&conn->dial->attempts, &attempt->node);
    conn->holds++;
    int rv = transport_tcp_open(&attempt->tcp, to->sa.sa_family, conn->fwmark);
    if (rv == 0)
        rv = uv_tcp_connect(&attempt->request, &attempt->tcp, &to->sa, dial_attempt_done);
    if (rv < 0)
        close_attempt(attempt);
    return rv;
}

/* The next address that was not tried, the families in turn; NULL when there is none now. */
static const union endpoint *next_address(struct transport_dial *dial)
{
    for (int i = 0; i < FAMILIES; i++) {
        struct lookup *lookup = &dial->lookups[(dial->turn + i) % FAMILIES];
        if (lookup->tried == lookup->count)
            continue;
        dial->turn = (dial->turn + i + 1) % FAMILIES;
        return &lookup->found[lookup->tried++];
    }
    return NULL;
}

static bool is_looking_up(const struct transport_dial *dial)
{
    return dial->lookups[V6].pending != NULL || dial->lookups[V4].pending != NULL;
}

static void dial_delay_over(uv_timer_t *timer)
{
    try_next(timer->data);
}

/* Begins with the next address; fails when none is left to wait for. */
static void try_next(struct transport_conn *conn)
{
    struct transport_dial *dial = conn->dial;
    const union endpoint *to;
    while ((to = next_address(dial)) != NULL) {
        conn->state = TRANSPORT_CONNECTING;
        int rv = start_attempt(conn, to);
        if (rv == 0) {
            uv_timer_start(&dial->delay, dial_delay_over, ATTEMPT_DELAY_MS, 0);
            return;
        }
        dial->error = rv;
    }
    uv_timer_stop(&dial->delay);
    if (!list_empty(&dial->attempts) || is_looking_up(dial))
        return;
    bool found = endpoint_is_set(&conn->address->endpoint) ||
                 dial->lookups[V6].count + dial->lookups[V4].count > 0;
    transport_conn_fail(conn, dial->error,
                        found ? uv_strerror(dial->error) : "the name cannot be resolved");
}

static void take_addresses(struct lookup *lookup, const struct addrinfo *at)
{
    uint16_t port = lookup->conn->address->port;
    for (; at != NULL && lookup->count < ADDRESSES_MAX; at = at->ai_next) {
        union endpoint *to = &lookup->found[lookup->count];
        if (at->ai_addrlen > sizeof *to)
            continue;
        memcpy(to, at->ai_addr, at->ai_addrlen);
        if (to->sa.sa_family == AF_INET6)
            to->in6.sin6_port = htons(port);
        else
            to->in.sin_port = htons(port);
        lookup->count++;
    }
}

static void dial_resolved(void *ctx, int status, const struct addrinfo *found)
{
    struct lookup *lookup = ctx;
    struct transport_conn *conn = lookup->conn;
    struct transport_dial *dial = conn->dial;
    lookup->pending = NULL;
    if (status != 0 && dial->error == 0)
        dial->error = -EADDRNOTAVAIL;
    take_addresses(lookup, found);
    if (lookup == &dial->lookups[V4] && lookup->count > 0 && dial->lookups[V6].pending != NULL)
        uv_timer_start(&dial->delay, dial_delay_over, RESOLUTION_DELAY_MS, 0);
    else if (list_empty(&dial->attempts) || !uv_is_active((uv_handle_t *)&dial->delay))
        try_next(conn);
}

static int look_up(struct transport_conn *conn, int which, int family)
{
    struct lookup *lookup = &conn->dial->lookups[which];
    return name_lookup_start(&lookup->pending, conn->timer.loop, conn->address->host, family,
                             dial_resolved, lookup);
}

static void dial_pipe_done(uv_connect_t *request, int status)
{
    struct transport_conn *conn = request->data;
    if (conn->state == TRANSPORT_CONNECTING && status < 0)
        transport_conn_fail(conn, status, uv_strerror(status));
    else if (conn->state == TRANSPORT_CONNECTING)
        transport_conn_start(conn);
    transport_conn_release(conn);
}

static int dial_pipe(struct transport_conn *conn)
{
    conn->dial = calloc(1, sizeof *conn->dial);
    if (conn->dial == NULL)
        return -ENOMEM;
    conn->state = TRANSPORT_CONNECTING;
    conn->dial->pipe.data = conn;
    uv_pipe_init(conn->timer.loop, &conn->io.pipe, 0);
    conn->io.handle.data = conn;
    conn->io_open = true;
    conn->holds += 2;
    uv_pipe_connect(&conn->dial->pipe, &conn->io.pipe, conn->address->path, dial_pipe_done);
    return 0;
}

static int dial_tcp(struct transport_conn *conn)
{
    struct transport_dial *dial = calloc(1, sizeof *dial);
    if (dial == NULL)
        return -ENOMEM;
    conn->dial = dial;
    conn->stop_dial = dial_stop;
    list_init(&dial->attempts);
    uv_timer_init(conn->timer.loop, &dial->delay);
    dial->delay.data = conn;
    conn->holds++;
    dial->lookups[V6].conn = conn;
    dial->lookups[V4].conn = conn;
    if (!endpoint_is_set(&conn->address->endpoint)) {
        conn->state = TRANSPORT_RESOLVING;
        int rv = look_up(conn, V6, AF_INET6);
        return rv < 0 ? rv : look_up(conn, V4, AF_INET);
    }
    conn->state = TRANSPORT_CONNECTING;
    return start_attempt(conn, &conn->address->endpoint);
}

int transport_dial(struct transport_conn **out, uv_loop_t *loop,
                   const struct transport_options *options, const struct transport_events *events,
                   void *ctx, struct err *err)
{
    char at[ADDRESS_TEXT];
    int rv = 0;
    struct transport_conn *conn = transport_conn_create(loop, options);
    if (conn == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    conn->kind = options->address->kind;
    conn->address = malloc(sizeof *conn->address);
    if (conn->address == NULL)
        rv = -ENOMEM;
    else
        *conn->address = *options->address;
    if (rv == 0)
        rv = conn->kind == ADDRESS_UNIX ? dial_pipe(conn) : dial_tcp(conn);
    if (rv < 0) {
        transport_conn_shut(conn);
        return err_set(err, rv, "%s: %s", address_format(options->address, at), uv_strerror(rv));
    }
    conn->events = events;
    conn->ctx = ctx;
    *out = conn;
    return 0;
}
