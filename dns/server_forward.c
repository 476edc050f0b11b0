#include "dns/server_forward.h"

#include "base/list.h"
#include "dns/relay.h"
#include "dns/upstream.h"

#include <errno.h>

static void on_timer(uv_timer_t *timer);

/* All queries wait equally long, so that the first of the list expires first. */
static void arm(struct forwarder *forwarder)
{
    if (list_empty(&forwarder->waiting)) {
        uv_timer_stop(&forwarder->timer);
        return;
    }
    uint64_t now = uv_now(forwarder->timer.loop);
    uint64_t deadline = list_first(&forwarder->waiting, struct forward, link)->deadline;
    uv_timer_start(&forwarder->timer, on_timer, deadline > now ? deadline - now : 0, 0);
}

static void take_out(struct forward *forward)
{
    list_remove(&forward->link);
    forward->forwarder->count--;
}

static void finish(struct forward *forward, const uint8_t *message, size_t len)
{
    struct forwarder *forwarder = forward->forwarder;
    uint8_t *out = forwarder->scratch;
    take_out(forward);
    size_t out_len = message != NULL ? relay_response(&forward->query, forward->transport, message,
                                                      len, out, DNS_MESSAGE_MAX)
                                     : answer_error(&forward->query, DNS_SERVFAIL, true, out);
    forward->done(forward, out, out_len);
}

static void fail(struct forward *forward)
{
    upstream_cancel(forward->asked);
    finish(forward, NULL, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct forwarder *forwarder = timer->data;
    uint64_t now = uv_now(timer->loop);
    while (!list_empty(&forwarder->waiting)) {
        struct forward *oldest = list_first(&forwarder->waiting, struct forward, link);
        if (oldest->deadline > now)
            break;
        fail(oldest);
    }
    arm(forwarder);
}

static void on_answer(void *arg, const uint8_t *message, size_t len)
{
    struct forward *forward = arg;
    struct forwarder *forwarder = forward->forwarder;
    finish(forward, message, len);
    arm(forwarder);
}

void forwarder_init(struct forwarder *forwarder, uv_loop_t *loop, uint8_t *scratch)
{
    forwarder->upstream = NULL;
    forwarder->scratch = scratch;
    forwarder->count = 0;
    list_init(&forwarder->waiting);
    uv_timer_init(loop, &forwarder->timer);
    forwarder->timer.data = forwarder;
}

void forwarder_set_upstream(struct forwarder *forwarder, struct upstream *upstream)
{
    if (forwarder->upstream == upstream)
        return;
    /* first, so that a `done` that asks again asks the new upstream */
    forwarder->upstream = upstream;
    struct list former;
    list_init(&former);
    while (!list_empty(&forwarder->waiting)) {
        struct forward *forward = list_first(&forwarder->waiting, struct forward, link);
        list_remove(&forward->link);
        list_append(&former, &forward->link);
    }
    while (!list_empty(&former))
        fail(list_first(&former, struct forward, link));
    arm(forwarder);
}

static bool client_has_too_many(const struct forwarder *forwarder, const struct ip_addr *client)
{
    size_t same = 0;
    if (forwarder->count < FORWARD_PER_CLIENT)
        return false;
    list_for_each (at, &forwarder->waiting) {
        same += ip_addr_equal(&container_of(at, struct forward, link)->client, client);
    }
    return same >= FORWARD_PER_CLIENT;
}

int forward_start(struct forwarder *forwarder, struct forward *forward)
{
    if (client_has_too_many(forwarder, &forward->client))
        return -EBUSY;
    forward->forwarder = forwarder;
    forward->deadline = uv_now(forwarder->timer.loop) + FORWARD_TIMEOUT_MS;
    int rc =
        upstream_ask(forwarder->upstream, &forward->query, on_answer, forward, &forward->asked);
    if (rc < 0)
        return rc;
    bool first = list_empty(&forwarder->waiting);
    list_append(&forwarder->waiting, &forward->link);
    forwarder->count++;
    if (first)
        arm(forwarder);
    return 0;
}

void forward_cancel(struct forward *forward)
{
    upstream_cancel(forward->asked);
    take_out(forward);
    arm(forward->forwarder);
}
