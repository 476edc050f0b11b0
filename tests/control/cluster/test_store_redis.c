#include "control/cluster/store_redis.h"

#include "base/buffer.h"
#include "control/cluster/store.h"
#include "control/state/change.h"
#include "control/state/state.h"
#include "tests/control/cluster/redis_fixture.h"

#include <errno.h>
#include <signal.h>

#define ID_NODE "11111111-2222-4333-8444-555555555501"

static const uint8_t seed[16] = {1};

/* A store that keeps a state as the daemon does. */
struct world {
    struct redis_fixture fixture;
    struct store *store;
    struct state *state;
    int loads;
    int changes;
    int losses;
    int failures;
    bool ready; /* loaded */
    bool closed;
    /* the last commit or promotion */
    bool done;
    int status;
    uint64_t epoch;
    uint64_t rev;
    int outstanding;
    int succeeded;
};

static void on_loaded(void *ctx, const struct store_image *image)
{
    struct world *world = ctx;
    state_destroy(world->state);
    ck_assert_int_eq(store_image_to_state(image, seed, &world->state), 0);
    world->loads++;
    world->ready = true;
}

static void on_changed(void *ctx, const struct record_change *change)
{
    struct world *world = ctx;
    ck_assert_int_eq(state_apply_change(world->state, change), 0);
    world->changes++;
}

static void on_lost(void *ctx)
{
    struct world *world = ctx;
    world->losses++;
    world->ready = false;
}

static void on_failed(void *ctx, const struct err *err)
{
    struct world *world = ctx;
    world->failures++;
    world->status = err->code;
    world->done = true;
}

static void on_done(void *ctx, int status, uint64_t epoch, uint64_t rev)
{
    struct world *world = ctx;
    world->status = status;
    world->epoch = epoch;
    world->rev = rev;
    world->outstanding--;
    world->succeeded += status == 0;
    world->done = world->outstanding <= 0;
    if (status == 0) /* read your writes */
        ck_assert(state_epoch(world->state) > epoch || state_rev(world->state) >= rev);
}

static void on_closed(void *ctx)
{
    ((struct world *)ctx)->closed = true;
}

static void open_store(struct world *world)
{
    struct redis_proc *proc = world->fixture.proc;
    struct store_redis_options options = {redis_proc_socket(proc), redis_proc_user(proc),
                                          redis_proc_password(proc)};
    struct store_events events = {world, on_loaded, on_changed, on_lost, on_failed};
    world->ready = false;
    ck_assert_int_eq(store_redis_open(&world->store, &world->fixture.loop, &options, &events), 0);
    fixture_run_until(&world->fixture, &world->ready, 5000);
}

static void wait_done(struct world *world)
{
    fixture_run_until(&world->fixture, &world->done, 10000);
}

static int promote(struct world *world, uint64_t epoch, uint64_t rev, uint64_t new_epoch)
{
    world->done = false;
    world->outstanding = 1;
    store_promote(world->store, epoch, rev, new_epoch, &(struct store_done){world, on_done});
    ck_assert(!world->done);
    wait_done(world);
    return world->status;
}

static int commit(struct world *world, const struct change *change)
{
    world->done = false;
    world->outstanding = 1;
    store_commit(world->store, change, &(struct store_done){world, on_done});
    ck_assert(!world->done);
    wait_done(world);
    return world->status;
}

static struct change change_at(uint64_t epoch, uint64_t rev)
{
    struct change change;
    change_init(&change);
    change.epoch = epoch;
    change.rev = rev;
    return change;
}

static int commit_setting(struct world *world, const char *field, const char *text)
{
    struct change change = change_at(state_epoch(world->state), state_rev(world->state));
    change_add(&change, RECORD_HSET, RECORD_KEY_META, field, text, strlen(text));
    int status = commit(world, &change);
    change_fini(&change);
    return status;
}

static void world_init(struct world *world)
{
    *world = (struct world){0};
    fixture_init(&world->fixture);
    fixture_start(&world->fixture);
    open_store(world);
}

static void close_store(struct world *world)
{
    world->closed = false;
    store_close(world->store, on_closed, world);
    fixture_run_until(&world->fixture, &world->closed, 2000);
    world->store = NULL;
}

static void world_fini(struct world *world)
{
    close_store(world);
    state_destroy(world->state);
    fixture_fini(&world->fixture);
}

START_TEST(starts_parked_and_is_promoted)
{
    struct world world;
    world_init(&world);
    ck_assert_uint_eq(state_epoch(world.state), 0);
    struct change change = change_at(0, 0);
    change_add(&change, RECORD_SET, "heimdall:x", NULL, "v", 1);
    ck_assert_int_eq(commit(&world, &change), -EROFS);
    change_fini(&change);
    ck_assert_int_eq(promote(&world, 0, 7, 1), -ESTALE);
    ck_assert_int_eq(commit_setting(&world, "cluster", "early"), -EROFS); /* parked again */
    ck_assert_int_eq(promote(&world, 0, 0, 1), 0);
    ck_assert_uint_eq(state_epoch(world.state), 1);
    ck_assert_uint_eq(state_rev(world.state), 1);
    ck_assert_int_eq(commit_setting(&world, "cluster", "abc"), 0);
    ck_assert_str_eq(state_settings(world.state)->cluster, "abc");
    ck_assert_int_eq(promote(&world, 1, 2, 1), -ESTALE); /* the epoch must be new */
    ck_assert_int_eq(promote(&world, 1, 2, 2), 0);
    world_fini(&world);
}
END_TEST

START_TEST(parks_and_is_promoted_again)
{
    struct world world;
    world_init(&world);
    ck_assert_int_eq(promote(&world, 0, 0, 1), 0);
    ck_assert_int_eq(commit_setting(&world, "cluster", "abc"), 0);
    for (int i = 0; i < 2; i++) { /* parking twice is parking once */
        world.done = false;
        world.outstanding = 1;
        store_park(world.store, &(struct store_done){&world, on_done});
        ck_assert(!world.done);
        wait_done(&world);
        ck_assert_int_eq(world.status, 0);
        ck_assert_uint_eq(world.rev, 2);
    }
    ck_assert_int_eq(commit_setting(&world, "cluster", "no"), -EROFS);
    ck_assert_str_eq(state_settings(world.state)->cluster, "abc");
    ck_assert_int_eq(promote(&world, 1, 2, 2), 0);
    ck_assert_int_eq(commit_setting(&world, "cluster", "again"), 0);
    ck_assert_str_eq(state_settings(world.state)->cluster, "again");
    world_fini(&world);
}
END_TEST

/* The answer of redis-cli, with the rights that the daemon has. */
static const char *cli(struct world *world, const char *command)
{
    static char answer[4096];
    char line[512];
    struct redis_proc *proc = world->fixture.proc;
    snprintf(line, sizeof line, "REDISCLI_AUTH=%s redis-cli --no-auth-warning -s %s --user %s %s",
             redis_proc_password(proc), redis_proc_socket(proc), redis_proc_user(proc), command);
    FILE *out = popen(line, "r");
    ck_assert_ptr_nonnull(out);
    size_t len = fread(answer, 1, sizeof answer - 1, out);
    answer[len] = '\0';
    ck_assert_int_eq(pclose(out), 0);
    return answer;
}

/* Whatever Redis was told before the daemon connects: it takes changes and data from nobody. */
START_TEST(parked_after_each_start)
{
    static const char *const before[] = {"PING", "REPLICAOF NO ONE", "REPLICAOF 127.0.0.1 1",
                                         "REPLICAOF localhost 0"};
    struct world world;
    world_init(&world);
    ck_assert_ptr_nonnull(strstr(cli(&world, "ROLE"), "slave\n127.0.0.1\n0\n"));
    close_store(&world);
    cli(&world, before[_i]);
    open_store(&world);
    ck_assert_ptr_nonnull(strstr(cli(&world, "ROLE"), "slave\n127.0.0.1\n0\n"));
    ck_assert_int_eq(commit_setting(&world, "cluster", "early"), -EROFS);
    ck_assert_int_eq(promote(&world, 0, 0, 1), 0);
    world.ready = false;
    ck_assert_int_eq(kill(redis_proc_pid(world.fixture.proc), SIGKILL), 0);
    fixture_run_until(&world.fixture, &world.ready, 10000);
    ck_assert_ptr_nonnull(strstr(cli(&world, "ROLE"), "slave\n127.0.0.1\n0\n"));
    world_fini(&world);
}
END_TEST

START_TEST(refuses_another_place)
{
    static const struct {
        uint64_t epoch;
        uint64_t rev;
        int status;
    } tries[] = {{1, 2, -ESTALE}, {2, 1, -ESTALE}, {1, 0, -ESTALE},
                 {0, 1, -ESTALE}, {0, 0, -ESTALE}, {1, 1, 0}};
    struct world world;
    world_init(&world);
    ck_assert_int_eq(promote(&world, 0, 0, 1), 0);
    for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
        struct change change = change_at(tries[i].epoch, tries[i].rev);
        change_add(&change, RECORD_HSET, RECORD_KEY_META, "cluster", "abc", 3);
        if (tries[i].epoch > 1 || tries[i].rev > 1)
            change.epoch = tries[i].epoch;
        ck_assert_int_eq(commit(&world, &change), tries[i].status);
        ck_assert_int_eq(state_settings(world.state)->cluster[0] != '\0', tries[i].status == 0);
        change_fini(&change);
    }
    world_fini(&world);
}
END_TEST

START_TEST(all_or_nothing)
{
    struct world world;
    world_init(&world);
    ck_assert_int_eq(promote(&world, 0, 0, 1), 0);
    struct change change = change_at(1, 1);
    change_add(&change, RECORD_SET, "heimdall:plain", NULL, "text", 4);
    ck_assert_int_eq(commit(&world, &change), 0);
    change_fini(&change);
    change = change_at(1, 2);
    change_add(&change, RECORD_HSET, RECORD_KEY_META, "cluster", "abc", 3);
    change_add(&change, RECORD_HSET, "heimdall:plain", "f", "v", 1); /* not a hash */
    ck_assert_int_eq(commit(&world, &change), -EIO);
    change_fini(&change);
    close_store(&world);
    open_store(&world);
    ck_assert_str_eq(state_settings(world.state)->cluster, "");
    ck_assert_uint_eq(state_rev(world.state), 2);
    world_fini(&world);
}
END_TEST

/* A change that Lua could not unpack, or that the stream does not take, leaves nothing behind, and
 * the next one goes through. */
START_TEST(too_large_or_refused)
{
    static const int counts[] = {1900, 2000, 20000};
    struct world world;
    char key[64];
    world_init(&world);
    ck_assert_int_eq(promote(&world, 0, 0, 1), 0);
    uint64_t rev = 1;
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct change change = change_at(1, rev);
        for (int n = 0; n < counts[i]; n++) {
            snprintf(key, sizeof key, "heimdall:x:%zu:%d", i, n);
            change_add(&change, RECORD_SET, key, NULL, "v", 1);
        }
        bool fits = counts[i] < 2000;
        ck_assert_int_eq(commit(&world, &change), fits ? 0 : -E2BIG);
        change_fini(&change);
        rev += fits;
        snprintf(key, sizeof key, "EXISTS heimdall:x:%zu:0", i);
        ck_assert_str_eq(cli(&world, key), fits ? "1\n" : "0\n");
        ck_assert_int_eq(commit_setting(&world, "cluster", "abc"), 0);
        rev++;
        ck_assert_uint_eq(state_rev(world.state), rev);
    }
    cli(&world, "XADD heimdall:changes 18446744073709551615-18446744073709551615 a b");
    struct change change = change_at(1, rev);
    change_add(&change, RECORD_SET, "heimdall:y", NULL, "v", 1);
    ck_assert_int_ne(commit(&world, &change), 0);
    change_fini(&change);
    ck_assert_str_eq(cli(&world, "EXISTS heimdall:y"), "0\n");
    snprintf(key, sizeof key, "%llu\n", (unsigned long long)rev);
    ck_assert_str_eq(cli(&world, "HGET heimdall:meta rev"), key);
    world_fini(&world);
}
END_TEST

/* A revision without an entry in the stream, as an older version's failed change left it. */
START_TEST(catches_up_by_a_reload)
{
    struct world world;
    world_init(&world);
    ck_assert_int_eq(promote(&world, 0, 0, 1), 0);
    cli(&world, "HSET heimdall:meta rev 7");
    ck_assert_int_eq(commit_setting(&world, "cluster", "abc"), -ESTALE); /* answered, not wedged */
    ck_assert_uint_eq(state_rev(world.state), 7);
    ck_assert_int_eq(commit_setting(&world, "cluster", "abc"), 0);
    ck_assert_int_eq(world.loads, 2);
    world_fini(&world);
}
END_TEST

enum { MANY = 1000 };

START_TEST(follows_a_thousand)
{
    struct world world;
    char key[64];
    world_init(&world);
    ck_assert_int_eq(promote(&world, 0, 0, 1), 0);
    world.done = false;
    world.outstanding = MANY;
    world.succeeded = 0;
    for (uint64_t i = 0; i < MANY; i++) {
        struct change change = change_at(1, 1 + i);
        snprintf(key, sizeof key, "fd00::1:%x", (unsigned)i + 1);
        change_add(&change, RECORD_HSET, RECORD_KEY_PEERIPS, key, "someone", 7);
        if (i % 2 == 1) {
            snprintf(key, sizeof key, "fd00::1:%x", (unsigned)i);
            change_add(&change, RECORD_HDEL, RECORD_KEY_PEERIPS, key, NULL, 0);
        }
        store_commit(world.store, &change, &(struct store_done){&world, on_done});
        change_fini(&change);
    }
    wait_done(&world);
    ck_assert_int_eq(world.succeeded, MANY);
    ck_assert_int_eq(world.changes, MANY + 1);
    ck_assert_int_eq(world.loads, 1);
    for (int i = 0; i < MANY; i++) {
        struct ip_addr addr;
        snprintf(key, sizeof key, "fd00::1:%x", (unsigned)i + 1);
        ck_assert(ip_addr_parse(&addr, key));
        ck_assert_int_eq(state_address_owner(world.state, &addr) != NULL, i % 2);
    }
    world_fini(&world);
}
END_TEST

START_TEST(survives_a_killed_redis)
{
    struct world world;
    world_init(&world);
    ck_assert_int_eq(promote(&world, 0, 0, 1), 0);
    ck_assert_int_eq(commit_setting(&world, "cluster", "abc"), 0);
    world.ready = false;
    struct change change = change_at(1, 2);
    change_add(&change, RECORD_HSET, RECORD_KEY_META, "cluster", "xyz", 3);
    ck_assert_int_eq(kill(redis_proc_pid(world.fixture.proc), SIGSTOP), 0);
    world.done = false;
    world.outstanding = 1;
    store_commit(world.store, &change, &(struct store_done){&world, on_done});
    redis_proc_kill(world.fixture.proc);
    wait_done(&world);
    ck_assert_int_eq(world.status, -EIO); /* unknown; here it did not happen */
    change_fini(&change);
    fixture_run_until(&world.fixture, &world.ready, 5000);
    ck_assert_int_eq(world.loads, 2);
    ck_assert_int_eq(world.losses, 1);
    ck_assert_int_eq(world.fixture.deaths, 1);
    ck_assert_uint_eq(state_epoch(world.state), 1);
    ck_assert_uint_eq(state_rev(world.state), 2);
    ck_assert_str_eq(state_settings(world.state)->cluster, "abc");
    ck_assert_int_eq(commit_setting(&world, "cluster", "no"), -EROFS); /* it comes back parked */
    ck_assert_int_eq(promote(&world, 1, 2, 2), 0);
    ck_assert_int_eq(commit_setting(&world, "cluster", "again"), 0);
    ck_assert_uint_eq(state_epoch(world.state), 2);
    ck_assert_uint_eq(state_rev(world.state), 4);
    world_fini(&world);
}
END_TEST

START_TEST(notices_a_stopped_redis)
{
    struct world world;
    world_init(&world);
    ck_assert_int_eq(promote(&world, 0, 0, 1), 0);
    ck_assert_int_eq(kill(redis_proc_pid(world.fixture.proc), SIGSTOP), 0);
    struct change change = change_at(1, 1);
    change_add(&change, RECORD_HSET, RECORD_KEY_META, "cluster", "xyz", 3);
    world.outstanding = 1;
    world.done = false;
    store_commit(world.store, &change, &(struct store_done){&world, on_done});
    fixture_run_until(&world.fixture, &world.done, 4000);
    change_fini(&change);
    ck_assert_int_eq(world.failures, 1);
    redis_proc_kill(world.fixture.proc);
    world.ready = false;
    fixture_run_until(&world.fixture, &world.ready, 5000);
    ck_assert_uint_eq(state_rev(world.state), 1);
    world_fini(&world);
}
END_TEST

START_TEST(foreign_writes)
{
    /* damaged and unknown records are skipped, another writer's gap is reloaded, another layout and
     * another program's data are refused */
    struct world world;
    world_init(&world);
    ck_assert_int_eq(promote(&world, 0, 0, 1), 0);
    struct change change = change_at(1, 1);
    change_add(&change, RECORD_SET, RECORD_KEY_NODES ID_NODE, NULL, "\xff\xff garbage", 10);
    change_add(&change, RECORD_SET, "heimdall:voters:1", NULL, "newer", 5);
    change_add(&change, RECORD_HSET, RECORD_KEY_META, "cluster", "abc", 3);
    ck_assert_int_eq(commit(&world, &change), 0);
    change_fini(&change);
    ck_assert_uint_eq(state_damaged(world.state), 1);
    close_store(&world);
    open_store(&world);
    ck_assert_uint_eq(state_damaged(world.state), 1);
    ck_assert_str_eq(state_settings(world.state)->cluster, "abc");
    ck_assert_int_eq(promote(&world, 1, 2, 2), 0);

    /* the field rev moves without an entry in the stream: a gap */
    change = change_at(2, 3);
    change_add(&change, RECORD_HSET, RECORD_KEY_META, "rev", "9", 1);
    ck_assert_int_eq(commit(&world, &change), 0);
    change_fini(&change);
    int loads = world.loads;
    change = change_at(2, 9);
    change_add(&change, RECORD_HSET, RECORD_KEY_META, "cluster", "gap", 3);
    ck_assert_int_eq(commit(&world, &change), 0);
    change_fini(&change);
    ck_assert_int_eq(world.loads, loads + 1);
    ck_assert_uint_eq(state_rev(world.state), 10);
    ck_assert_str_eq(state_settings(world.state)->cluster, "gap");

    change = change_at(2, 10);
    if (_i == 0)
        change_add(&change, RECORD_HSET, RECORD_KEY_META, "layout", "99", 2);
    else
        change_add(&change, RECORD_SET, "session:42", NULL, "of another program", 18);
    ck_assert_int_eq(commit(&world, &change), 0);
    change_fini(&change);
    close_store(&world);
    world.done = false;
    struct store_redis_options options = {redis_proc_socket(world.fixture.proc),
                                          redis_proc_user(world.fixture.proc),
                                          redis_proc_password(world.fixture.proc)};
    struct store_events events = {&world, on_loaded, on_changed, on_lost, on_failed};
    ck_assert_int_eq(store_redis_open(&world.store, &world.fixture.loop, &options, &events), 0);
    wait_done(&world);
    ck_assert_int_eq(world.status, -EUCLEAN);
    world_fini(&world);
}
END_TEST

static void on_pause(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static void pause_for(struct world *world, uint64_t ms)
{
    uv_timer_t timer;
    bool over = false;
    uv_timer_init(&world->fixture.loop, &timer);
    timer.data = &over;
    uv_timer_start(&timer, on_pause, ms, 0);
    fixture_run_until(&world->fixture, &over, 60000);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&world->fixture.loop, UV_RUN_NOWAIT);
}

static int commit_megabyte(struct world *world)
{
    enum { MEGABYTE = 1024 * 1024 };
    static char text[MEGABYTE + 1];
    memset(text, 'x', MEGABYTE);
    struct change change = change_at(state_epoch(world->state), state_rev(world->state));
    change_add(&change, RECORD_SET, "heimdall:x", NULL, text, MEGABYTE);
    int status = commit(world, &change);
    change_fini(&change);
    return status;
}

/* The append-only file is rewritten before it has twice the data set and 16 MB. Commits go on
 * meanwhile, and a Redis that is killed then has all of them. */
START_TEST(the_file_is_rewritten)
{
    struct world world;
    world_init(&world);
    ck_assert_int_eq(promote(&world, 0, 0, 1), 0);
    const char *base = NULL;
    for (int i = 0; i < 12; i++)
        ck_assert_int_eq(commit_megabyte(&world), 0);
    for (int i = 0; i < 600 && (base == NULL || strtoull(base + 14, NULL, 10) < 10000); i++) {
        pause_for(&world, 50);
        ck_assert_int_eq(commit_setting(&world, "cluster", "abc"), 0);
        base = strstr(cli(&world, "info persistence"), "aof_base_size:");
    }
    ck_assert_ptr_nonnull(base);
    ck_assert_uint_ge(strtoull(base + 14, NULL, 10), 10000); /* 89 without data */
    uint64_t rev = state_rev(world.state);
    int loads = world.loads;
    redis_proc_kill(world.fixture.proc);
    while (world.loads == loads)
        pause_for(&world, 20);
    ck_assert_uint_eq(state_rev(world.state), rev);
    ck_assert_str_eq(state_settings(world.state)->cluster, "abc");
    world_fini(&world);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("store_redis");
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, starts_parked_and_is_promoted);
    tcase_add_test(tc, parks_and_is_promoted_again);
    tcase_add_loop_test(tc, parked_after_each_start, 0, 4);
    tcase_add_test(tc, refuses_another_place);
    tcase_add_test(tc, all_or_nothing);
    tcase_add_test(tc, too_large_or_refused);
    tcase_add_test(tc, catches_up_by_a_reload);
    tcase_add_test(tc, follows_a_thousand);
    tcase_add_test(tc, survives_a_killed_redis);
    tcase_add_test(tc, notices_a_stopped_redis);
    tcase_add_test(tc, the_file_is_rewritten);
    tcase_add_loop_test(tc, foreign_writes, 0, 2);
    return unit_run(tc);
}
