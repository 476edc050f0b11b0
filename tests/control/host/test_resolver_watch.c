#include "control/host/resolver_watch.h"

#include "base/addr.h"
#include "base/err.h"
#include "control/host/resolver.h"
#include "tests/control/loop_fixture.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

static uv_loop_t loop;
static struct resolver_watch *watch;
static struct resolver_paths paths;
static char folder[64];
static char state[96];
static char file[96];
static char other[96];
static bool seen;
static unsigned count;

static void put(const char *path, const char *text)
{
    FILE *out = fopen(path, "w");
    ck_assert_ptr_nonnull(out);
    fputs(text, out);
    fclose(out);
}

static void apply(void)
{
    struct err err;
    struct ip_addr server;
    ip_addr_parse(&server, "10.11.0.1");
    struct resolver_setup setup = {.nameservers = &server,
                                   .nameserver_count = 1,
                                   .domain = "heimdall",
                                   .interface = "darknet"};
    ck_assert_int_eq(resolver_apply(&paths, &setup, &err), 0);
}

static void on_lost(void *ctx)
{
    ck_assert_ptr_eq(ctx, &loop);
    seen = true;
    count++;
    apply();
}

static void setup(void)
{
    temp_dir_create(folder);
    snprintf(state, sizeof state, "%s/state", folder);
    snprintf(file, sizeof file, "%s/resolv.conf", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    ck_assert_int_eq(mkdir(state, 0700), 0);
    paths = (struct resolver_paths){.resolv_conf = file, .state_dir = state, .resolved = state};
    uv_loop_init(&loop);
    seen = false;
    count = 0;
}

static void teardown(void)
{
    resolver_watch_close(watch);
    watch = NULL;
    loop_finish(&loop);
    temp_dir_remove(folder);
}

static void start(void)
{
    put(file, "nameserver 192.0.2.1\n");
    apply();
    ck_assert_int_eq(resolver_watch_open(&watch, &loop, &paths, on_lost, &loop), 0);
}

static void check_seen(void)
{
    ck_assert(loop_run_until(&loop, &seen, 5000));
    seen = false;
}

static void check_nothing_more(unsigned expected)
{
    loop_run_for(&loop, 1200);
    ck_assert_uint_eq(count, expected);
}

static void replace(const char *path)
{
    put(other, "nameserver 192.0.2.2\n");
    ck_assert_int_eq(rename(other, path), 0);
}

START_TEST(whatever_is_done_to_the_file_is_seen)
{
    start();
    put(file, "nameserver 192.0.2.3\n");
    check_seen();
    replace(file);
    check_seen();
    put(file, "nameserver 192.0.2.3\n"); /* the new one, in place */
    check_seen();
    ck_assert_int_eq(unlink(file), 0);
    check_seen();
    put(file, "nameserver 192.0.2.4\n");
    check_seen();
    check_nothing_more(5);
}
END_TEST

START_TEST(other_files_and_our_own_writing_are_not)
{
    start();
    put(other, "text");
    ck_assert_int_eq(unlink(other), 0);
    apply();
    check_nothing_more(0);
}
END_TEST

START_TEST(many_changes_are_told_once)
{
    start();
    for (int i = 0; i < 20; i++)
        put(file, "nameserver 192.0.2.1\n");
    check_seen();
    check_nothing_more(1);
}
END_TEST

START_TEST(who_insists_keeps_the_file)
{
    start();
    for (int i = 0; i < 5; i++) {
        put(file, "nameserver 192.0.2.1\n");
        check_seen();
    }
    put(file, "nameserver 192.0.2.1\n");
    check_nothing_more(5);
    ck_assert(resolver_is_lost(&paths));
}
END_TEST

START_TEST(a_link_is_followed)
{
    char target[96];
    snprintf(target, sizeof target, "%s/run", folder);
    ck_assert_int_eq(mkdir(target, 0700), 0);
    snprintf(target, sizeof target, "%s/run/resolv.conf", folder);
    ck_assert_int_eq(symlink(target, file), 0);
    start();
    put(target, "nameserver 192.0.2.3\n");
    check_seen();
    replace(target);
    check_seen();
    put(target, "nameserver 192.0.2.3\n");
    check_seen();
}
END_TEST

/* As in a container, written from outside; needs root. */
START_TEST(a_bind_mount)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return;
    put(other, "");
    put(file, "");
    ck_assert_int_eq(mount(other, file, NULL, MS_BIND, NULL), 0);
    start();
    put(other, "nameserver 192.0.2.3\n");
    check_seen();
    ck_assert_int_eq(umount(file), 0);
}
END_TEST

START_TEST(a_folder_that_is_not_there)
{
    snprintf(file, sizeof file, "%s/none/resolv.conf", folder);
    ck_assert_int_eq(resolver_watch_open(&watch, &loop, &paths, on_lost, &loop), UV_ENOENT);
    ck_assert_ptr_null(watch);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("resolver_watch");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, whatever_is_done_to_the_file_is_seen);
    tcase_add_test(tc, other_files_and_our_own_writing_are_not);
    tcase_add_test(tc, many_changes_are_told_once);
    tcase_add_test(tc, who_insists_keeps_the_file);
    tcase_add_test(tc, a_link_is_followed);
    tcase_add_test(tc, a_bind_mount);
    tcase_add_test(tc, a_folder_that_is_not_there);
    return unit_run(tc);
}
