#include "control/daemon/checkup.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/log_once.h"
#include "control/host/probe.h"
#include "control/host/tunnel.h"
#include "tun/nft_watch.h"

#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    REMOVAL_MS = 30,
    OWN_CHANGES = 2,   /* transactions of a run that tries to forward: its table comes and goes */
    LOOK_MS = 200,     /* from a change of rules to a look at it */
    CHANGES_MS = 4000, /* between runs because of changes */
    SOON_MS = 300,     /* after a change: rules that follow it are set by then */
    FRESH_MS = 5000,   /* results younger than this are as good as new */
    DNS_PORT = 53,
    ROUTES_MAX = 8,   /* published routes that are tried */
    SOURCES_MAX = 60, /* addresses that probes come from, in turn */
    CANDIDATES = 4,   /* addresses of a route that may be the host's own */
};

struct awaiting {
    struct list link;
    void (*done)(void *ctx);
    void *ctx;
};

struct checkup {
    struct checkup_options options;
    struct probe *probe;
    uv_timer_t *timer;       /* frees itself */
    struct nft_watch *watch; /* of changes that firewalls make; NULL: not watched */
    uv_poll_t *changes;      /* frees itself */
    uv_timer_t *look;        /* frees itself */
    uint32_t generation;     /* of all rules, as the last run leaves them */
    struct list awaiting;
    bool again; /* something changed during the run */
    bool running;
    bool confirming; /* the run before found something, which may have been a slow host */
    uint64_t ran_ns; /* boot time; 0: never */
    struct log_once blocked;
    unsigned turn;
    size_t count;
    struct report_probe results[PROBES_MAX];
    struct report_probe pending[PROBES_MAX]; /* what is being tried */
};

/* ---- what to try ---- */

static void decrement(struct ip_addr *addr)
{
    for (size_t at = ip_addr_len(addr); at > 0; at--)
        if (addr->bytes[at - 1]-- != 0)
            break;
}

/* The highest address of a network that is no broadcast address, less `n`. */
static struct ip_addr highest(const struct ip_prefix *network, unsigned n)
{
    struct ip_prefix masked = *network;
    ip_prefix_mask(&masked);
    struct ip_addr addr = masked.addr;
    unsigned bits = ip_addr_bits(&addr) - network->len;
    for (unsigned bit = 0; bit < bits; bit++)
        addr.bytes[ip_addr_len(&addr) - 1 - bit / 8] |= (uint8_t)(1U << bit % 8);
    for (unsigned i = 0; i < n + 1 && bits > 1; i++)
        decrement(&addr);
    return addr;
}

static bool is_own(const struct ifaddrs *own, const struct ip_addr *addr)
{
    for (; own != NULL; own = own->ifa_next) {
        struct ip_addr other = {.family = 0};
        if (own->ifa_addr != NULL && own->ifa_addr->sa_family == AF_INET)
            ip_addr_from_bytes(
                &other, 4,
                (const uint8_t *)&((struct sockaddr_in *)(void *)own->ifa_addr)->sin_addr);
        else if (own->ifa_addr != NULL && own->ifa_addr->sa_family == AF_INET6)
            ip_addr_from_bytes(
                &other, 6,
                (const uint8_t *)&((struct sockaddr_in6 *)(void *)own->ifa_addr)->sin6_addr);
        if (ip_addr_equal(&other, addr))
            return true;
    }
    return false;
}

/* An address behind a published route. A default route stands for the addresses that documents
 * use (RFC 5737, RFC 3849). */
static struct ip_addr behind(const struct ip_prefix *route, const struct ifaddrs *own)
{
    struct ip_addr addr;
    if (route->len == 0) {
        (void)ip_addr_parse(&addr, route->addr.family == 4 ? "192.0.2.1" : "2001:db8::1");
        return addr;
    }
    for (unsigned n = 0; n < CANDIDATES; n++) {
        addr = highest(route, n);
        if (!is_own(own, &addr))
            break;
    }
    return addr;
}

struct builder {
    const struct plan *plan;
    struct ip_prefix sources[2]; /* of IPv4 and IPv6: the end of the peer network */
    struct checkup *checkup;
    struct probe_target *targets;
    size_t count;
};

/* Probes come from an address that peers get last. */
static void add(struct builder *builder, enum report_probe_kind kind, enum probe_kind how,
                const struct ip_addr *to, const struct ip_prefix *network)
{
    const struct ip_prefix *peers = &builder->sources[to->family == 6];
    if (peers->addr.family == to->family && builder->count < PROBES_MAX) {
        unsigned room = 1U << (ip_addr_bits(to) - peers->len); /* 8 to 64 */
        unsigned turn = builder->checkup->turn++ % (room > SOURCES_MAX ? SOURCES_MAX : room - 3);
        builder->targets[builder->count] = (struct probe_target){
            .kind = how, .from = highest(peers, turn), .to = *to, .port = DNS_PORT};
        builder->checkup->pending[builder->count++] =
            (struct report_probe){.kind = kind, .to = *to, .network = *network};
    }
}

/* The last addresses of the peer networks, which peers get last. */
static void choose_sources(struct builder *builder)
{
    for (size_t i = 0; i < builder->plan->peer_network_count; i++) {
        const struct ip_prefix *peers = &builder->plan->peer_networks[i];
        struct ip_prefix *sources = &builder->sources[peers->addr.family == 6];
        unsigned bits = ip_addr_bits(&peers->addr);
        if (bits - peers->len < 3)
            continue;
        *sources = (struct ip_prefix){highest(peers, 0), (uint8_t)(bits - 6)};
        if (sources->len < peers->len)
            sources->len = peers->len;
        ip_prefix_mask(sources);
    }
}

static void add_dns(struct builder *builder)
{
    for (size_t i = 0; i < builder->plan->address_count; i++) {
        struct ip_prefix address = builder->plan->addresses[i];
        add(builder, REPORT_PROBE_DNS_UDP, PROBE_UDP, &address.addr, &address);
        add(builder, REPORT_PROBE_DNS_TCP, PROBE_TCP, &address.addr, &address);
    }
}

static void add_routes(struct builder *builder)
{
    const struct plan *plan = builder->plan;
    struct ifaddrs *own = NULL;
    (void)getifaddrs(&own);
    for (size_t i = 0; i < plan->own_route_count && i < ROUTES_MAX; i++) {
        struct ip_addr to = behind(&plan->own_routes[i], own);
        if (!is_own(own, &to))
            add(builder, REPORT_PROBE_FORWARD, PROBE_FORWARD, &to, &plan->own_routes[i]);
    }
    freeifaddrs(own);
    for (size_t i = 0; i < plan->peer_network_count && builder->checkup->options.peer_to_peer;
         i++) {
        struct ip_addr to = highest(&plan->peer_networks[i], 1);
        add(builder, REPORT_PROBE_FORWARD, PROBE_FORWARD, &to, &plan->peer_networks[i]);
    }
}

/* ---- runs ---- */

static enum report_probe_result result_of(enum probe_result result)
{
    switch (result) {
    case PROBE_UNKNOWN:
        break;
    case PROBE_PASSED:
        return REPORT_PROBE_PASSED;
    case PROBE_DROPPED:
        return REPORT_PROBE_DROPPED;
    case PROBE_REFUSED:
        return REPORT_PROBE_REFUSED;
    case PROBE_NO_ROUTE:
        return REPORT_PROBE_NO_ROUTE;
    }
    return REPORT_PROBE_UNKNOWN;
}

static void report_blocked(struct checkup *checkup)
{
    char text[IP_PREFIX_TEXT];
    bool blocked = false;
    for (size_t i = 0; i < checkup->count && tunnel_forwards(checkup->options.tunnel); i++) {
        const struct report_probe *probe = &checkup->results[i];
        if (probe->kind != REPORT_PROBE_FORWARD ||
            (probe->result != REPORT_PROBE_DROPPED && probe->result != REPORT_PROBE_REFUSED))
            continue;
        blocked = true;
        if (log_once(&checkup->blocked))
            log_warn("another firewall of this host does not forward the packets of peers: hctl "
                     "doctor has the remedy",
                     F_STR("network", ip_prefix_format(&probe->network, text)));
    }
    if (!blocked && log_once_reset(&checkup->blocked))
        log_info("this host's firewalls forward the packets of peers again");
}

static void release(struct checkup *checkup)
{
    list_for_each_safe (pos, &checkup->awaiting) {
        struct awaiting *awaiting = container_of(pos, struct awaiting, link);
        struct awaiting copy = *awaiting;
        list_remove(&awaiting->link);
        free(awaiting);
        copy.done(copy.ctx);
    }
}

static void start(struct checkup *checkup);

/* Whether a probe failed that is not known to fail. */
static bool is_news(const struct checkup *checkup, const struct probe_outcome *outcomes,
                    size_t count)
{
    for (size_t i = 0; i < count; i++) {
        enum report_probe_result result = result_of(outcomes[i].result);
        const struct report_probe *pending = &checkup->pending[i];
        bool known = false;
        for (size_t k = 0; k < checkup->count; k++)
            known = known || (checkup->results[k].kind == pending->kind &&
                              checkup->results[k].result == result &&
                              ip_addr_equal(&checkup->results[k].to, &pending->to));
        if (result != REPORT_PROBE_PASSED && result != REPORT_PROBE_UNKNOWN && !known)
            return true;
    }
    return false;
}

static void on_probed(void *ctx, const struct probe_outcome *outcomes, size_t count)
{
    struct checkup *checkup = ctx;
    checkup->running = false;
    if (!checkup->confirming && is_news(checkup, outcomes, count)) {
        checkup->confirming = true;
        start(checkup);
        return;
    }
    checkup->confirming = false;
    checkup->ran_ns = clock_boottime_ns();
    checkup->count = count;
    memcpy(checkup->results, checkup->pending, sizeof checkup->results);
    for (size_t i = 0; i < count; i++)
        checkup->results[i].result = result_of(outcomes[i].result);
    report_blocked(checkup);
    release(checkup);
    if (checkup->again)
        checkup_later(checkup);
}

static void on_checkup_timer(uv_timer_t *timer)
{
    start(timer->data);
}

static void start(struct checkup *checkup)
{
    struct probe_target targets[PROBES_MAX];
    struct builder builder = {
        .plan = tunnel_current(checkup->options.tunnel), .checkup = checkup, .targets = targets};
    if (checkup->running)
        return;
    choose_sources(&builder);
    if (checkup->options.serves_peers(checkup->options.ctx))
        add_dns(&builder);
    add_routes(&builder);
    (void)uv_timer_stop(checkup->timer);
    checkup->again = false;
    uint32_t generation;
    bool forwards = false;
    for (size_t i = 0; i < builder.count; i++)
        forwards = forwards || targets[i].kind == PROBE_FORWARD;
    if (nft_generation(&generation) == 0)
        checkup->generation = generation + (forwards ? OWN_CHANGES : 0);
    checkup->running =
        probe_start(checkup->probe, builder.sources, targets, builder.count,
                    tunnel_firewall_problem(checkup->options.tunnel) == NULL, on_probed, checkup);
    if (!checkup->running) /* the former run's table is being removed */
        (void)uv_timer_start(checkup->timer, on_checkup_timer, REMOVAL_MS, 0);
}

void checkup_later(struct checkup *checkup)
{
    if (checkup == NULL)
        return;
    checkup->again = checkup->running;
    if (!checkup->running)
        (void)uv_timer_start(checkup->timer, on_checkup_timer, SOON_MS, 0);
}

void checkup_refresh(struct checkup *checkup)
{
    if (checkup != NULL && clock_boottime_ns() - checkup->ran_ns >= FRESH_MS * NS_PER_MS)
        start(checkup);
}

void checkup_await(struct checkup *checkup, void (*done)(void *ctx), void *ctx)
{
    struct awaiting *awaiting = calloc(1, sizeof *awaiting);
    if (awaiting == NULL) {
        done(ctx);
        return;
    }
    *awaiting = (struct awaiting){.done = done, .ctx = ctx};
    list_append(&checkup->awaiting, &awaiting->link);
    start(checkup);
}

void checkup_forget(struct checkup *checkup, void *ctx)
{
    list_for_each_safe (pos, &checkup->awaiting) {
        struct awaiting *awaiting = container_of(pos, struct awaiting, link);
        if (awaiting->ctx != ctx)
            continue;
        list_remove(&awaiting->link);
        free(awaiting);
    }
}

const struct report_probe *checkup_results(const struct checkup *checkup, size_t *count)
{
    *count = checkup != NULL ? checkup->count : 0;
    return checkup != NULL ? checkup->results : NULL;
}

/* ---- changes of others ---- */

static void look_later(struct checkup *checkup);

/* Our own table comes and goes with each run, in one transaction each. What else was changed, also
 * meanwhile, is a reason to run again; but seldom where rules change all the time. */
static void on_look(uv_timer_t *timer)
{
    struct checkup *checkup = timer->data;
    uint64_t age_ms = (clock_boottime_ns() - checkup->ran_ns) / NS_PER_MS;
    uint32_t generation;
    if (checkup->running || probe_is_busy(checkup->probe)) {
        look_later(checkup);
        return;
    }
    if (nft_generation(&generation) < 0 || generation == checkup->generation ||
        uv_is_active((uv_handle_t *)checkup->timer))
        return;
    (void)uv_timer_start(checkup->timer, on_checkup_timer,
                         age_ms < CHANGES_MS ? CHANGES_MS - age_ms : SOON_MS, 0);
}

static void look_later(struct checkup *checkup)
{
    if (!uv_is_active((uv_handle_t *)checkup->look))
        (void)uv_timer_start(checkup->look, on_look, LOOK_MS, 0);
}

static void on_nft_changes(uv_poll_t *poll, int status, int events)
{
    struct checkup *checkup = poll->data;
    (void)status;
    (void)events;
    if (nft_watch_read(checkup->watch))
        look_later(checkup);
}

/* Without it, changes are seen when somebody asks. */
static void watch_changes(struct checkup *checkup)
{
    uv_poll_t *changes = calloc(1, sizeof *changes);
    uv_timer_t *look = calloc(1, sizeof *look);
    if (changes == NULL || look == NULL || nft_watch_open(&checkup->watch) < 0 ||
        uv_poll_init(checkup->options.loop, changes, nft_watch_fd(checkup->watch)) < 0) {
        nft_watch_close(checkup->watch);
        checkup->watch = NULL;
        free(changes);
        free(look);
        return;
    }
    (void)uv_timer_init(checkup->options.loop, look);
    look->data = checkup;
    checkup->look = look;
    changes->data = checkup;
    checkup->changes = changes;
    (void)uv_poll_start(changes, UV_READABLE, on_nft_changes);
}

/* ---- life ---- */

int checkup_open(struct checkup **out, const struct checkup_options *options)
{
    *out = NULL;
    struct checkup *checkup = calloc(1, sizeof *checkup);
    uv_timer_t *timer = calloc(1, sizeof *timer);
    int code = checkup == NULL || timer == NULL ? -ENOMEM : 0;
    if (code == 0)
        code = probe_open(&checkup->probe, options->loop, tunnel_path(options->tunnel),
                          options->interface_name);
    if (code < 0) {
        free(timer);
        free(checkup);
        return code;
    }
    checkup->options = *options;
    list_init(&checkup->awaiting);
    (void)uv_timer_init(options->loop, timer);
    timer->data = checkup;
    checkup->timer = timer;
    watch_changes(checkup);
    *out = checkup;
    return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    free(handle);
}

void checkup_close(struct checkup *checkup)
{
    if (checkup == NULL)
        return;
    probe_close(checkup->probe);
    uv_close((uv_handle_t *)checkup->timer, on_handle_closed);
    if (checkup->changes != NULL) {
        uv_close((uv_handle_t *)checkup->changes, on_handle_closed);
        uv_close((uv_handle_t *)checkup->look, on_handle_closed);
    }
    nft_watch_close(checkup->watch);
    release(checkup);
    free(checkup);
}
