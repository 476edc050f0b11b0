#ifndef TESTS_CONTROL_LOOP_FIXTURE_H
#define TESTS_CONTROL_LOOP_FIXTURE_H

#include "tests/unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

/* A loop that runs until a flag is set or time is up, and a folder for sockets and files. */

static inline void loop_out_of_time(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* True when the flag was set in time. */
static inline bool loop_run_until(uv_loop_t *loop, const bool *flag, uint64_t timeout_ms)
{
    bool late = false;
    uv_timer_t timer;
    uv_timer_init(loop, &timer);
    timer.data = &late;
    uv_timer_start(&timer, loop_out_of_time, timeout_ms, 0);
    while (!*flag && !late)
        uv_run(loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
    return *flag;
}

static inline void loop_run_for(uv_loop_t *loop, uint64_t ms)
{
    bool never = false;
    loop_run_until(loop, &never, ms);
}

/* Everything must let go of the loop by itself. */
static inline void loop_finish(uv_loop_t *loop)
{
    bool late = false;
    uv_timer_t timer;
    uv_timer_init(loop, &timer);
    timer.data = &late;
    uv_timer_start(&timer, loop_out_of_time, 5000, 0);
    uv_unref((uv_handle_t *)&timer);
    while (!late && uv_run(loop, UV_RUN_ONCE) != 0)
        ;
    ck_assert_msg(!late, "handles are left on the loop");
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(uv_loop_close(loop), 0);
}

static inline void temp_dir_create(char out[64])
{
    snprintf(out, 64, "/tmp/heimdall-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(out));
}

static inline void temp_dir_remove(const char *path)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", path);
    ck_assert_int_eq(system(command), 0);
}

#endif
