#include "dns/server_forward.h"

#include "base/bytes.h"
#include "base/list.h"
#include "dns/relay.h"
#include "dns/stub.h"
#include "dns/upstream.h"

#include <errno.h>
#include <string.h>

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

/* What the client gets; `message` is NULL when there is no answer. */
static size_t make_response(const struct forward *forward, const uint8_t *message, size_t len,
                            uint8_t *out)
{
    if (message == NULL)
        return answer_error(&forward->query, DNS_SERVFAIL, true, out);
    if (forward->forwarder->stub == NULL)
        return relay_response(&forward->query, forward->transport, message, len, out,
                              DNS_MESSAGE_MAX);
    memcpy(out, message, len);
    store_be16(out, forward->query.id);
    return len;
}

static void finish(struct forward *forward, const uint8_t *message, size_t len)
{
    uint8_t *out = forward->forwarder->scratch;
    take_out(forward);
    size_t out_len = make_response(forward, message, len, out);
    forward->done(forward, out, out_len);
}

static void cancel_asked(struct forward *forward)
{
    if (forward->asked != NULL)
        upstream_cancel(forward->asked);
    if (forward->asked_stub != NULL)
        stub_cancel(forward->asked_stub);
    forward->asked = NULL;
    forward->asked_stub = NULL;
}

static void fail(struct forward *forward)
{
    cancel_asked(forward);
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
    forwarder->stub = NULL;
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
    if (forwarder->count < FORWARD_PER_CLIENT || forwarder->stub != NULL) /* one host alone asks */
        return false;
    list_for_each (at, &forwarder->waiting) {
        same += ip_addr_equal(&container_of(at, struct forward, link)->client, client);
    }
    return same >= FORWARD_PER_CLIENT;
}

void forwarder_set_stub(struct forwarder *forwarder, struct stub *stub)
{
    forwarder->stub = stub;
}

static int ask(struct forwarder *forwarder, struct forward *forward, const uint8_t *message,
               size_t len)
{
    forward->asked = NULL;
    forward->asked_stub = NULL;
    if (forwarder->stub != NULL)
        return stub_ask(forwarder->stub, &forward->query, message, len, forward->transport,
                        on_answer, forward, &forward->asked_stub);
    return upstream_ask(forwarder->upstream, &forward->query, on_answer, forward, &forward->asked);
}

int forward_start(struct forwarder *forwarder, struct forward *forward, const uint8_t *message,
                  size_t len)
{
    if (client_has_too_many(forwarder, &forward->client))
        return -EBUSY;
    forward->forwarder = forwarder;
    forward->deadline = uv_now(forwarder->timer.loop) + FORWARD_TIMEOUT_MS;
    int rc = ask(forwarder, forward, message, len);
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
    cancel_asked(forward);
    take_out(forward);
    arm(forward->forwarder);
}
