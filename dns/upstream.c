#include "dns/upstream.h"

#include "base/bytes.h"
#include "base/err.h"
#include "base/list.h"
#include "dns/exchange.h"
#include "dns/tls_relay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unbound.h>
#include <uv.h>

/* libunbound resolves in a thread of its own and makes a descriptor readable when answers wait.
 * ub_process then calls back on the loop's thread, which alone touches the structures below. */

enum {
    OUTSTANDING_DEFAULT = 512,
    DNS_PORT = 53,
    DOT_PORT = 853,
    AGAIN_PATIENCE_MS = 300,
    AGAIN_LIMIT_MS = 1000,
    QUERY_MAX = DNS_HEADER_LEN + DNS_NAME_MAX + 4 + 11, /* with an OPT record */
};

struct upstream {
    struct ub_ctx *ctx;
    uv_loop_t *loop;
    struct tls_relay *relays[UPSTREAM_SERVERS_MAX]; /* for DNS over TLS, else NULL */
    union endpoint plain[UPSTREAM_SERVERS_MAX];     /* the servers without TLS */
    size_t plain_count;
    uv_poll_t poll;
    struct list queries;
    size_t outstanding;
    size_t outstanding_max;
    bool closing;
};

struct upstream_query {
    struct list link;
    struct upstream *upstream;
    int id; /* libunbound's */
    struct exchange *again;
    struct dns_query query;
    void (*done)(void *arg, const uint8_t *message, size_t len);
    void *arg;
};

/* No validation: a client that wants it asks with DO and validates itself. A host's own resolver is
 * often on the loopback and serves names of the LAN. */
static const struct option {
    const char *name;
    const char *value;
} options[] = {
    {"module-config:", "iterator"},
    {"do-not-query-localhost:", "no"},
    {"unblock-lan-zones:", "yes"},
    {"insecure-lan-zones:", "yes"},
    {"edns-buffer-size:", "1232"},
    {"msg-cache-size:", "2m"},
    {"rrset-cache-size:", "4m"},
    {"key-cache-size:", "64k"},
    {"neg-cache-size:", "64k"},
    /* retry a resolver that was away soon */
    {"infra-host-ttl:", "10"},
    {"infra-keep-probing:", "yes"},
    {"verbosity:", "0"},
};

/* Several queries share a connection. Each times out before its client gives up. */
static const struct option tls_options[] = {
    {"tcp-upstream:", "yes"},
    {"outgoing-num-tcp:", "8"},
    {"tcp-auth-query-timeout:", "3000"},
};

/* Zones that libunbound answers itself unless they are removed. The host's own resolvers may serve
 * any of them: RFC 6761, 6303, 7686, 8375, 9462, 9665. A zone that this library does not have is
 * ignored. */
static const char *const builtin_zones[] = {
    "localhost.",
    "invalid.",
    "test.",
    "onion.",
    "home.arpa.",
    "resolver.arpa.",
    "service.arpa.",
    "127.in-addr.arpa.",
    "0.in-addr.arpa.",
    "10.in-addr.arpa.",
    "168.192.in-addr.arpa.",
    "254.169.in-addr.arpa.",
    "2.0.192.in-addr.arpa.",
    "100.51.198.in-addr.arpa.",
    "113.0.203.in-addr.arpa.",
    "255.255.255.255.in-addr.arpa.",
    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.",
    "d.f.ip6.arpa.",
    "8.e.f.ip6.arpa.",
    "9.e.f.ip6.arpa.",
    "a.e.f.ip6.arpa.",
    "b.e.f.ip6.arpa.",
    "8.b.d.0.1.0.0.2.ip6.arpa.",
};

static int set_options(struct ub_ctx *ctx, const struct option *list, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++)
        if (ub_ctx_set_option(ctx, list[i].name, list[i].value) != 0)
            return err_set(err, -EINVAL, "libunbound does not take the option %s", list[i].name);
    return 0;
}

static union endpoint with_port(const union endpoint *server, uint16_t port)
{
    union endpoint whole = *server;
    if (endpoint_port(server) != 0)
        return whole;
    if (server->sa.sa_family == AF_INET6)
        whole.in6.sin6_port = htons(port);
    else
        whole.in.sin_port = htons(port);
    return whole;
}

static int add_server(struct ub_ctx *ctx, const union endpoint *server)
{
    struct ip_addr addr;
    char text[IP_ADDR_TEXT];
    char scope[16] = "";
    char full[IP_ADDR_TEXT + sizeof scope + 8];
    endpoint_addr(server, &addr);
    if (server->sa.sa_family == AF_INET6 && server->in6.sin6_scope_id != 0)
        snprintf(scope, sizeof scope, "%%%u", server->in6.sin6_scope_id);
    snprintf(full, sizeof full, "%s%s@%u", ip_addr_format(&addr, text), scope,
             endpoint_port(server));
    return ub_ctx_set_fwd(ctx, full) == 0 ? 0 : -EINVAL;
}

static int add_plain_servers(struct upstream *upstream, const struct upstream_config *config,
                             struct err *err)
{
    for (size_t i = 0; i < config->server_count; i++) {
        char text[ENDPOINT_TEXT];
        union endpoint server = with_port(&config->servers[i], DNS_PORT);
        if (add_server(upstream->ctx, &server) < 0)
            return err_set(err, -EINVAL, "%s cannot be used as upstream DNS server",
                           endpoint_format(&server, text));
        upstream->plain[upstream->plain_count++] = server;
    }
    return 0;
}

static int add_tls_servers(struct upstream *upstream, const struct upstream_config *config,
                           struct err *err)
{
    int rc =
        set_options(upstream->ctx, tls_options, sizeof tls_options / sizeof tls_options[0], err);
    for (size_t i = 0; i < config->server_count && rc == 0; i++) {
        struct tls_relay **relay = &upstream->relays[i];
        union endpoint server = with_port(&config->servers[i], DOT_PORT);
        rc = tls_relay_open(relay, upstream->loop, &server, config->tls_name, config->tls_bundle,
                            err);
        if (rc == 0 && add_server(upstream->ctx, tls_relay_address(*relay)) < 0)
            rc = err_set(err, -EINVAL, "libunbound does not take the relay for DNS over TLS");
    }
    return rc;
}

/* The library takes no more options after this. */
static int remove_builtin_zones(struct ub_ctx *ctx, struct err *err)
{
    char zone[32];
    int error = 0;
    for (size_t i = 0; i < sizeof builtin_zones / sizeof builtin_zones[0] && error == 0; i++)
        error = ub_ctx_zone_remove(ctx, builtin_zones[i]);
    for (int i = 16; i <= 31 && error == 0; i++) { /* 172.16.0.0/12 */
        snprintf(zone, sizeof zone, "%d.172.in-addr.arpa.", i);
        error = ub_ctx_zone_remove(ctx, zone);
    }
    for (int i = 64; i <= 127 && error == 0; i++) { /* 100.64.0.0/10 */
        snprintf(zone, sizeof zone, "%d.100.in-addr.arpa.", i);
        error = ub_ctx_zone_remove(ctx, zone);
    }
    return error == 0 ? 0
                      : err_set(err, -EINVAL, "libunbound keeps its built-in zones: %s",
                                ub_strerror(error));
}

static int configure(struct upstream *upstream, const struct upstream_config *config,
                     struct err *err)
{
    struct ub_ctx *ctx = upstream->ctx;
    /* libunbound's own messages would be unstructured lines in our log */
    ub_ctx_debugout(ctx, NULL);
    int rc = set_options(ctx, options, sizeof options / sizeof options[0], err);
    if (rc == 0)
        rc = config->tls_name != NULL ? add_tls_servers(upstream, config, err)
                                      : add_plain_servers(upstream, config, err);
    if (rc == 0 && ub_ctx_async(ctx, 1) != 0)
        rc = err_set(err, -EINVAL, "libunbound was built without threads");
    return rc == 0 ? remove_builtin_zones(ctx, err) : rc;
}

static void close_relays(struct upstream *upstream)
{
    for (size_t i = 0; i < UPSTREAM_SERVERS_MAX; i++)
        tls_relay_close(upstream->relays[i]);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct upstream *upstream = poll->data;
    (void)status;
    (void)events;
    ub_process(upstream->ctx);
}

int upstream_create(struct upstream **out, struct uv_loop_s *loop,
                    const struct upstream_config *config, struct err *err)
{
    struct upstream *upstream = calloc(1, sizeof *upstream);
    int rc = -ENOMEM;
    if (config->server_count == 0 || config->server_count > UPSTREAM_SERVERS_MAX) {
        free(upstream);
        return err_set(err, -EINVAL, "1 to %d upstream DNS servers", UPSTREAM_SERVERS_MAX);
    }
    if (upstream == NULL)
        return err_set(err, rc, "no memory for the upstream resolver");
    list_init(&upstream->queries);
    upstream->loop = loop;
    upstream->outstanding_max =
        config->outstanding_max != 0 ? config->outstanding_max : OUTSTANDING_DEFAULT;
    upstream->ctx = ub_ctx_create();
    if (upstream->ctx == NULL) {
        err_set(err, rc, "no memory for the upstream resolver");
        goto out_free;
    }
    rc = configure(upstream, config, err);
    if (rc < 0)
        goto out_ctx;
    rc = uv_poll_init(loop, &upstream->poll, ub_fd(upstream->ctx));
    if (rc < 0) {
        err_set_errno(err, rc, "the upstream resolver cannot be watched");
        goto out_ctx;
    }
    upstream->poll.data = upstream;
    uv_poll_start(&upstream->poll, UV_READABLE, on_readable);
    *out = upstream;
    return 0;
out_ctx:
    close_relays(upstream);
    ub_ctx_delete(upstream->ctx);
out_free:
    free(upstream);
    return rc;
}

static void on_closed(uv_handle_t *handle)
{
    struct upstream *upstream = handle->data;
    ub_ctx_delete(upstream->ctx);
    free(upstream);
}

void upstream_destroy(struct upstream *upstream)
{
    if (upstream == NULL)
        return;
    list_for_each_safe (at, &upstream->queries) {
        upstream_cancel(container_of(at, struct upstream_query, link));
    }
    upstream->closing = true;
    close_relays(upstream);
    uv_close((uv_handle_t *)&upstream->poll, on_closed);
}

static void query_free(struct upstream_query *query)
{
    list_remove(&query->link);
    query->upstream->outstanding--;
    free(query);
}

static void finish(struct upstream_query *query, const uint8_t *message, size_t len)
{
    void (*done)(void *, const uint8_t *, size_t) = query->done;
    void *arg = query->arg;
    query_free(query);
    done(arg, message, len);
}

static void on_second_answer(void *arg, const uint8_t *message, size_t len)
{
    struct upstream_query *query = arg;
    bool whole = message != NULL && (load_be16(message + 2) & DNS_FLAG_TC) == 0;
    query->again = NULL;
    finish(query, whole ? message : NULL, whole ? len : 0);
}

static size_t make_query(const struct dns_query *query, uint8_t out[QUERY_MAX])
{
    uint8_t *at = out + DNS_HEADER_LEN;
    memset(out, 0, QUERY_MAX);
    store_be16(out + 2, DNS_FLAG_RD);
    out[5] = out[11] = 1; /* a question, an OPT record */
    memcpy(at, query->name.bytes, query->name.len);
    at += query->name.len;
    store_be16(at, query->type);
    store_be16(at + 2, query->class);
    at += 5; /* the root owns OPT */
    store_be16(at, DNS_TYPE_OPT);
    store_be16(at + 2, DNS_UDP_EDNS);
    store_be16(at + 6, query->edns_do ? 0x8000 : 0);
    return (size_t)(at + 10 - out);
}

/* libunbound turns every refusal into SERVFAIL: asks the servers once more by hand for what they
 * say themselves. False when there is none to ask. */
static bool ask_again(struct upstream_query *query)
{
    struct upstream *upstream = query->upstream;
    uint8_t message[QUERY_MAX];
    const struct exchange_options how = {.servers = upstream->plain,
                                         .count = upstream->plain_count,
                                         .patience = AGAIN_PATIENCE_MS,
                                         .limit = AGAIN_LIMIT_MS};
    return upstream->plain_count > 0 && !upstream->closing &&
           exchange_start(&query->again, upstream->loop, &how, message,
                          make_query(&query->query, message), on_second_answer, query) == 0;
}

static void on_answer(void *arg, int error, struct ub_result *result)
{
    struct upstream_query *query = arg;
    const uint8_t *message = error == 0 ? result->answer_packet : NULL;
    size_t len = message != NULL && result->answer_len > 0 ? (size_t)result->answer_len : 0;
    bool failed = len < DNS_HEADER_LEN || (message[3] & 0xf) == DNS_SERVFAIL;
    if (!failed || !ask_again(query))
        finish(query, len > 0 ? message : NULL, len);
    ub_resolve_free(result);
}

int upstream_ask(struct upstream *upstream, const struct dns_query *query,
                 void (*done)(void *arg, const uint8_t *message, size_t len), void *arg,
                 struct upstream_query **out)
{
    char text[DNS_TEXT_MAX];
    if (upstream->closing || upstream->outstanding >= upstream->outstanding_max)
        return -EBUSY;
    struct upstream_query *asked = calloc(1, sizeof *asked);
    if (asked == NULL)
        return -ENOMEM;
    asked->upstream = upstream;
    asked->done = done;
    asked->arg = arg;
    asked->query = *query;
    list_append(&upstream->queries, &asked->link);
    upstream->outstanding++;
    int error = ub_resolve_async(upstream->ctx, dns_name_to_text(&query->name, text), query->type,
                                 query->class, asked, on_answer, &asked->id);
    if (error != 0) {
        query_free(asked);
        return error == UB_NOMEM ? -ENOMEM : -EIO;
    }
    *out = asked;
    return 0;
}

void upstream_cancel(struct upstream_query *query)
{
    if (query->again != NULL)
        exchange_cancel(query->again);
    else
        ub_cancel(query->upstream->ctx, query->id);
    query_free(query);
}
