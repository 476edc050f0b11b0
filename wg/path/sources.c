#include "wg/path/sources.h"

#include "base/clock.h"
#include "base/log.h"
#include "tun/ifconf.h"
#include "tun/route_watch.h"

#include <string.h>

enum { A_STEP = 16 }; /* questions to the kernel: some 10 us each */

#define REST_MIN (50 * NS_PER_MS)

void refusals_init(struct refusals *refusals)
{
    pthread_mutex_init(&refusals->lock, NULL);
    atomic_init(&refusals->pending, false);
}

void refusals_fini(struct refusals *refusals)
{
    pthread_mutex_destroy(&refusals->lock);
}

void refusals_note(struct refusals *refusals, const struct wg_endpoint *endpoint)
{
    pthread_mutex_lock(&refusals->lock);
    refusals->endpoint = *endpoint;
    atomic_store(&refusals->pending, true);
    pthread_mutex_unlock(&refusals->lock);
}

bool refusals_take(struct refusals *refusals, struct wg_endpoint *out)
{
    if (!atomic_load(&refusals->pending))
        return false;
    pthread_mutex_lock(&refusals->lock);
    *out = refusals->endpoint;
    atomic_store(&refusals->pending, false);
    pthread_mutex_unlock(&refusals->lock);
    return true;
}

static bool is_other(void *ctx, const struct wg_endpoint *endpoint)
{
    const struct wg_endpoint *refused = ctx;
    return !endpoint_equal(&endpoint->remote, &refused->remote) ||
           !ip_addr_equal(&endpoint->source, &refused->source);
}

void sources_drop(struct wg_device *dev, const struct wg_endpoint *refused)
{
    struct wg_endpoint copy = *refused;
    wg_device_review_sources(dev, is_other, &copy);
    log_debug("source address refused by the kernel, dropped");
}

/* ---- routes ---- */

void sources_init(struct sources *sources)
{
    *sources = (struct sources){0};
    int rc = ifconf_open(&sources->conf);
    if (rc == 0)
        rc = route_watch_open(&sources->watch, false);
    if (rc != 0)
        log_debug("cannot watch the routes", F_STR("error", strerror(-rc)));
}

static void end_review(struct sources *sources)
{
    wg_sources_free(sources->list, sources->count);
    sources->list = NULL;
    sources->count = 0;
}

void sources_fini(struct sources *sources)
{
    end_review(sources);
    route_watch_close(sources->watch);
    ifconf_close(sources->conf);
    *sources = (struct sources){0};
}

int sources_fd(const struct sources *sources, uint64_t boot_ns)
{
    bool rests = boot_ns < sources->rest_until || sources->list != NULL;
    return sources->watch == NULL || rests ? -1 : route_watch_fd(sources->watch);
}

uint64_t sources_deadline(const struct sources *sources, uint64_t boot_ns)
{
    return boot_ns < sources->rest_until ? sources->rest_until : WG_NEVER;
}

/* Whether the source is still ours and routes out where the peer's packets come in. */
static bool fits(struct sources *sources, const struct wg_endpoint *endpoint, uint32_t fwmark)
{
    struct ip_addr remote;
    struct ifconf_way way;
    endpoint_addr(&endpoint->remote, &remote);
    bool ipv6 = remote.family == 6;
    if (ipv6 && endpoint->remote.in6.sin6_scope_id != 0)
        return true; /* no route decides there; a refusal covers the rest */
    /* For IPv6 the kernel answers for addresses that are not here, too. */
    if (ipv6 &&
        (ifconf_way_get(sources->conf, &endpoint->source, NULL, 0, &way) != 0 || !way.local))
        return false;
    return ifconf_way_get(sources->conf, &remote, &endpoint->source, fwmark, &way) == 0 &&
           (way.local || way.ifindex == endpoint->ifindex);
}

void sources_begin(struct sources *sources, struct wg_device *dev)
{
    if (!route_watch_read(sources->watch))
        return;
    end_review(sources);
    if (wg_device_sources(dev, &sources->list, &sources->count) != 0)
        return;
    sources->next = 0;
    sources->spent_ns = 0;
    sources->dropped = 0;
}

bool sources_step(struct sources *sources, uint32_t fwmark)
{
    if (sources->list == NULL)
        return false;
    uint64_t begin = clock_boottime_ns();
    for (int i = 0; i < A_STEP && sources->next < sources->count; i++) {
        const struct wg_source *source = &sources->list[sources->next++];
        if (fits(sources, &source->endpoint, fwmark))
            continue;
        wg_source_drop(source);
        sources->dropped++;
    }
    uint64_t end = clock_boottime_ns();
    sources->spent_ns += end - begin;
    if (sources->next < sources->count)
        return true;
    uint64_t rest = 10 * sources->spent_ns;
    sources->rest_until = end + (rest < REST_MIN ? REST_MIN : rest);
    log_debug("routes changed", F_INT("sources_dropped", sources->dropped));
    end_review(sources);
    return false;
}
