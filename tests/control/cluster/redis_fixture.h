#ifndef TESTS_CONTROL_CLUSTER_REDIS_FIXTURE_H
#define TESTS_CONTROL_CLUSTER_REDIS_FIXTURE_H

#include "base/err.h"
#include "control/cluster/redis_proc.h"

#include "tests/unit.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A folder of its own, a loop, and a real redis-server. */
struct redis_fixture {
    uv_loop_t loop;
    char dir[64];
    struct redis_proc *proc;
    int deaths;
    bool stopped;
    bool gone; /* the helper */
};

static inline void fixture_died(void *ctx, int status, uint64_t delay_ms)
{
    struct redis_fixture *fixture = ctx;
    (void)status;
    ck_assert_uint_le(delay_ms, 5000);
    fixture->deaths++;
}

static inline void fixture_gone(void *ctx)
{
    ((struct redis_fixture *)ctx)->gone = true;
}

static inline void fixture_stopped(void *ctx)
{
    ((struct redis_fixture *)ctx)->stopped = true;
}

static inline void fixture_init(struct redis_fixture *fixture)
{
    *fixture = (struct redis_fixture){0};
    snprintf(fixture->dir, sizeof fixture->dir, "/tmp/heimdall-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(fixture->dir));
    ck_assert_int_eq(uv_loop_init(&fixture->loop), 0);
}

static inline void fixture_start(struct redis_fixture *fixture)
{
    struct err err = {0};
    struct redis_proc_options options = {.launch = {.data_dir = fixture->dir},
                                         .ctx = fixture,
                                         .died = fixture_died,
                                         .gone = fixture_gone};
    ck_assert_msg(redis_proc_start(&fixture->proc, &fixture->loop, &options, &err) == 0, "%s",
                  err.text);
}

static inline void fixture_on_timeout(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Runs the loop until *flag, or fails after `ms`. */
static inline void fixture_run_until(struct redis_fixture *fixture, const bool *flag, uint64_t ms)
{
    uv_timer_t timer;
    bool late = false;
    uv_timer_init(&fixture->loop, &timer);
    timer.data = &late;
    uv_timer_start(&timer, fixture_on_timeout, ms, 0);
    while (!*flag && !late)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
    ck_assert_msg(*flag, "nothing happened for %u ms", (unsigned)ms);
}

static inline void fixture_stop(struct redis_fixture *fixture)
{
    fixture->stopped = false;
    redis_proc_stop(fixture->proc, fixture_stopped, fixture);
    fixture_run_until(fixture, &fixture->stopped, 15000);
    fixture->proc = NULL;
}

static inline int fixture_remove(const char *path, const struct stat *info, int kind,
                                 struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

static inline void fixture_fini(struct redis_fixture *fixture)
{
    if (fixture->proc != NULL)
        fixture_stop(fixture);
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(uv_loop_close(&fixture->loop), 0);
    nftw(fixture->dir, fixture_remove, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
