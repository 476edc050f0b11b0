#include "wg/path/queue.h"

#include "tests/unit.h"

#include <pthread.h>
#include <string.h>

static struct queue *queue;

static void setup(void)
{
    ck_assert_int_eq(queue_create(&queue), 0);
}

static void teardown(void)
{
    queue_destroy(queue);
}

START_TEST(limits_are_kept)
{
    uint8_t bytes[WG_HANDSHAKE_MAX + 1] = {7};
    struct wg_endpoint from = {.ifindex = 3};
    ck_assert_ptr_null(queue_front(queue));
    ck_assert(!queue_push(queue, bytes, sizeof bytes, &from));
    for (size_t i = 0; i < QUEUE_LIMIT; i++)
        ck_assert(queue_push(queue, bytes, WG_HANDSHAKE_MAX, &from));
    ck_assert(!queue_push(queue, bytes, 1, &from));
    ck_assert_uint_eq(queue_len(queue), QUEUE_LIMIT);
    const struct queue_message *message = queue_front(queue);
    ck_assert_uint_eq(message->len, WG_HANDSHAKE_MAX);
    ck_assert_uint_eq(message->from.ifindex, 3);
    ck_assert_uint_eq(message->bytes[0], 7);
    queue_pop(queue);
    ck_assert(queue_push(queue, bytes, 1, &from));
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
        struct wg_endpoint from = {.ifindex = i};
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
    tcase_add_test(tc, order_and_content_hold_between_threads);
    return unit_run(tc);
}
