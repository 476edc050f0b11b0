#include "wg/path/queue.h"

#include "base/bytes.h"
#include "tests/unit.h"

#include <pthread.h>
#include <string.h>

static struct queue *queue;

static void setup(void)
{
    ck_assert_int_eq(queue_create(&queue, 12345), 0);
}

static void teardown(void)
{
    queue_destroy(queue);
}

/* Source number `n`. */
static struct wg_endpoint source(uint32_t n)
{
    struct wg_endpoint from = {.ifindex = n};
    struct ip_addr addr = {.family = 4};
    store_be32(addr.bytes, 0x0a000000 + n);
    endpoint_from_addr(&from.remote, &addr, 51820);
    return from;
}

START_TEST(limits_are_kept)
{
    uint8_t bytes[WG_HANDSHAKE_MAX + 1] = {7};
    struct wg_endpoint from = source(3);
    size_t count = 0;
    ck_assert_ptr_null(queue_front(queue));
    ck_assert(!queue_push(queue, bytes, sizeof bytes, &from));
    ck_assert(queue_push(queue, bytes, WG_HANDSHAKE_MAX, &from));
    for (uint32_t i = 0; i < 100 * QUEUE_LIMIT; i++) {
        from = source(i);
        count += queue_push(queue, bytes, 1, &from);
    }
    ck_assert_uint_eq(count, QUEUE_LIMIT - 1);
    ck_assert_uint_eq(queue_len(queue), QUEUE_LIMIT);
    const struct queue_message *message = queue_front(queue);
    ck_assert_uint_eq(message->len, WG_HANDSHAKE_MAX);
    ck_assert_uint_eq(message->from.ifindex, 3);
    ck_assert_uint_eq(message->bytes[0], 7);
    while (queue_front(queue) != NULL)
        queue_pop(queue);
    ck_assert_uint_eq(queue_len(queue), 0);
    from = source(1);
    ck_assert(queue_push(queue, bytes, 1, &from));
}
END_TEST

START_TEST(initiations_are_counted)
{
    static const uint8_t types[] = {1, 2, 3, 1, 1};
    struct wg_endpoint from = source(1);
    for (size_t i = 0; i < sizeof types; i++)
        ck_assert(queue_push(queue, &types[i], 1, &from));
    ck_assert(queue_push(queue, types, 0, &from));
    ck_assert_uint_eq(queue_initiations(queue), 3);
    for (size_t i = 0; i < 4; i++)
        queue_pop(queue);
    ck_assert_uint_eq(queue_initiations(queue), 1);
}
END_TEST

/* One source that floods leaves room for all others; of IPv6, a source is a /64. */
START_TEST(a_source_has_a_share)
{
    uint8_t bytes[4] = {1};
    union endpoint ipv6;
    struct wg_endpoint from = source(1);
    size_t flood = 0;
    ck_assert(endpoint_parse(&ipv6, "[2001:db8::1]:7"));
    for (int i = 0; i < QUEUE_LIMIT; i++)
        flood += queue_push(queue, bytes, sizeof bytes, &from);
    ck_assert_uint_eq(flood, QUEUE_LIMIT / 2);
    for (uint32_t i = 2; i < 100; i++) {
        from = source(i);
        ck_assert(queue_push(queue, bytes, sizeof bytes, &from));
    }
    flood = 0;
    for (int i = 0; i < QUEUE_LIMIT; i++) {
        from.remote = ipv6;
        store_be32(from.remote.in6.sin6_addr.s6_addr + 12, (uint32_t)i);
        flood += queue_push(queue, bytes, sizeof bytes, &from);
    }
    ck_assert_uint_le(flood, QUEUE_LIMIT / 4);
    from = source(100);
    ck_assert(queue_push(queue, bytes, sizeof bytes, &from));
    for (int i = 0; i < 100; i++)
        queue_pop(queue);
    from = source(1);
    ck_assert(!queue_push(queue, bytes, sizeof bytes, &from)); /* it still has too many */
    while (queue_front(queue) != NULL)
        queue_pop(queue);
    ck_assert(queue_push(queue, bytes, sizeof bytes, &from));
}
END_TEST

enum { MESSAGES = 200000 };

static void *produce(void *arg)
{
    (void)arg;
    for (uint32_t i = 0; i < MESSAGES;) {
        uint8_t bytes[8];
        memcpy(bytes, &i, 4);
        memcpy(bytes + 4, &i, 4);
        struct wg_endpoint from = source(i);
        i += queue_push(queue, bytes, sizeof bytes, &from) ? 1 : 0;
    }
    return NULL;
}

START_TEST(order_and_content_hold_between_threads)
{
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, produce, NULL), 0);
    for (uint32_t i = 0; i < MESSAGES;) {
        const struct queue_message *message = queue_front(queue);
        if (message == NULL)
            continue;
        uint32_t a, b;
        memcpy(&a, message->bytes, 4);
        memcpy(&b, message->bytes + 4, 4);
        ck_assert_uint_eq(a, i);
        ck_assert_uint_eq(b, i);
        ck_assert_uint_eq(message->from.ifindex, i);
        queue_pop(queue);
        i++;
    }
    pthread_join(thread, NULL);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("queue");
    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, limits_are_kept);
    tcase_add_test(tc, initiations_are_counted);
    tcase_add_test(tc, a_source_has_a_share);
    tcase_add_test(tc, order_and_content_hold_between_threads);
    return unit_run(tc);
}
