#include "control/cluster/cluster.h"

#include "base/err.h"
#include "control/cluster/writer.h"
#include "control/host/datadir.h"
#include "control/state/change.h"
#include "control/state/state.h"
#include "tests/control/cluster/redis_fixture.h"
#include "tests/control/network_fixture.h"

#include <errno.h>
#include <stdlib.h>

/* A cluster over a real redis-server, watched as the daemon watches it. */
struct world {
    struct redis_fixture fixture;
    struct datadir *datadir;
    struct cluster *cluster;
    int changing;
    int changed;
    int reloaded;
    int gaps;
    int promotions;
    bool promoted;
    bool failed;
    bool closed;
    bool done;
    struct err err;
    enum grpc_code status;
};

static void on_changing(void *ctx, const struct record_op *op)
{
    struct world *world = ctx;
    /* the state does not hold it yet */
    if (op->field != NULL && strcmp(op->field, "cluster") == 0)
        ck_assert_str_eq(state_settings(cluster_state(world->cluster))->cluster, "");
    world->changing++;
}

static void on_changed(void *ctx, const struct record_change *change)
{
    struct world *world = ctx;
    ck_assert_uint_eq(state_rev(cluster_state(world->cluster)), change->rev);
    world->changed++;
}

static void on_reloaded(void *ctx, bool gap)
{
    struct world *world = ctx;
    world->reloaded++;
    world->gaps += gap;
}

static void on_promoted(void *ctx)
{
    struct world *world = ctx;
    ck_assert(cluster_takes_changes(world->cluster));
    world->promotions++;
    world->promoted = true;
}

static void on_failed(void *ctx, const struct err *err)
{
    struct world *world = ctx;
    world->failed = true;
    world->err = *err;
}

static void on_closed(void *ctx)
{
    ((struct world *)ctx)->closed = true;
}

static void world_init(struct world *world)
{
    struct err err = {0};
    fixture_init(&world->fixture);
    ck_assert_msg(datadir_open(&world->datadir, world->fixture.dir, &err) == 0, "%s", err.text);
}

static void world_fini(struct world *world)
{
    datadir_close(world->datadir);
    fixture_fini(&world->fixture);
}

/* 0, or a negative errno of cluster_start with its text. */
static int try_start(struct world *world, struct err *err)
{
    struct cluster_options options = {
        .loop = &world->fixture.loop,
        .datadir = world->datadir,
        .seed = {1},
        .events = {world, on_changing, on_changed, on_reloaded, on_promoted, on_failed, on_closed},
    };
    return cluster_start(&world->cluster, &options, err);
}

static void start(struct world *world)
{
    struct err err = {0};
    ck_assert_msg(try_start(world, &err) == 0, "%s", err.text);
    ck_assert_ptr_null(cluster_state(world->cluster));
    ck_assert_ptr_null(cluster_writer(world->cluster));
}

static void open_cluster(struct world *world)
{
    struct err err = {0};
    ck_assert_int_eq(cluster_open(world->cluster, &err), 0);
    fixture_run_until(&world->fixture, &world->promoted, 10000);
}

static void close_cluster(struct world *world)
{
    world->closed = world->promoted = world->failed = false;
    cluster_close(world->cluster);
    fixture_run_until(&world->fixture, &world->closed, 10000);
    world->cluster = NULL;
}

static enum grpc_code build_cluster(void *ctx, struct change *change, const struct state *state,
                                    struct err *err)
{
    struct change_cluster cluster = {.cluster = test_id(1000),
                                     .node_network = test_prefix("10.10.0.0/16"),
                                     .peer_network = test_prefix("10.51.0.0/16")};
    (void)ctx;
    return change_bootstrap_cluster(change, state, &cluster, err);
}

static void on_done(void *ctx, enum grpc_code status, const struct err *err, uint64_t rev)
{
    struct world *world = ctx;
    (void)err;
    (void)rev;
    world->status = status;
    world->done = true;
}

static enum grpc_code submit(struct world *world)
{
    world->done = false;
    writer_submit(cluster_writer(world->cluster),
                  &(struct writer_request){.ctx = world, .build = build_cluster, .done = on_done});
    fixture_run_until(&world->fixture, &world->done, 10000);
    return world->status;
}

START_TEST(starts_changes_and_ends)
{
    struct world world = {0};
    world_init(&world);
    start(&world);
    open_cluster(&world);
    ck_assert_int_eq(world.reloaded, 1);
    ck_assert_int_eq(world.gaps, 0);
    ck_assert_int_eq(submit(&world), GRPC_OK);
    ck_assert_int_gt(world.changing, 0);
    ck_assert_int_eq(world.changed, 2); /* the promotion and the settings */
    ck_assert_str_eq(state_settings(cluster_state(world.cluster))->cluster, test_id(1000));
    ck_assert(cluster_redis_runs(world.cluster));
    ck_assert(!cluster_disk_full(world.cluster));
    close_cluster(&world);
    ck_assert(!world.failed);
    world_fini(&world);
}
END_TEST

START_TEST(promoted_again_after_a_death)
{
    struct world world = {0};
    world_init(&world);
    start(&world);
    open_cluster(&world);
    uint64_t epoch = state_epoch(cluster_state(world.cluster));
    ck_assert_int_eq(submit(&world), GRPC_OK);
    world.promoted = false;
    cluster_restart_redis(world.cluster);
    fixture_run_until(&world.fixture, &world.promoted, 10000);
    ck_assert_int_eq(world.promotions, 2);
    ck_assert_int_eq(world.reloaded, 2);
    ck_assert_int_eq(world.gaps, 0); /* nothing was missed */
    ck_assert_uint_eq(cluster_redis_deaths(world.cluster), 1);
    ck_assert_uint_eq(state_epoch(cluster_state(world.cluster)), epoch + 1);
    ck_assert_str_eq(state_settings(cluster_state(world.cluster))->cluster, test_id(1000));
    close_cluster(&world);
    world_fini(&world);
}
END_TEST

static void shell(struct world *world, const char *script)
{
    char line[512];
    snprintf(line, sizeof line, "cd %s && %s", world->fixture.dir, script);
    ck_assert_int_eq(system(line), 0); /* NOLINT: our own words only */
}

/* Each way to lose the data of a node that belongs to a cluster, and whether Redis would come up. */
static const struct {
    const char *script;
    bool starts;
} losses[] = {
    {"rm redis/appendonlydir/*.manifest", false},
    {"rm -r redis/appendonlydir", false},
    {"rm -r redis", false},
    {"mv redis away && mkdir -m 700 redis", false},
    {": >redis/appendonlydir/appendonly.aof.manifest", false},
    {"for f in redis/appendonlydir/*.incr.aof; do : >$f; done", true},
};

START_TEST(refuses_an_empty_store)
{
    struct world world = {0};
    world_init(&world);
    start(&world);
    open_cluster(&world);
    ck_assert_int_eq(submit(&world), GRPC_OK);
    close_cluster(&world);
    shell(&world, "test -s cluster.id");
    shell(&world, losses[_i].script);
    int code = try_start(&world, &world.err);
    ck_assert_int_eq(code, losses[_i].starts ? 0 : -ENODATA);
    if (code == 0) {
        ck_assert_int_eq(cluster_open(world.cluster, &world.err), 0);
        fixture_run_until(&world.fixture, &world.failed, 10000);
        ck_assert_ptr_null(cluster_state(world.cluster));
        close_cluster(&world);
    }
    ck_assert_int_eq(world.err.code, -ENODATA);
    ck_assert_ptr_nonnull(strstr(world.err.text, test_id(1000)));
    ck_assert_ptr_nonnull(strstr(world.err.text, "restore the folder"));
    const char *anew = strstr(world.err.text, "mv ");
    ck_assert_ptr_nonnull(anew); /* the line that begins anew is true */
    shell(&world, "mkdir -p redis");
    ck_assert_int_eq(system(anew), 0);
    start(&world);
    open_cluster(&world);
    ck_assert_str_eq(state_settings(cluster_state(world.cluster))->cluster, "");
    ck_assert_int_eq(submit(&world), GRPC_OK);
    close_cluster(&world);
    world_fini(&world);
}
END_TEST

/* Files without their manifest, also of a node from before there was a mark. */
START_TEST(mixes_in_no_old_files)
{
    struct world world = {0};
    world_init(&world);
    start(&world);
    open_cluster(&world);
    close_cluster(&world);
    shell(&world, "rm -f cluster.id redis/appendonlydir/*.manifest");
    ck_assert_int_eq(try_start(&world, &world.err), -ENODATA);
    ck_assert_ptr_nonnull(strstr(world.err.text, "appendonly.aof.manifest is missing"));
    world_fini(&world);
}
END_TEST

START_TEST(closed_at_any_time)
{
    struct world world = {0};
    struct err err = {0};
    world_init(&world);
    start(&world);
    if (_i == 1)
        ck_assert_int_eq(cluster_open(world.cluster, &err), 0);
    close_cluster(&world);
    ck_assert_int_eq(world.promotions, 0);
    world_fini(&world);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("cluster");
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, starts_changes_and_ends);
    tcase_add_test(tc, promoted_again_after_a_death);
    tcase_add_loop_test(tc, refuses_an_empty_store, 0, ARRAY_LEN(losses));
    tcase_add_test(tc, mixes_in_no_old_files);
    tcase_add_loop_test(tc, closed_at_any_time, 0, 2);
    return unit_run(tc);
}
