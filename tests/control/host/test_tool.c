#include "control/host/tool.h"

#include "tests/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

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

int main(void)
{
    TCase *tc = tcase_create("tool");
    tcase_add_test(tc, without_a_helper);
    tcase_add_test(tc, through_the_helper);
    return unit_run(tc);
}
