#include "control/cluster/redis_upkeep.h"

#include "tests/unit.h"

#define MB UINT64_C(1000000)
#define IDLE                                                                                       \
    "# Persistence\r\nloading:0\r\naof_enabled:1\r\naof_rewrite_in_progress:0\r\n"                 \
    "aof_rewrite_scheduled:0\r\naof_last_bgrewrite_status:ok\r\n"

static const struct {
    const char *info;
    bool readable;
    bool due;
} answers[] = {
    {IDLE "aof_current_size:9000000\r\naof_base_size:88\r\n", true, false},
    {IDLE "aof_current_size:10000200\r\naof_base_size:88\r\n", true, true},
    {IDLE "aof_current_size:50000000\r\naof_base_size:20000000\r\n", true, false},
    {IDLE "aof_current_size:50000001\r\naof_base_size:20000000\r\n", true, true},
    /* the data set has shrunk; memory counts more than the file would need */
    {"# Memory\r\nused_memory_dataset:5000000\r\n" IDLE
     "aof_current_size:21000000\r\naof_base_size:20000000\r\n",
     true, true},
    {"# Memory\r\nused_memory_dataset:90000000\r\n" IDLE
     "aof_current_size:50000000\r\naof_base_size:20000000\r\n",
     true, false},
    /* a name that another one ends with */
    {"x_aof_base_size:90000000\r\n" IDLE "aof_current_size:99000000\r\naof_base_size:1\r\n", true,
     true},
    {"aof_enabled:1\r\naof_rewrite_in_progress:1\r\naof_last_bgrewrite_status:ok\r\n"
     "aof_current_size:99000000\r\n",
     true, false},
    {"aof_enabled:1\r\naof_rewrite_scheduled:1\r\naof_last_bgrewrite_status:ok\r\n"
     "aof_current_size:99000000\r\n",
     true, false},
    {"aof_enabled:1\r\nloading:1\r\naof_last_bgrewrite_status:ok\r\naof_current_size:99000000\r\n",
     true, false},
    {"aof_enabled:0\r\naof_last_bgrewrite_status:ok\r\naof_current_size:99000000\r\n", true, false},
    {"", false, false},
    {"# Server\r\n", false, false},
};

START_TEST(when_the_file_is_rewritten)
{
    struct redis_aof aof;
    ck_assert_int_eq(redis_aof_read(&aof, answers[_i].info), answers[_i].readable);
    if (answers[_i].readable)
        ck_assert_int_eq(redis_aof_is_due(&aof, 10 * MB), answers[_i].due);
}
END_TEST

START_TEST(a_failure_is_read)
{
    struct redis_aof aof;
    ck_assert(redis_aof_read(&aof, IDLE) && !aof.failed);
    ck_assert(redis_aof_read(&aof, "aof_last_bgrewrite_status:err\r\n") && aof.failed);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("redis_upkeep");
    tcase_add_loop_test(tc, when_the_file_is_rewritten, 0, ARRAY_LEN(answers));
    tcase_add_test(tc, a_failure_is_read);
    return unit_run(tc);
}
