#include "control/cluster/writer.h"

#include "control/cluster/store.h"
#include "tests/control/cluster/store_mem.h"
#include "tests/control/network_fixture.h"

#include <errno.h>

/* A writer over the store in memory, watched as the daemon watches it. */
struct world {
    struct store *store;
    struct writer *writer;
    struct state *state;
    struct err err;
    int done;
    int succeeded;
    int status; /* of a direct commit */
    enum grpc_code last;
    uint64_t last_rev;
    bool disk_full;
    void (*answer)(void *ctx, bool full); /* to the question about the disk */
    void *answer_ctx;
    bool chain; /* the next request is submitted from the callback */
};

static void on_loaded(void *ctx, const struct store_image *image)
{
    struct world *world = ctx;
    state_destroy(world->state);
    ck_assert_int_eq(store_image_to_state(image, network_seed, &world->state), 0);
}

static void on_changed(void *ctx, const struct record_change *change)
{
    struct world *world = ctx;
    ck_assert_int_eq(state_apply_change(world->state, change), 0);
}

static void ask_disk(void *ctx, void (*answer)(void *ctx, bool full), void *answer_ctx)
{
    struct world *world = ctx;
    world->answer = answer;
    world->answer_ctx = answer_ctx;
}

/* Delivers all events of the store and all answers about the disk. */
static void run_store(struct world *world)
{
    do {
        store_mem_run(world->store);
        void (*answer)(void *ctx, bool full) = world->answer;
        world->answer = NULL;
        if (answer != NULL)
            answer(world->answer_ctx, world->disk_full);
    } while (store_mem_step(world->store) || world->answer != NULL);
}

static const struct state *current(void *ctx)
{
    return ((struct world *)ctx)->state;
}

static void on_promoted(void *ctx, int status, uint64_t epoch, uint64_t rev)
{
    struct world *world = ctx;
    (void)epoch;
    (void)rev;
    world->status = status;
}

static void promote(struct world *world)
{
    store_promote(world->store, state_epoch(world->state), state_rev(world->state),
                  state_epoch(world->state) + 1, &(struct store_done){world, on_promoted});
    run_store(world);
    ck_assert_int_eq(world->status, 0);
}

static void world_init(struct world *world)
{
    *world = (struct world){0};
    struct store_events events = {.ctx = world, .loaded = on_loaded, .changed = on_changed};
    struct writer_env env = {.ctx = world, .state = current, .ask_disk = ask_disk};
    log_set_level(LOG_ERROR);
    ck_assert_int_eq(store_mem_open(&world->store, &events), 0);
    ck_assert_int_eq(writer_create(&world->writer, world->store, &env), 0);
}

static void world_fini(struct world *world)
{
    store_close(world->store, NULL, NULL);
    writer_destroy(world->writer);
    state_destroy(world->state);
}

/* One request: a builder with what it needs. */
struct request {
    struct world *world;
    unsigned n;
};

static enum grpc_code build_cluster(void *ctx, struct change *change, const struct state *state,
                                    struct err *err)
{
    struct change_cluster cluster = {.cluster = test_id(1000),
                                     .node_network = test_prefix("10.10.0.0/16"),
                                     .peer_network = test_prefix("10.51.0.0/16")};
    (void)ctx;
    return change_bootstrap_cluster(change, state, &cluster, err);
}

static enum grpc_code build_authorize(void *ctx, struct change *change, const struct state *state,
                                      struct err *err)
{
    struct request *request = ctx;
    return change_authorize_peer(change, state, test_id(request->n), 1, err);
}

static enum grpc_code build_connect(void *ctx, struct change *change, const struct state *state,
                                    struct err *err)
{
    struct request *request = ctx;
    struct change_peer peer = {.id = test_id(request->n),
                               .name = "",
                               .public_key = test_key(request->n),
                               .version = "",
                               .now_ns = 1};
    return change_connect_peer(change, state, &peer, err);
}

static void submit(struct request *request,
                   enum grpc_code (*build)(void *, struct change *, const struct state *,
                                           struct err *));

static void on_done(void *ctx, enum grpc_code status, const struct err *err, uint64_t rev)
{
    struct request *request = ctx;
    struct world *world = request->world;
    world->done++;
    world->succeeded += status == GRPC_OK;
    world->last = status;
    world->last_rev = rev;
    if (err != NULL)
        world->err = *err;
    ck_assert(status == GRPC_OK || world->err.text[0] != '\0');
    if (world->chain) {
        world->chain = false;
        submit(request, build_connect);
    }
}

static void submit(struct request *request,
                   enum grpc_code (*build)(void *, struct change *, const struct state *,
                                           struct err *))
{
    writer_submit(request->world->writer,
                  &(struct writer_request){.ctx = request, .build = build, .done = on_done});
}

static void ready(struct world *world)
{
    struct request request = {world, 0};
    world_init(world);
    run_store(world);
    promote(world);
    submit(&request, build_cluster);
    run_store(world);
    ck_assert_int_eq(world->succeeded, 1);
    world->done = world->succeeded = 0;
}

START_TEST(before_and_without_a_state)
{
    struct world world;
    struct request request = {&world, 1};
    world_init(&world);
    submit(&request, build_authorize);
    ck_assert_int_eq(world.last, GRPC_UNAVAILABLE); /* nothing is loaded */
    run_store(&world);
    submit(&request, build_cluster);
    run_store(&world);
    ck_assert_int_eq(world.last, GRPC_UNAVAILABLE); /* parked */
    promote(&world);
    submit(&request, build_cluster);
    run_store(&world);
    ck_assert_int_eq(world.last, GRPC_OK);
    world_fini(&world);
}
END_TEST

START_TEST(one_after_the_other)
{
    struct world world;
    struct request requests[20];
    ready(&world);
    for (unsigned i = 0; i < 20; i++) { /* connect depends on the authorize before it */
        requests[i] = (struct request){&world, 1 + i / 2};
        submit(&requests[i], i % 2 == 0 ? build_authorize : build_connect);
    }
    ck_assert_int_eq(world.done, 0);
    run_store(&world);
    ck_assert_int_eq(world.succeeded, 20);
    ck_assert_uint_eq(state_peer_count(world.state), 10);
    ck_assert_uint_eq(world.last_rev, state_rev(world.state));
    submit(&requests[0], build_authorize); /* nothing to do: answered at once */
    ck_assert_int_eq(world.succeeded, 21);
    world_fini(&world);
}
END_TEST

START_TEST(refused_and_chained)
{
    struct world world;
    struct request request = {&world, 3};
    ready(&world);
    submit(&request, build_connect);
    ck_assert_int_eq(world.last, GRPC_PERMISSION_DENIED);
    world.chain = true;
    submit(&request, build_authorize);
    run_store(&world);
    ck_assert_int_eq(world.succeeded, 2);
    ck_assert_uint_eq(state_peer_count(world.state), 1);
    world_fini(&world);
}
END_TEST

START_TEST(another_writer)
{
    struct world world;
    struct request request = {&world, 3};
    struct change change;
    ready(&world);
    /* another writer's change is committed, but not seen yet, when this one is built */
    ck_assert_int_eq(change_authorize_peer(&change, world.state, test_id(9), 1, &world.err),
                     GRPC_OK);
    store_commit(world.store, &change, &(struct store_done){&world, on_promoted});
    change_fini(&change);
    submit(&request, build_authorize);
    run_store(&world);
    ck_assert_int_eq(world.last, GRPC_OK);
    ck_assert_uint_eq(state_authorization_count(world.state), 2);
    world_fini(&world);
}
END_TEST

START_TEST(store_goes_away)
{
    struct world world;
    struct request requests[3] = {{&world, 1}, {&world, 2}, {&world, 3}};
    ready(&world);
    for (int i = 0; i < 3; i++)
        submit(&requests[i], build_authorize);
    store_mem_restart(world.store);
    run_store(&world);
    ck_assert_int_eq(world.done, 3);
    ck_assert_int_eq(world.succeeded, 0);
    ck_assert_int_eq(world.last, GRPC_UNAVAILABLE);
    ck_assert_ptr_null(strstr(world.err.text, "disk"));
    world.disk_full = true; /* while the store does not take changes */
    submit(&requests[2], build_authorize);
    run_store(&world);
    ck_assert_int_eq(world.last, GRPC_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(world.err.text, "disk of the data dir is full"));
    promote(&world);
    submit(&requests[2], build_authorize);
    run_store(&world);
    ck_assert_int_eq(world.last, GRPC_OK);
    ck_assert_uint_eq(state_epoch(world.state), 2);
    world_fini(&world);
}
END_TEST

START_TEST(parked)
{
    struct world world;
    struct request request = {&world, 3};
    ready(&world);
    store_park(world.store, &(struct store_done){&world, on_promoted});
    run_store(&world);
    ck_assert_int_eq(world.status, 0);
    submit(&request, build_authorize);
    run_store(&world);
    ck_assert_int_eq(world.last, GRPC_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(world.err.text, "read only"));
    promote(&world);
    submit(&request, build_authorize);
    run_store(&world);
    ck_assert_int_eq(world.last, GRPC_OK);
    world_fini(&world);
}
END_TEST

START_TEST(destroyed_with_requests)
{
    struct world world;
    struct request requests[3] = {{&world, 1}, {&world, 2}, {&world, 3}};
    ready(&world);
    for (int i = 0; i < 3; i++)
        submit(&requests[i], build_authorize);
    if (_i == 1) { /* while the disk is asked about */
        store_mem_restart(world.store);
        store_mem_run(world.store);
        ck_assert_ptr_nonnull(world.answer);
        ck_assert_int_eq(world.done, 0);
    }
    world_fini(&world);
    ck_assert_ptr_null(world.answer);
    ck_assert_int_eq(world.done, 3);
    ck_assert_int_eq(world.last, GRPC_UNAVAILABLE);
}
END_TEST

/* One owner's 5 requests and another's only one, which waits for the one in flight and one turn. */
START_TEST(owners_take_turns)
{
    struct world world;
    struct request requests[6];
    ready(&world);
    for (unsigned i = 0; i < 6; i++) {
        requests[i] = (struct request){&world, 1 + i};
        ck_assert_ptr_nonnull(writer_submit(
            world.writer, &(struct writer_request){.ctx = &requests[i],
                                                   .build = build_authorize,
                                                   .done = on_done,
                                                   .owner = {i < 5 ? "a" : "b", true}}));
    }
    while (world.done < 3)
        ck_assert(store_mem_step(world.store));
    ck_assert_ptr_nonnull(state_authorization(world.state, test_id(6)));
    ck_assert_uint_eq(state_authorization_count(world.state), 3);
    store_mem_run(world.store);
    ck_assert_int_eq(world.succeeded, 6);
    world_fini(&world);
}
END_TEST

/* A request that waits is dropped without a word; the one in flight is not. */
START_TEST(dropped)
{
    struct world world;
    struct request requests[3] = {{&world, 1}, {&world, 2}, {&world, 3}};
    struct writer_job *jobs[3];
    ready(&world);
    for (unsigned i = 0; i < 3; i++) {
        const struct writer_request request = {
            .ctx = &requests[i], .build = build_authorize, .done = on_done, .owner = {"a", true}};
        jobs[i] = writer_submit(world.writer, &request);
    }
    ck_assert(!writer_drop(world.writer, jobs[0]));
    ck_assert(writer_drop(world.writer, jobs[1]));
    store_mem_run(world.store);
    ck_assert_int_eq(world.done, 2);
    ck_assert_int_eq(world.succeeded, 2);
    ck_assert_ptr_null(state_authorization(world.state, test_id(2)));
    world_fini(&world);
}
END_TEST

/* A metered owner uses up its rate, which says when to retry; another one does not wait. */
START_TEST(metered)
{
    struct world world;
    struct request request = {&world, 1};
    struct writer_request written = {
        .ctx = &request, .build = build_authorize, .done = on_done, .owner = {"a", true}};
    ready(&world);
    for (; world.last == GRPC_OK && request.n < 100; request.n++) {
        writer_submit(world.writer, &written);
        store_mem_run(world.store);
    }
    ck_assert_int_eq(world.last, GRPC_RESOURCE_EXHAUSTED);
    ck_assert_ptr_nonnull(strstr(world.err.text, "retry in 1 s"));
    ck_assert_int_lt(world.succeeded, 60);
    written.owner.name = "b";
    writer_submit(world.writer, &written);
    store_mem_run(world.store);
    ck_assert_int_eq(world.last, GRPC_OK);
    world_fini(&world);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("writer");
    tcase_add_test(tc, before_and_without_a_state);
    tcase_add_test(tc, one_after_the_other);
    tcase_add_test(tc, refused_and_chained);
    tcase_add_test(tc, another_writer);
    tcase_add_test(tc, store_goes_away);
    tcase_add_test(tc, parked);
    tcase_add_loop_test(tc, destroyed_with_requests, 0, 2);
    tcase_add_test(tc, owners_take_turns);
    tcase_add_test(tc, dropped);
    tcase_add_test(tc, metered);
    return unit_run(tc);
}
