#include "control/cluster/disk_watch.h"

#include "base/log.h"
#include "tests/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

static bool closed;
static int answers;
static bool was_full;

static void on_answer(void *ctx, bool full)
{
    (void)ctx;
    answers++;
    was_full = full;
}

static void on_closed(void *ctx)
{
    (void)ctx;
    closed = true;
}

static bool ask(struct disk_watch *watch, uv_loop_t *loop)
{
    int before = answers;
    disk_watch_ask(watch, on_answer, NULL);
    ck_assert_int_eq(answers, before); /* not from inside */
    while (answers == before)
        uv_run(loop, UV_RUN_ONCE);
    ck_assert_int_eq(disk_watch_is_full(watch), was_full);
    return was_full;
}

static void close_watch(struct disk_watch *watch, uv_loop_t *loop)
{
    closed = false;
    disk_watch_close(watch, on_closed, NULL);
    uv_run(loop, UV_RUN_DEFAULT);
    ck_assert(closed);
    ck_assert_int_eq(uv_loop_close(loop), 0);
}

START_TEST(sees_the_disk_fill_and_empty)
{
    char dir[] = "/tmp/heimdall-test-XXXXXX";
    char path[64];
    uv_loop_t loop;
    struct disk_watch watch;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/filler", dir);
    bool mounted = mount("tmpfs", dir, "tmpfs", 0, "size=1m") == 0;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    disk_watch_init(&watch, &loop, dir);
    ck_assert(!ask(&watch, &loop));
    if (mounted) { /* as root only */
        FILE *file = fopen(path, "w");
        char block[4096] = {0};
        while (fwrite(block, sizeof block, 1, file) == 1 && fflush(file) == 0)
            ;
        fclose(file);
        ck_assert(ask(&watch, &loop));
        unlink(path);
        ck_assert(!ask(&watch, &loop));
    }
    close_watch(&watch, &loop);
    if (mounted)
        umount(dir);
    rmdir(dir);
}
END_TEST

START_TEST(closed_while_asked)
{
    uv_loop_t loop;
    struct disk_watch watch;
    int before = answers;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    disk_watch_init(&watch, &loop, "/nowhere/at/all");
    uv_run(&loop, UV_RUN_NOWAIT);
    disk_watch_ask(&watch, on_answer, NULL);
    if (_i == 1)
        disk_watch_ask(&watch, NULL, NULL);
    close_watch(&watch, &loop);
    ck_assert_int_eq(answers, before);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("disk_watch");
    log_set_level(LOG_ERROR);
    tcase_add_test(tc, sees_the_disk_fill_and_empty);
    tcase_add_loop_test(tc, closed_while_asked, 0, 2);
    return unit_run(tc);
}
