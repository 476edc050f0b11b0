#include "dns/stub.h"

#include "base/list.h"
#include "dns/exchange.h"
#include "dns/zone.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A query for the overlay goes to the nodes. Once none of them has answered in time they are away:
 * from then on such queries are answered from memory at once, while one of them at a time goes on
 * to the nodes as a probe, whose answer ends this. Memory is what nodes answered before, the newest
 * REMEMBERED_MAX questions, and the zone of what is known anyway. */

enum {
    DNS_PORT = 53,
    OUTSTANDING_MAX = 1024,
    PATIENCE_MS = 1000, /* with a resolver of the host, before the next one is asked too */
    LIMIT_MS = 3400,    /* with the nodes' limit, within the time that the server gives a query */
    NODE_PATIENCE_MS = 250,
    NODE_LIMIT_MS = 900,
    REMEMBERED_MAX = 512,
    REMEMBERED_LEN = DNS_UDP_PLAIN, /* fits every client */
};

struct remembered {
    struct list link; /* oldest first */
    struct dns_name name;
    uint16_t type;
    bool edns;
    size_t len;
    uint8_t message[];
};

struct stub {
    struct uv_loop_s *loop;
    struct zone *known;
    union endpoint nodes[STUB_SERVERS_MAX];
    size_t node_count;
    union endpoint resolvers[STUB_SERVERS_MAX];
    size_t resolver_count;
    bool nodes_away;
    struct exchange *probe;
    struct dns_query probe_query;
    struct dns_name outer_name; /* len 0: none */
    uint32_t outer_mark;
    struct list queries;
    size_t outstanding;
    struct list memory;
    size_t remembered;
};

struct stub_query {
    struct list link;
    struct stub *stub;
    struct exchange *exchange;
    struct dns_query query;
    enum dns_transport transport;
    void (*done)(void *arg, const uint8_t *message, size_t len);
    void *arg;
    size_t len;
    uint8_t message[];
};

/* ---- memory ---- */

static struct remembered *find_remembered(const struct stub *stub, const struct dns_query *query)
{
    list_for_each (at, &stub->memory) {
        struct remembered *entry = container_of(at, struct remembered, link);
        if (entry->type == query->type && entry->edns == query->edns &&
            dns_name_equal(&entry->name, &query->name))
            return entry;
    }
    return NULL;
}

static void forget(struct stub *stub, struct remembered *entry)
{
    list_remove(&entry->link);
    stub->remembered--;
    free(entry);
}

/* Positive answers are kept; a denial ends what was known. */
static void remember(struct stub *stub, const struct dns_query *query, const uint8_t *message,
                     size_t len)
{
    struct remembered *former = find_remembered(stub, query);
    bool positive = (message[3] & 0xf) == DNS_NOERROR && message[6] + message[7] > 0;
    if (former != NULL)
        forget(stub, former);
    struct remembered *entry =
        positive && len <= REMEMBERED_LEN ? calloc(1, sizeof *entry + len) : NULL;
    if (entry == NULL)
        return;
    entry->name = query->name;
    entry->type = query->type;
    entry->edns = query->edns;
    entry->len = len;
    memcpy(entry->message, message, len);
    list_append(&stub->memory, &entry->link);
    if (++stub->remembered > REMEMBERED_MAX)
        forget(stub, list_first(&stub->memory, struct remembered, link));
}

/* ---- the nodes ---- */

/* Whether a node has answered. One that has no zone, or is no DNS server of ours, has not. */
static bool is_from_node(const uint8_t *message, size_t len)
{
    uint8_t rcode = len > 3 ? message[3] & 0xf : DNS_SERVFAIL;
    return message != NULL && rcode != DNS_SERVFAIL && rcode != DNS_REFUSED;
}

static int ask_nodes(struct stub *stub, const uint8_t *message, size_t len,
                     enum dns_transport transport,
                     void (*done)(void *arg, const uint8_t *message, size_t len), void *arg,
                     struct exchange **out)
{
    const struct exchange_options options = {.servers = stub->nodes,
                                             .count = stub->node_count,
                                             .tcp = transport == DNS_TCP,
                                             .patience = NODE_PATIENCE_MS,
                                             .limit = NODE_LIMIT_MS};
    return exchange_start(out, stub->loop, &options, message, len, done, arg);
}

static void on_probe_answer(void *arg, const uint8_t *message, size_t len)
{
    struct stub *stub = arg;
    stub->probe = NULL;
    if (!is_from_node(message, len))
        return;
    stub->nodes_away = false;
    remember(stub, &stub->probe_query, message, len);
}

static void probe_nodes(struct stub *stub, const struct dns_query *query, const uint8_t *message,
                        size_t len)
{
    if (stub->probe != NULL)
        return;
    stub->probe_query = *query;
    if (ask_nodes(stub, message, len, DNS_UDP, on_probe_answer, stub, &stub->probe) < 0)
        stub->probe = NULL;
}

/* ---- queries ---- */

static void query_free(struct stub_query *query)
{
    list_remove(&query->link);
    query->stub->outstanding--;
    free(query);
}

static void finish(struct stub_query *query, const uint8_t *message, size_t len)
{
    void (*done)(void *, const uint8_t *, size_t) = query->done;
    void *arg = query->arg;
    query_free(query);
    done(arg, message, len);
}

static void answer_from_memory(struct stub_query *query)
{
    const struct stub *stub = query->stub;
    const struct remembered *entry = find_remembered(stub, &query->query);
    if (entry != NULL) {
        uint8_t copy[REMEMBERED_LEN];
        size_t len = entry->len;
        memcpy(copy, entry->message, len);
        finish(query, copy, len);
        return;
    }
    struct answer_context context = {
        .zone = stub->known, .transport = query->transport, .recursion = true};
    struct dns_query parsed;
    uint8_t out[DNS_MESSAGE_MAX];
    size_t len = 0;
    bool answered = answer_query(&context, query->message, query->len, &parsed, out, sizeof out,
                                 &len) == ANSWER_REPLY;
    finish(query, answered ? out : NULL, len);
}

static void on_node_answer(void *arg, const uint8_t *message, size_t len)
{
    struct stub_query *query = arg;
    struct stub *stub = query->stub;
    query->exchange = NULL;
    if (!is_from_node(message, len)) {
        stub->nodes_away = true;
        answer_from_memory(query);
        return;
    }
    stub->nodes_away = false;
    remember(stub, &query->query, message, len);
    finish(query, message, len);
}

static void on_known(void *arg, const uint8_t *message, size_t len)
{
    struct stub_query *query = arg;
    (void)message;
    (void)len;
    query->exchange = NULL;
    answer_from_memory(query);
}

static void on_last_answer(void *arg, const uint8_t *message, size_t len)
{
    struct stub_query *query = arg;
    query->exchange = NULL;
    finish(query, message, len);
}

/* A host without a resolver that answers still has the nodes, which resolve for the network. */
static void on_resolver_answer(void *arg, const uint8_t *message, size_t len)
{
    struct stub_query *query = arg;
    struct stub *stub = query->stub;
    query->exchange = NULL;
    if (message != NULL || stub->nodes_away || stub->node_count == 0 ||
        ask_nodes(stub, query->message, query->len, query->transport, on_last_answer, query,
                  &query->exchange) < 0)
        finish(query, message, len);
}

enum route { TO_RESOLVERS, TO_NODES, FROM_MEMORY };

/* The domain itself has no hosts and may be a name of the rest of the world. One label is a host of
 * the overlay where that is known without asking, as the search domain would find it; nodes are not
 * asked, because such names are often those of the host's own network. */
static enum route route_of(const struct stub *stub, const struct dns_name *name)
{
    struct zone_match match;
    if (stub->known == NULL)
        return TO_RESOLVERS;
    zone_find(stub->known, name, &match);
    if ((size_t)name->bytes[0] + 2 >= name->len)
        return match.records != NULL ? FROM_MEMORY : TO_RESOLVERS;
    bool is_domain = match.apex == 0 && match.ptr_count == 0 && match.kind == ZONE_FOUND;
    return match.kind == ZONE_FOREIGN || is_domain ? TO_RESOLVERS : TO_NODES;
}

static int ask_resolvers(struct stub_query *query)
{
    struct stub *stub = query->stub;
    bool outer = stub->outer_name.len != 0 && dns_name_equal(&stub->outer_name, &query->query.name);
    const struct exchange_options options = {.servers = stub->resolvers,
                                             .count = stub->resolver_count,
                                             .tcp = query->transport == DNS_TCP,
                                             .mark = outer ? stub->outer_mark : 0,
                                             .patience = PATIENCE_MS,
                                             .limit = LIMIT_MS};
    return exchange_start(&query->exchange, stub->loop, &options, query->message, query->len,
                          on_resolver_answer, query);
}

static int ask_memory(struct stub_query *query)
{
    static const struct exchange_options nobody = {.count = 0};
    return exchange_start(&query->exchange, query->stub->loop, &nobody, query->message, query->len,
                          on_known, query);
}

static int ask_overlay(struct stub_query *query)
{
    struct stub *stub = query->stub;
    if (!stub->nodes_away && stub->node_count > 0)
        return ask_nodes(stub, query->message, query->len, query->transport, on_node_answer, query,
                         &query->exchange);
    probe_nodes(stub, &query->query, query->message, query->len);
    return ask_memory(query);
}

static int ask(struct stub_query *query)
{
    switch (route_of(query->stub, &query->query.name)) {
    case TO_RESOLVERS:
        return ask_resolvers(query);
    case TO_NODES:
        return ask_overlay(query);
    case FROM_MEMORY:
        return ask_memory(query);
    }
    return -EINVAL;
}

int stub_ask(struct stub *stub, const struct dns_query *query, const uint8_t *message, size_t len,
             enum dns_transport transport,
             void (*done)(void *arg, const uint8_t *message, size_t len), void *arg,
             struct stub_query **out)
{
    if (stub->outstanding >= OUTSTANDING_MAX)
        return -EBUSY;
    struct stub_query *asked = calloc(1, sizeof *asked + len);
    if (asked == NULL)
        return -ENOMEM;
    asked->stub = stub;
    asked->query = *query;
    asked->transport = transport;
    asked->done = done;
    asked->arg = arg;
    asked->len = len;
    memcpy(asked->message, message, len);
    list_append(&stub->queries, &asked->link);
    stub->outstanding++;
    int rc = ask(asked);
    if (rc < 0)
        query_free(asked);
    else
        *out = asked;
    return rc;
}

void stub_cancel(struct stub_query *query)
{
    exchange_cancel(query->exchange);
    query_free(query);
}

/* ---- its life ---- */

int stub_create(struct stub **out, struct uv_loop_s *loop)
{
    struct stub *stub = calloc(1, sizeof *stub);
    if (stub == NULL)
        return -ENOMEM;
    stub->loop = loop;
    list_init(&stub->queries);
    list_init(&stub->memory);
    *out = stub;
    return 0;
}

void stub_destroy(struct stub *stub)
{
    if (stub == NULL)
        return;
    list_for_each_safe (at, &stub->queries) {
        stub_cancel(container_of(at, struct stub_query, link));
    }
    list_for_each_safe (at, &stub->memory) {
        forget(stub, container_of(at, struct remembered, link));
    }
    exchange_cancel(stub->probe);
    zone_put(stub->known);
    free(stub);
}

void stub_set_overlay(struct stub *stub, struct zone *known, const struct ip_addr *nodes,
                      size_t count)
{
    struct zone *former = stub->known;
    stub->known = known != NULL ? zone_ref(known) : NULL;
    zone_put(former);
    stub->node_count = count < STUB_SERVERS_MAX ? count : STUB_SERVERS_MAX;
    for (size_t i = 0; i < stub->node_count; i++)
        endpoint_from_addr(&stub->nodes[i], &nodes[i], DNS_PORT);
    stub->nodes_away = false;
}

void stub_set_resolvers(struct stub *stub, const union endpoint *servers, size_t count)
{
    stub->resolver_count = count < STUB_SERVERS_MAX ? count : STUB_SERVERS_MAX;
    if (stub->resolver_count > 0)
        memcpy(stub->resolvers, servers, stub->resolver_count * sizeof servers[0]);
}

void stub_set_outer_name(struct stub *stub, const char *name, uint32_t mark)
{
    stub->outer_mark = mark;
    if (name == NULL || !dns_name_from_text(&stub->outer_name, name))
        stub->outer_name.len = 0;
}
