#include "wg/allowedips.h"

#include "tests/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

/* ck_assert writes to a file each time it passes; this one only when it fails. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg("%s", #condition);                                                        \
    } while (0)

/* The linker routes the module's allocations here; see CMakeLists.txt. */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
static bool armed; /* within an insert: Check allocates too */
static long allocations;
static long fail_at = -1; /* counts down; the allocation at 0 fails */

void *__wrap_malloc(size_t size)
{
    if (armed) {
        allocations++;
        if (fail_at >= 0 && fail_at-- == 0)
            return NULL;
    }
    return __real_malloc(size);
}

struct wg_peer {
    struct list owned;
};

enum { PEERS = 5 };

static struct allowedips table;
static struct garbage garbage;
static struct wg_peer peers[PEERS];

static void begin(void)
{
    allowedips_init(&table);
    garbage_init(&garbage);
    fail_at = -1;
    for (int i = 0; i < PEERS; i++)
        list_init(&peers[i].owned);
}

static long free_garbage(void)
{
    long count = 0;
    for (struct garbage_item *item = garbage_take(&garbage); item != NULL; count++) {
        struct garbage_item *next = item->next;
        item->free(item);
        item = next;
    }
    return count;
}

static void end(void)
{
    free_garbage();
    allowedips_fini(&table);
}

static struct ip_prefix prefix(const char *text)
{
    struct ip_prefix out;
    REQUIRE(ip_prefix_parse(&out, text));
    return out;
}

static int try_insert(const struct ip_prefix *p, int peer)
{
    armed = true;
    int rc = allowedips_insert(&table, p, &peers[peer], &peers[peer].owned);
    armed = false;
    return rc;
}

static void insert(const char *text, int peer)
{
    struct ip_prefix p = prefix(text);
    REQUIRE(try_insert(&p, peer) == 0);
}

/* The owner's number, or -1. */
static int lookup(const char *text)
{
    struct ip_addr addr;
    ck_assert(ip_addr_parse(&addr, text));
    struct wg_peer *owner = allowedips_lookup(&table, addr.family, addr.bytes);
    return owner == NULL ? -1 : (int)(owner - peers);
}

static bool remove_one(const char *text, int peer)
{
    struct ip_prefix p = prefix(text);
    return allowedips_remove(&table, &p, &peers[peer], &garbage);
}

START_TEST(longest_match)
{
    static const struct {
        const char *addr;
        int owner;
    } expected[] = {
        {"10.0.0.0", 1},    {"10.1.0.0", 2},  {"10.1.2.0", 3},   {"10.1.2.3", 4},
        {"10.1.2.2", 3},    {"10.1.3.3", 2},  {"10.255.0.1", 1}, {"11.0.0.1", 0},
        {"9.255.1.2", 0},   {"128.0.0.1", 0}, {"fd00::1", 1},    {"fd00:0:0:1::1", 2},
        {"fd00::1:0:0", 1}, {"fd01::1", -1},  {"::1", -1},       {"fd00:0:0:1::2", 3},
        {"0.0.0.0", 0},     {"192.0.2.1", 0},
    };
    begin();
    insert("0.0.0.0/0", 0);
    insert("10.0.0.0/8", 1);
    insert("10.1.2.3/32", 4);
    insert("10.1.0.0/16", 2);
    insert("10.1.2.99/24", 3); /* masked */
    insert("fd00::/48", 1);
    insert("fd00:0:0:1::/64", 2);
    insert("fd00:0:0:1::2/128", 3);
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        ck_assert_msg(lookup(expected[i].addr) == expected[i].owner, "%s", expected[i].addr);
    ck_assert_uint_eq(table.count, 8);
    static const uint8_t bytes[16];
    ck_assert(allowedips_lookup(&table, 0, bytes) == NULL);
    end();
}
END_TEST

START_TEST(moves_and_removals)
{
    begin();
    insert("10.0.0.0/24", 0);
    insert("10.0.0.0/24", 0); /* again: no difference */
    ck_assert_uint_eq(table.count, 1);
    insert("10.0.0.128/25", 1);
    insert("10.0.0.0/24", 2); /* moves */
    ck_assert(list_empty(&peers[0].owned));
    ck_assert_uint_eq(table.count, 2);
    ck_assert_int_eq(lookup("10.0.0.1"), 2);
    ck_assert(!remove_one("10.0.0.0/24", 0)); /* no longer its own */
    ck_assert(!remove_one("10.0.0.0/25", 2)); /* no such prefix */
    ck_assert_int_eq(lookup("10.0.0.1"), 2);
    ck_assert(remove_one("10.0.0.0/24", 2));
    ck_assert(!remove_one("10.0.0.0/24", 2));
    ck_assert_int_eq(lookup("10.0.0.1"), -1);
    ck_assert_int_eq(lookup("10.0.0.129"), 1);
    allowedips_remove_all(&table, &peers[1].owned, &garbage);
    ck_assert_int_eq(lookup("10.0.0.129"), -1);
    ck_assert_uint_eq(table.count, 0);
    allowedips_remove_all(&table, &peers[1].owned, &garbage);
    end();
}
END_TEST

/* A branching node without an owner can get one, and keeps branching when it loses it. */
START_TEST(branch_owned_and_disowned)
{
    begin();
    insert("10.0.0.0/25", 0);
    insert("10.0.0.128/25", 1);
    struct ip_prefix parent = prefix("10.0.0.0/24");
    ck_assert(allowedips_owner(&table, &parent) == NULL);
    fail_at = 0; /* needs no memory */
    insert("10.0.0.0/24", 2);
    fail_at = -1;
    ck_assert(allowedips_owner(&table, &parent) == &peers[2]);
    ck_assert(remove_one("10.0.0.0/24", 2));
    ck_assert_int_eq(lookup("10.0.0.1"), 0);
    ck_assert_int_eq(lookup("10.0.0.129"), 1);
    end();
}
END_TEST

/* ---- against a table that is searched from end to end ---- */

enum { MODEL_MAX = 600 };

static struct {
    struct ip_prefix prefix;
    int owner;
} model[MODEL_MAX];
static size_t model_count;
static uint32_t random_state;

static uint32_t random_below(uint32_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % limit;
}

/* Few bits vary, spread over the address, so that prefixes nest and meet. */
static struct ip_addr random_addr(void)
{
    struct ip_addr addr = {.family = random_below(2) ? 4 : 6};
    size_t len = ip_addr_len(&addr);
    for (size_t i = 0; i < len; i++)
        addr.bytes[i] = random_below(3) ? 0 : (uint8_t)(random_below(4) * 0x55);
    return addr;
}

static struct ip_prefix random_prefix(void)
{
    struct ip_prefix p = {.addr = random_addr()};
    p.len = (uint8_t)random_below(ip_addr_bits(&p.addr) + 1u);
    ip_prefix_mask(&p);
    return p;
}

static size_t model_find(const struct ip_prefix *p)
{
    size_t i = 0;
    while (i < model_count && !ip_prefix_equal(&model[i].prefix, p))
        i++;
    return i;
}

static int model_lookup(const struct ip_addr *addr)
{
    int owner = -1;
    int longest = -1;
    for (size_t i = 0; i < model_count; i++) {
        if (model[i].prefix.len > longest && ip_prefix_contains(&model[i].prefix, addr)) {
            longest = model[i].prefix.len;
            owner = model[i].owner;
        }
    }
    return owner;
}

static void model_remove(size_t i)
{
    model[i] = model[--model_count];
}

static void insert_random(void)
{
    struct ip_prefix p = random_prefix();
    int owner = (int)random_below(PEERS);
    size_t i = model_find(&p);
    if (i == MODEL_MAX)
        return;
    REQUIRE(try_insert(&p, owner) == 0);
    model[i].prefix = p;
    model[i].owner = owner;
    model_count += (size_t)(i == model_count);
}

static void remove_random(void)
{
    struct ip_prefix p = model_count > 0 && random_below(4)
                             ? model[random_below((uint32_t)model_count)].prefix
                             : random_prefix();
    int owner = (int)random_below(PEERS);
    size_t i = model_find(&p);
    bool expected = i < model_count && model[i].owner == owner;
    REQUIRE(allowedips_remove(&table, &p, &peers[owner], &garbage) == expected);
    if (expected)
        model_remove(i);
}

static void remove_peer(int owner)
{
    allowedips_remove_all(&table, &peers[owner].owned, &garbage);
    for (size_t i = model_count; i-- > 0;)
        if (model[i].owner == owner)
            model_remove(i);
}

/* The lists hold exactly the model's prefixes, and the trie no more nodes than they need. */
static void check_whole(long nodes)
{
    size_t listed = 0;
    for (int owner = 0; owner < PEERS; owner++) {
        list_for_each (pos, &peers[owner].owned) {
            struct ip_prefix p;
            allowedips_prefix(pos, &p);
            size_t i = model_find(&p);
            REQUIRE(i < model_count && model[i].owner == owner);
            REQUIRE(allowedips_owner(&table, &p) == &peers[owner]);
            listed++;
        }
    }
    ck_assert_uint_eq(listed, model_count);
    ck_assert_uint_eq(table.count, model_count);
    ck_assert_int_le(nodes, model_count == 0 ? 0 : 2 * (long)model_count - 1);
}

START_TEST(against_brute_force)
{
    long nodes = 0;
    random_state = 1000 + (uint32_t)_i;
    model_count = 0;
    begin();
    for (int step = 0; step < 3000; step++) {
        long before = allocations;
        uint32_t what = random_below(1000);
        if (what < 600)
            insert_random();
        else if (what < 996)
            remove_random();
        else
            remove_peer((int)random_below(PEERS));
        nodes += allocations - before - free_garbage();
        for (int i = 0; i < 5; i++) {
            struct ip_addr addr = random_addr();
            struct wg_peer *owner = allowedips_lookup(&table, addr.family, addr.bytes);
            REQUIRE((owner == NULL ? -1 : (int)(owner - peers)) == model_lookup(&addr));
        }
        if (step % 100 == 0)
            check_whole(nodes);
    }
    for (int i = 0; i < PEERS; i++)
        remove_peer(i);
    nodes -= free_garbage();
    check_whole(nodes);
    ck_assert_int_eq(nodes, 0);
    end();
}
END_TEST

/* The first or the second allocation of an insert fails: nothing has changed. */
START_TEST(allocation_failure)
{
    struct ip_prefix p = prefix("10.0.0.128/25");
    begin();
    insert("10.0.0.0/25", 0);
    for (long nth = 0; nth < 2; nth++) {
        fail_at = nth;
        ck_assert_int_eq(try_insert(&p, 1), -ENOMEM);
        ck_assert_int_eq(fail_at, -1);
        ck_assert_uint_eq(table.count, 1);
        ck_assert(list_empty(&peers[1].owned));
        ck_assert_int_eq(lookup("10.0.0.129"), -1);
        ck_assert_int_eq(lookup("10.0.0.1"), 0);
    }
    insert("10.0.0.128/25", 1);
    ck_assert_int_eq(lookup("10.0.0.129"), 1);
    end();
}
END_TEST

static _Atomic bool done;
static _Atomic unsigned long lookups;

static void *reader(void *arg)
{
    static const uint8_t fixed[4] = {10, 1, 2, 3};
    static const uint8_t moving[4] = {10, 7, 0, 1};
    (void)arg;
    while (!done) {
        struct wg_peer *a = allowedips_lookup(&table, 4, fixed);
        struct wg_peer *b = allowedips_lookup(&table, 4, moving);
        if (a != &peers[0] || (b != &peers[1] && b != &peers[2]))
            return &peers[0];
        lookups++;
    }
    return NULL;
}

/* A reader concurrent with a writer always finds the owner of a stable prefix, and one of both
 * owners of a moving one, while neighbours and ancestors come and go. */
START_TEST(reader_beside_writer)
{
    static const char *const others[] = {"10.1.2.2/32", "10.1.0.0/24", "10.7.0.0/32",
                                         "10.1.3.0/24", "10.7.1.0/24", "8.0.0.0/7",
                                         "10.1.2.0/31", "10.7.0.2/31"};
    pthread_t thread;
    void *wrong;
    begin();
    insert("10.1.2.3/32", 0);
    insert("10.7.0.1/32", 1);
    done = false;
    random_state = 1;
    ck_assert_int_eq(pthread_create(&thread, NULL, reader, NULL), 0);
    for (int i = 0; i < 20000 || (lookups < 1000 && i < 1000000); i++) {
        const char *text = others[random_below(ARRAY_LEN(others))];
        if (!remove_one(text, 3))
            insert(text, 3);
        insert("10.7.0.1/32", 1 + i % 2);
    }
    done = true;
    pthread_join(thread, &wrong);
    ck_assert(wrong == NULL);
    end();
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("allowedips");
    tcase_add_test(tc, longest_match);
    tcase_add_test(tc, moves_and_removals);
    tcase_add_test(tc, branch_owned_and_disowned);
    tcase_add_loop_test(tc, against_brute_force, 0, 8);
    tcase_add_test(tc, allocation_failure);
    tcase_add_test(tc, reader_beside_writer);
    return unit_run(tc);
}
