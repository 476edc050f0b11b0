#include "wg/endpoint.h"

#include "tests/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static struct wg_endpoint make(const char *remote, const char *source, uint32_t ifindex)
{
    struct wg_endpoint endpoint;
    memset(&endpoint, 0, sizeof endpoint);
    ck_assert(endpoint_parse(&endpoint.remote, remote));
    if (source != NULL)
        ck_assert(ip_addr_parse(&endpoint.source, source));
    endpoint.ifindex = ifindex;
    return endpoint;
}

/* All endpoints differ, so a packet from each is followed. */
static const struct {
    const char *remote;
    const char *source;
    uint32_t ifindex;
} rows[] = {
    {"192.0.2.1:1", "10.0.0.1", 1},     {"192.0.2.1:2", "10.0.0.1", 1},
    {"192.0.2.2:1", "10.0.0.1", 1},     {"192.0.2.1:1", "10.0.0.2", 1},
    {"192.0.2.1:1", "10.0.0.1", 2},     {"192.0.2.1:1", NULL, 0},
    {"[fe80::1%1]:1", "fe80::9", 1},    {"[fe80::1%2]:1", "fe80::9", 1},
    {"[2001:db8::1]:1", "fe80::9", 1},  {"[2001:db8::1]:1", "fe80::8", 1},
    {"[2001:db8::1]:1", "10.0.0.1", 1},
};

START_TEST(any_difference_counts)
{
    struct endpoint_slot slot;
    memset(&slot, 0, sizeof slot);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct wg_endpoint held = make(rows[i].remote, rows[i].source, rows[i].ifindex);
        endpoint_slot_store(&slot, &held);
        for (size_t j = 0; j < ARRAY_LEN(rows); j++) {
            struct wg_endpoint other = make(rows[j].remote, rows[j].source, rows[j].ifindex);
            ck_assert_msg(endpoint_slot_holds(&slot, &other) == (i == j), "%zu and %zu", i, j);
        }
    }
}
END_TEST

START_TEST(what_was_stored_is_loaded)
{
    struct endpoint_slot slot;
    struct wg_endpoint out;
    memset(&slot, 0, sizeof slot);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct wg_endpoint held = make(rows[i].remote, rows[i].source, rows[i].ifindex);
        endpoint_slot_store(&slot, &held);
        endpoint_slot_load(&slot, &out);
        ck_assert_mem_eq(&out, &held, sizeof out);
    }
}
END_TEST

static struct endpoint_slot shared;
static struct wg_endpoint loaded;
static atomic_bool has_loaded;

static void *load(void *unused)
{
    endpoint_slot_load(&shared, &loaded);
    atomic_store(&has_loaded, true);
    return unused;
}

/* A writer is interrupted in the middle: no reader gets half of its write. */
START_TEST(readers_wait_for_a_writer)
{
    pthread_t thread;
    struct wg_endpoint first = make("192.0.2.1:1", "10.0.0.1", 1);
    struct wg_endpoint second = make("192.0.2.2:2", "10.0.0.2", 2);
    endpoint_slot_store(&shared, &first);
    atomic_fetch_add(&shared.sequence, 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, load, NULL), 0);
    usleep(20000);
    ck_assert(!atomic_load(&has_loaded));
    atomic_fetch_sub(&shared.sequence, 1);
    endpoint_slot_store(&shared, &second);
    pthread_join(thread, NULL);
    ck_assert(endpoint_slot_holds(&shared, &second));
    ck_assert_mem_eq(&loaded, loaded.ifindex == 1 ? &first : &second, sizeof loaded);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("endpoint");
    tcase_add_test(tc, any_difference_counts);
    tcase_add_test(tc, what_was_stored_is_loaded);
    tcase_add_test(tc, readers_wait_for_a_writer);
    return unit_run(tc);
}
