/* A DNS server with a zone from its arguments, for tests over real sockets. Prints "ready" when it
 * listens. SIGTERM ends it. SIGHUP swaps in a zone with the --later hosts and moves to the
 * --move-to address. */
#include "base/err.h"
#include "dns/server.h"
#include "dns/stub.h"
#include "dns/upstream.h"
#include "dns/zone.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { LIST_MAX = 8, HOSTS_MAX = 4096 };

struct options {
    union endpoint listen[LIST_MAX];
    size_t listen_count;
    union endpoint move_to;
    union endpoint upstreams[LIST_MAX];
    size_t upstream_count;
    struct ip_prefix recursion[LIST_MAX];
    size_t recursion_count;
    struct ip_prefix networks[LIST_MAX];
    size_t network_count;
    const char *hosts[HOSTS_MAX];
    size_t host_count;
    const char *later;
    const char *srv;
    const char *domain;
    size_t many; /* addresses of the host "many", and hosts hN */
    const char *tls_name;
    const char *tls_bundle;
    struct ip_addr
        nodes[LIST_MAX]; /* with any, the server is a stub and --upstream its resolvers */
    size_t node_count;
};

struct program {
    struct options options;
    struct dns_server *server;
    struct upstream *upstream;
    struct stub *stub;
    uv_signal_t term;
    uv_signal_t hup;
};

static void die(const char *what)
{
    fprintf(stderr, "dns_test_server: %s\n", what);
    exit(1);
}

static void add_host(struct zone_builder *builder, const char *text)
{
    char name[256];
    struct ip_addr addr;
    const char *equals = strchr(text, '=');
    if (equals == NULL || (size_t)(equals - text) >= sizeof name)
        die(text);
    memcpy(name, text, (size_t)(equals - text));
    name[equals - text] = '\0';
    if (!ip_addr_parse(&addr, equals + 1) || zone_builder_add_host(builder, name, &addr) < 0)
        die(text);
}

static void add_many(struct zone_builder *builder, size_t count)
{
    struct ip_addr addr;
    char name[32];
    ip_addr_parse(&addr, "10.60.0.1");
    for (size_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, "h%zu", i);
        if (zone_builder_add_host(builder, name, &addr) < 0 ||
            (i < 1000 && zone_builder_add_host(builder, "many", &addr) < 0))
            die(name);
        ip_addr_add(&addr, 1);
    }
}

static struct zone *make_zone(const struct options *options, bool later)
{
    struct zone_config config = {.domain = options->domain,
                                 .ns = "router",
                                 .serial = later ? 8 : 7,
                                 .ttl = 30,
                                 .negative_ttl = 5};
    struct zone_builder *builder = zone_builder_create(&config);
    if (builder == NULL)
        die("zone");
    for (size_t i = 0; i < options->host_count; i++)
        add_host(builder, options->hosts[i]);
    for (size_t i = 0; i < options->network_count; i++)
        zone_builder_add_network(builder, &options->networks[i]);
    if (options->srv != NULL)
        zone_builder_add_srv(builder, options->srv, 1, 2, 9000, "router");
    if (later && options->later != NULL)
        add_host(builder, options->later);
    add_many(builder, options->many);
    return zone_build(builder);
}

static void set_zone(struct program *program, bool later)
{
    struct zone *zone = make_zone(&program->options, later);
    dns_server_set_zone(program->server, zone);
    zone_put(zone);
}

static void on_term(uv_signal_t *handle, int number)
{
    struct program *program = handle->data;
    (void)number;
    dns_server_destroy(program->server);
    upstream_destroy(program->upstream);
    stub_destroy(program->stub);
    uv_close((uv_handle_t *)&program->term, NULL);
    uv_close((uv_handle_t *)&program->hup, NULL);
}

static void on_hup(uv_signal_t *handle, int number)
{
    struct program *program = handle->data;
    struct err err;
    (void)number;
    set_zone(program, true);
    if (endpoint_is_set(&program->options.move_to) &&
        dns_server_listen(program->server, &program->options.move_to, 1, &err) < 0)
        die(err.text);
}

static void parse_endpoint(union endpoint *out, const char *text)
{
    if (!endpoint_parse(out, text))
        die(text);
}

static void parse_prefix(struct ip_prefix *list, size_t *count, const char *text)
{
    if (*count >= LIST_MAX || !ip_prefix_parse(&list[(*count)++], text))
        die(text);
}

static void parse_options(struct options *options, int argc, char **argv)
{
    static const struct option names[] = {
        {"listen", 1, NULL, 'l'},  {"upstream", 1, NULL, 'u'}, {"recursion", 1, NULL, 'r'},
        {"network", 1, NULL, 'n'}, {"host", 1, NULL, 'h'},     {"later", 1, NULL, 'L'},
        {"move-to", 1, NULL, 'M'}, {"srv", 1, NULL, 's'},      {"domain", 1, NULL, 'd'},
        {"many", 1, NULL, 'm'},    {"tls-name", 1, NULL, 't'}, {"tls-bundle", 1, NULL, 'b'},
        {"node", 1, NULL, 'N'},    {NULL, 0, NULL, 0},
    };
    uint64_t number;
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (c) {
        case 'l':
            parse_endpoint(&options->listen[options->listen_count++ % LIST_MAX], optarg);
            break;
        case 'u':
            parse_endpoint(&options->upstreams[options->upstream_count++ % LIST_MAX], optarg);
            break;
        case 'r':
            parse_prefix(options->recursion, &options->recursion_count, optarg);
            break;
        case 'n':
            parse_prefix(options->networks, &options->network_count, optarg);
            break;
        case 'h':
            options->hosts[options->host_count++ % HOSTS_MAX] = optarg;
            break;
        case 'L':
            options->later = optarg;
            break;
        case 'M':
            parse_endpoint(&options->move_to, optarg);
            break;
        case 's':
            options->srv = optarg;
            break;
        case 'd':
            options->domain = optarg;
            break;
        case 'm':
            if (!parse_number(&number, optarg, 0, 1000000))
                die(optarg);
            options->many = (size_t)number;
            break;
        case 't':
            options->tls_name = optarg;
            break;
        case 'N':
            if (!ip_addr_parse(&options->nodes[options->node_count++ % LIST_MAX], optarg))
                die(optarg);
            break;
        case 'b':
            options->tls_bundle = optarg;
            break;
        default:
            die("option");
        }
    }
}

static void start_stub(struct program *program, uv_loop_t *loop)
{
    const struct options *options = &program->options;
    struct zone *zone = make_zone(options, false);
    if (stub_create(&program->stub, loop) < 0)
        die("memory");
    stub_set_overlay(program->stub, zone, options->nodes, options->node_count);
    stub_set_resolvers(program->stub, options->upstreams, options->upstream_count);
    dns_server_set_stub(program->server, program->stub);
    zone_put(zone);
}

static void start(struct program *program, uv_loop_t *loop)
{
    const struct options *options = &program->options;
    struct err err;
    struct upstream_config config = {.servers = options->upstreams,
                                     .server_count = options->upstream_count,
                                     .tls_name = options->tls_name,
                                     .tls_bundle = options->tls_bundle};
    if (dns_server_create(&program->server, loop) < 0)
        die("memory");
    if (options->node_count > 0)
        start_stub(program, loop);
    else if (config.server_count > 0 &&
             upstream_create(&program->upstream, loop, &config, &err) < 0)
        die(err.text);
    dns_server_set_upstream(program->server, program->upstream);
    if (dns_server_set_recursion(program->server, options->recursion, options->recursion_count) < 0)
        die("memory");
    if (options->node_count == 0)
        set_zone(program, false);
    if (dns_server_listen(program->server, options->listen, options->listen_count, &err) < 0)
        die(err.text);
    uv_signal_init(loop, &program->term);
    uv_signal_init(loop, &program->hup);
    program->term.data = program;
    program->hup.data = program;
    uv_signal_start(&program->term, on_term, SIGTERM);
    uv_signal_start(&program->hup, on_hup, SIGHUP);
}

int main(int argc, char **argv)
{
    static struct program program = {.options.domain = "heimdall"};
    uv_loop_t loop;
    parse_options(&program.options, argc, argv);
    uv_loop_init(&loop);
    start(&program, &loop);
    printf("ready\n");
    fflush(stdout);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) == 0 ? 0 : 3;
}
