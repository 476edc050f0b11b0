#include "dns/exchange.h"

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/list.h"
#include "dns/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

/* Each server that was asked is an attempt with a socket of its own, connected, so that a closed
 * port is reported at once and only the server's own address may answer. Attempts stay open until
 * the exchange ends. The timer asks the next server, and ends the exchange at its limit. */

struct exchange {
    uv_loop_t *loop;
    uv_timer_t timer;
    struct list attempts;
    union endpoint servers[EXCHANGE_SERVERS_MAX];
    size_t count;
    size_t asked; /* of the servers */
    size_t open;  /* attempts that may still answer */
    bool tcp;
    uint32_t mark;
    unsigned patience;
    uint64_t deadline; /* ms of the loop's clock */
    uint8_t *refusal;  /* the last answer that was not taken */
    size_t refusal_len;
    void (*done)(void *arg, const uint8_t *message, size_t len);
    void *arg;
    size_t query_len;
    uint8_t query[]; /* behind two octets of length */
};

struct attempt {
    struct list link;
    struct exchange *exchange; /* NULL once closed */
    int fd;
    uv_poll_t poll;
    bool sent;
    struct buffer in; /* TCP */
};

static void ask_next(struct exchange *exchange);

static void on_attempt_closed(uv_handle_t *handle)
{
    struct attempt *attempt = handle->data;
    close(attempt->fd);
    buffer_fini(&attempt->in);
    free(attempt);
}

static void attempt_close(struct attempt *attempt)
{
    if (attempt->exchange == NULL)
        return;
    attempt->exchange->open--;
    attempt->exchange = NULL;
    list_remove(&attempt->link);
    uv_close((uv_handle_t *)&attempt->poll, on_attempt_closed);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct exchange *exchange = handle->data;
    free(exchange->refusal);
    free(exchange);
}

void exchange_cancel(struct exchange *exchange)
{
    if (exchange == NULL)
        return;
    list_for_each_safe (at, &exchange->attempts) {
        attempt_close(container_of(at, struct attempt, link));
    }
    uv_close((uv_handle_t *)&exchange->timer, on_timer_closed);
}

static void finish(struct exchange *exchange, const uint8_t *message, size_t len)
{
    void (*done)(void *, const uint8_t *, size_t) = exchange->done;
    void *arg = exchange->arg;
    exchange_cancel(exchange); /* its memory lives until the loop's next turn */
    done(arg, message, len);
}

/* Asks the next server after a failure, or ends when there is none left to wait for. */
static void go_on(struct exchange *exchange)
{
    if (exchange->asked < exchange->count)
        ask_next(exchange);
    else if (exchange->open == 0)
        finish(exchange, exchange->refusal, exchange->refusal_len);
}

static void attempt_fail(struct attempt *attempt)
{
    struct exchange *exchange = attempt->exchange;
    attempt_close(attempt);
    go_on(exchange);
}

/* Whether this is an answer to the query, with the same question in any case of letters. */
static bool is_answer(const struct exchange *exchange, const uint8_t *message, size_t len)
{
    const uint8_t *query = exchange->query + 2;
    struct dns_name asked;
    struct dns_name named;
    size_t at = DNS_HEADER_LEN;
    size_t from = DNS_HEADER_LEN;
    if (len < DNS_HEADER_LEN || memcmp(message, query, 2) != 0 || (message[2] & 0x80) == 0)
        return false;
    if (load_be16(message + 4) == 0) /* FORMERR may come without a question */
        return (message[3] & 0xf) != DNS_NOERROR;
    return dns_name_read(&asked, query, exchange->query_len, &from) &&
           dns_name_read(&named, message, len, &at) && dns_name_equal(&asked, &named) &&
           len - at >= 4 && exchange->query_len - from >= 4 &&
           memcmp(message + at, query + from, 4) == 0;
}

/* Of several servers, libc takes none of these answers while another one may know more. */
static bool is_refusal(uint8_t rcode)
{
    return rcode == DNS_SERVFAIL || rcode == DNS_REFUSED || rcode == DNS_NOTIMP;
}

static void take(struct attempt *attempt, const uint8_t *message, size_t len)
{
    struct exchange *exchange = attempt->exchange;
    if (!is_answer(exchange, message, len))
        return;
    if (!is_refusal(message[3] & 0xf)) {
        finish(exchange, message, len);
        return;
    }
    uint8_t *copy = malloc(len);
    if (copy != NULL) {
        memcpy(copy, message, len);
        free(exchange->refusal);
        exchange->refusal = copy;
        exchange->refusal_len = len;
    }
    attempt_fail(attempt);
}

static void read_udp(struct attempt *attempt)
{
    uint8_t message[DNS_MESSAGE_MAX];
    ssize_t len = recv(attempt->fd, message, sizeof message, MSG_DONTWAIT);
    if (len >= 0)
        take(attempt, message, (size_t)len);
    else if (errno != EAGAIN && errno != EINTR)
        attempt_fail(attempt);
}

static void read_tcp(struct attempt *attempt)
{
    uint8_t *room = buffer_reserve(&attempt->in, 4096);
    ssize_t len = room != NULL ? recv(attempt->fd, room, 4096, MSG_DONTWAIT) : 0;
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len <= 0) {
        attempt_fail(attempt);
        return;
    }
    buffer_commit(&attempt->in, (size_t)len);
    const uint8_t *bytes = buffer_data(&attempt->in);
    size_t have = buffer_len(&attempt->in);
    if (have >= 2 && have - 2 >= load_be16(bytes))
        take(attempt, bytes + 2, load_be16(bytes));
}

static void on_event(uv_poll_t *poll, int status, int events);

/* The connection is made: sends the query. */
static void send_tcp(struct attempt *attempt)
{
    const struct exchange *exchange = attempt->exchange;
    size_t len = exchange->query_len + 2;
    attempt->sent = true;
    if (send(attempt->fd, exchange->query, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len)
        attempt_fail(attempt);
    else
        uv_poll_start(&attempt->poll, UV_READABLE, on_event);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct attempt *attempt = poll->data;
    (void)events;
    if (status < 0)
        attempt_fail(attempt);
    else if (!attempt->exchange->tcp)
        read_udp(attempt);
    else if (!attempt->sent)
        send_tcp(attempt);
    else
        read_tcp(attempt);
}

static int open_socket(const struct exchange *exchange, const union endpoint *server)
{
    int type = exchange->tcp ? SOCK_STREAM : SOCK_DGRAM;
    int fd = socket(server->sa.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (exchange->mark != 0) /* without the right to it, the host's routes decide */
        (void)setsockopt(fd, SOL_SOCKET, SO_MARK, &exchange->mark, sizeof exchange->mark);
    int rc = connect(fd, &server->sa, endpoint_len(server));
    if (rc < 0 && errno == EINPROGRESS)
        rc = 0;
    if (rc == 0 && !exchange->tcp &&
        send(fd, exchange->query + 2, exchange->query_len, MSG_NOSIGNAL) < 0)
        rc = -1;
    if (rc == 0)
        return fd;
    rc = -errno;
    close(fd);
    return rc;
}

/* False when the server cannot be asked at all. */
static bool attempt_start(struct exchange *exchange, const union endpoint *server)
{
    struct attempt *attempt = calloc(1, sizeof *attempt);
    int fd = attempt != NULL ? open_socket(exchange, server) : -ENOMEM;
    if (fd < 0 || uv_poll_init(exchange->loop, &attempt->poll, fd) < 0) {
        if (fd >= 0)
            close(fd);
        free(attempt);
        return false;
    }
    attempt->fd = fd;
    attempt->exchange = exchange;
    attempt->poll.data = attempt;
    buffer_init(&attempt->in);
    list_append(&exchange->attempts, &attempt->link);
    exchange->open++;
    uv_poll_start(&attempt->poll, exchange->tcp ? UV_WRITABLE : UV_READABLE, on_event);
    return true;
}

static void on_timer(uv_timer_t *timer)
{
    struct exchange *exchange = timer->data;
    if (uv_now(exchange->loop) >= exchange->deadline)
        finish(exchange, exchange->refusal, exchange->refusal_len);
    else
        ask_next(exchange);
}

/* Asks the next server that can be asked. The timer is due when it has been silent for too long. */
static void ask_next(struct exchange *exchange)
{
    bool started = false;
    while (!started && exchange->asked < exchange->count)
        started = attempt_start(exchange, &exchange->servers[exchange->asked++]);
    uint64_t now = uv_now(exchange->loop);
    uint64_t left = exchange->deadline > now ? exchange->deadline - now : 0;
    if (exchange->asked < exchange->count && exchange->patience < left)
        left = exchange->patience;
    if (exchange->open == 0) /* nobody can be asked */
        exchange->deadline = now, left = 0;
    uv_timer_start(&exchange->timer, on_timer, left, 0);
}

int exchange_start(struct exchange **out, struct uv_loop_s *loop,
                   const struct exchange_options *options, const uint8_t *query, size_t len,
                   void (*done)(void *arg, const uint8_t *message, size_t len), void *arg)
{
    if (len < DNS_HEADER_LEN || len > DNS_MESSAGE_MAX || options->count > EXCHANGE_SERVERS_MAX)
        return -EINVAL;
    struct exchange *exchange = calloc(1, sizeof *exchange + 2 + len);
    if (exchange == NULL)
        return -ENOMEM;
    exchange->loop = loop;
    exchange->tcp = options->tcp;
    exchange->mark = options->mark;
    exchange->patience = options->patience;
    exchange->deadline = uv_now(loop) + options->limit;
    exchange->done = done;
    exchange->arg = arg;
    if (options->count > 0)
        memcpy(exchange->servers, options->servers, options->count * sizeof options->servers[0]);
    exchange->count = options->count;
    exchange->query_len = len;
    store_be16(exchange->query, (uint16_t)len);
    memcpy(exchange->query + 2, query, len);
    if (getrandom(exchange->query + 2, 2, GRND_NONBLOCK) != 2)
        memcpy(exchange->query + 2, query, 2); /* the kernel's port alone is random then */
    list_init(&exchange->attempts);
    uv_timer_init(loop, &exchange->timer);
    exchange->timer.data = exchange;
    ask_next(exchange);
    *out = exchange;
    return 0;
}
