#include "control/cluster/redis_files.h"

#include "tests/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static void sh(const char *script)
{
    char line[1024];
    snprintf(line, sizeof line, "cd %s && %s", dir, script);
    ck_assert_int_eq(system(line), 0);
}

static void set_up(void)
{
    snprintf(dir, sizeof dir, "/tmp/heimdall-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void tear_down(void)
{
    sh("rm -rf ./*");
    rmdir(dir);
}

#define MANIFEST                                                                                   \
    "mkdir appendonlydir && cd appendonlydir && "                                                  \
    "printf 'file a.1.base.rdb seq 1 type b\\nfile a.1.incr.aof seq 1 type i\\n"                   \
    "file a.2.incr.aof seq 2 type i\\n' >appendonly.aof.manifest && "

static const struct {
    const char *script;
    int fresh; /* when the data need not exist */
    int must;
} checks[] = {
    {"true", 0, -ENODATA},
    {"mkdir appendonlydir", 0, -ENODATA},
    {"mkdir appendonlydir && touch appendonlydir/temp.txt", 0, -ENODATA},
    /* a Redis that was killed amid its first start */
    {"mkdir appendonlydir && touch appendonlydir/a.1.incr.aof", 0, -ENODATA},
    {"mkdir appendonlydir && head -c 89 /dev/zero >appendonlydir/a.1.base.rdb", 0, -ENODATA},
    {"mkdir appendonlydir && echo >appendonlydir/a.1.incr.aof", -ENODATA, -ENODATA},
    {"mkdir appendonlydir && head -c 161 /dev/zero >appendonlydir/a.1.base.rdb", -ENODATA,
     -ENODATA},
    {"mkdir appendonlydir && touch appendonlydir/appendonly.aof.manifest", -ENODATA, -ENODATA},
    {MANIFEST "true", 0, 0},
    {"touch appendonlydir", -ENOTDIR, -ENOTDIR},
};

START_TEST(check)
{
    sh(checks[_i].script);
    ck_assert_int_eq(redis_files_check(dir, false), checks[_i].fresh);
    ck_assert_int_eq(redis_files_check(dir, true), checks[_i].must);
}
END_TEST

static const struct {
    const char *script;
    uint64_t removed;
    const char *left; /* the size of a.2.incr.aof */
    int code;
} heals[] = {
    {"true", 0, NULL, 0},
    {MANIFEST "printf 'SET\\r\\n' >a.2.incr.aof", 0, "5", 0},
    {MANIFEST "printf 'SET\\r\\n\\0' >a.2.incr.aof", 1, "5", 0},
    {MANIFEST "printf 'S\\0T\\r\\n' >a.2.incr.aof; head -c 200000 /dev/zero >>a.2.incr.aof", 200000,
     "5", 0},
    {MANIFEST "head -c 65536 /dev/zero >a.2.incr.aof", 65536, "0", 0},
    {MANIFEST ": >a.2.incr.aof", 0, "0", 0},
    {MANIFEST "printf 'x\\0' >other && ln -s other a.2.incr.aof", 0, "5", -ELOOP},
    {MANIFEST "printf 'x\\0' >other && ln other a.2.incr.aof", 0, "2", -EINVAL},
    {MANIFEST "mkfifo a.2.incr.aof", 0, "0", -EINVAL},
};

START_TEST(heal)
{
    uint64_t removed = 0;
    char line[128];
    sh(heals[_i].script);
    ck_assert_int_eq(redis_files_heal(dir, &removed), heals[_i].code);
    ck_assert_uint_eq(removed, heals[_i].removed);
    if (heals[_i].left == NULL)
        return;
    snprintf(line, sizeof line, "test $(stat -c %%s appendonlydir/a.2.incr.aof) = %s",
             heals[_i].left);
    sh(line);
    ck_assert_int_eq(redis_files_heal(dir, &removed), heals[_i].code);
    ck_assert_uint_eq(removed, 0);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("redis_files");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_loop_test(tc, check, 0, ARRAY_LEN(checks));
    tcase_add_loop_test(tc, heal, 0, ARRAY_LEN(heals));
    return unit_run(tc);
}
