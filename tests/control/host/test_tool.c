#include "control/host/tool.h"

#include "base/clock.h"
#include "tests/unit.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *const nft_version[] = {"nft", "-j", "-f", "-", NULL};

START_TEST(without_a_helper)
{
    char error[64];
    char *const argv[] = {"sh", "-c", "cat >&2; exit 3", NULL};
    ck_assert_int_eq(tool_run("/bin/sh", argv, "what it reads", error, sizeof error), 3);
    ck_assert_str_eq(error, "what it reads");
    ck_assert_int_eq(tool_run("/bin/sh", argv, "cut off at the end", error, 8), 3);
    ck_assert_str_eq(error, "cut off");
    ck_assert_int_eq(tool_run("/bin/sh", argv, "", NULL, 0), 3);
    ck_assert_int_eq(tool_run("/none/such", argv, "", NULL, 0), -ENOENT);
}
END_TEST

/* The helper runs what is on its list, and nothing else, whoever asks. */
START_TEST(through_the_helper)
{
    char error[256];
    char long_arg[2000];
    ck_assert_int_eq(tool_helper_start(), 0);
    ck_assert_int_eq(tool_run("nft", nft_version, "{\"nftables\": []}", error, sizeof error), 0);
    ck_assert_int_eq(tool_run("nft", nft_version, "no rules at all", error, sizeof error), 1);
    ck_assert_uint_gt(strlen(error), 0);
    memset(long_arg, 'x', sizeof long_arg);
    long_arg[sizeof long_arg - 1] = '\0';
    const struct {
        const char *path;
        char *argv[12];
        int expected;
    } rows[] = {
        {"/bin/sh", {"sh", "-c", "true"}, -EPERM},
        {"nft", {"sh", "-j", "-f", "-"}, -EPERM},
        {"nft", {"nft", "-f", "-"}, -EPERM},
        {"nft", {"nft", "-j", "-f", "/etc/passwd"}, -EPERM},
        {"nft", {"nft"}, -EPERM},
        {"/usr/bin/resolvectl", {"resolvectl", "query", "x"}, -EPERM},
        {"/usr/bin/resolvectl", {"resolvectl", "dns", "--help"}, -EPERM},
        {"/usr/bin/resolvectl", {"resolvectl", "dns", "a b"}, -EPERM},
        {"/sbin/resolvconf", {"resolvconf", "-a", "x;y"}, -EPERM},
        {"nft", {"1", "2", "3", "4", "5", "6", "7", "8", "9"}, -E2BIG},
        {"nft", {"nft", long_arg}, -E2BIG},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        ck_assert_msg(tool_run(rows[i].path, rows[i].argv, "", error, sizeof error) ==
                          rows[i].expected,
                      "row %zu", i);
    ck_assert_int_eq(tool_run("nft", nft_version, "{\"nftables\": []}", error, sizeof error), 0);
    tool_helper_end();
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* nothing is left */
    tool_helper_end();
}
END_TEST

/* An nft that hangs when its input says so, after it made a file beside itself. */
static void put_fake_nft(char folder[64])
{
    char path[96];
    snprintf(folder, 64, "/tmp/heimdall-tool-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/nft", folder);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs("#!/bin/sh\nread word\n[ \"$word\" = hang ] || exit 7\n: > $0.hangs\nexec sleep 60\n",
          file);
    fclose(file);
    ck_assert_int_eq(chmod(path, 0755), 0);
    setenv("PATH", folder, 1);
}

static void remove_fake_nft(const char *folder)
{
    char path[96];
    snprintf(path, sizeof path, "%s/nft", folder);
    unlink(path);
    strcat(path, ".hangs");
    unlink(path);
    rmdir(folder);
}

static void wait_until_it_hangs(const char *folder)
{
    char path[96];
    snprintf(path, sizeof path, "%s/nft.hangs", folder);
    for (int i = 0; i < 1000 && access(path, F_OK) < 0; i++)
        usleep(10000);
    ck_assert_int_eq(access(path, F_OK), 0);
}

static void *run_hanging(void *rc)
{
    *(int *)rc = tool_run("nft", nft_version, "hang\n", NULL, 0);
    return NULL;
}

/* A tool that hangs is ended, and delays nobody's result but its own. */
START_TEST(hanging_delays_only_its_own_result)
{
    char folder[64];
    pthread_t thread;
    int hanging = 0;
    put_fake_nft(folder);
    ck_assert_int_eq(tool_helper_start(), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, run_hanging, &hanging), 0);
    wait_until_it_hangs(folder);
    uint64_t start = clock_boottime_ns();
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(tool_run("nft", nft_version, "end\n", NULL, 0), 7);
    ck_assert_uint_lt(clock_boottime_ns() - start, 4 * NS_PER_SEC);
    pthread_join(thread, NULL);
    ck_assert_int_eq(hanging, -ETIMEDOUT);
    tool_helper_end();
    remove_fake_nft(folder);
}
END_TEST

/* The helper's end is the end of what it started: nobody waits for it. */
START_TEST(hanging_does_not_delay_the_end)
{
    char folder[64];
    put_fake_nft(folder);
    ck_assert_int_eq(tool_helper_start(), 0);
    pid_t pid = fork();
    if (pid == 0) { /* shares the helper's socket, and asks for a tool on our behalf */
        (void)tool_run("nft", nft_version, "hang\n", NULL, 0);
        _exit(0);
    }
    wait_until_it_hangs(folder);
    kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    uint64_t start = clock_boottime_ns();
    tool_helper_end();
    ck_assert_uint_lt(clock_boottime_ns() - start, 4 * NS_PER_SEC);
    remove_fake_nft(folder);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("tool");
    tcase_add_test(tc, without_a_helper);
    tcase_add_test(tc, through_the_helper);
    tcase_add_test(tc, hanging_delays_only_its_own_result);
    tcase_add_test(tc, hanging_does_not_delay_the_end);
    return unit_run(tc);
}
