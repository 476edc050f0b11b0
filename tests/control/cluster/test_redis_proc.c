#include "control/cluster/redis_proc.h"

#include "tests/control/cluster/redis_fixture.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static bool answers(const char *socket)
{
    uv_sleep(10);
    return access(socket, F_OK) == 0;
}

static void wait_for_socket(struct redis_fixture *fixture)
{
    for (int i = 0; i < 300 && !answers(redis_proc_socket(fixture->proc)); i++)
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(access(redis_proc_socket(fixture->proc), F_OK), 0);
}

/* Whether any file under the folder holds the text. */
static const char *sought;
static bool found;

static int seek(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    static char content[1 << 20];
    (void)walk;
    ck_assert_msg((info->st_mode & 07) == 0, "%s is open to others: %o", path, info->st_mode);
    /* The group, which may be all that the daemon has left, reaches the socket. */
    mode_t group = kind == FTW_D ? 050 : S_ISSOCK(info->st_mode) ? 060 : 0;
    ck_assert_msg((info->st_mode & 070 & ~group) == 0, "%s is open to a group: %o", path,
                  info->st_mode);
    if (kind != FTW_F || !S_ISREG(info->st_mode))
        return 0;
    FILE *file = fopen(path, "r");
    size_t len = file == NULL ? 0 : fread(content, 1, sizeof content, file);
    if (file != NULL)
        fclose(file);
    found |= memmem(content, len, sought, strlen(sought)) != NULL;
    return 0;
}

START_TEST(starts_and_stops)
{
    struct redis_fixture fixture;
    char socket[128];
    char command[64];
    char line[4096] = "";
    fixture_init(&fixture);
    fixture_start(&fixture);
    wait_for_socket(&fixture);
    pid_t pid = redis_proc_pid(fixture.proc);
    snprintf(socket, sizeof socket, "%s", redis_proc_socket(fixture.proc));
    /* the password is in no file and no command line; nothing is readable for others */
    sought = redis_proc_password(fixture.proc);
    ck_assert_uint_eq(strlen(sought), 48);
    found = false;
    nftw(fixture.dir, seek, 8, FTW_PHYS);
    ck_assert(!found);
    snprintf(command, sizeof command, "/proc/%d/cmdline", (int)pid);
    FILE *file = fopen(command, "r");
    size_t len = fread(line, 1, sizeof line, file);
    fclose(file);
    ck_assert_uint_gt(len, 0);
    ck_assert_ptr_null(memmem(line, len, sought, strlen(sought)));
    fixture_stop(&fixture);
    ck_assert_int_eq(kill(pid, 0), -1);
    ck_assert_int_eq(access(socket, F_OK), -1);
    ck_assert_int_eq(fixture.deaths, 0);
    fixture_fini(&fixture);
}
END_TEST

START_TEST(killed_and_restarted)
{
    struct redis_fixture fixture;
    fixture_init(&fixture);
    fixture_start(&fixture);
    wait_for_socket(&fixture);
    for (int round = 1; round <= 3; round++) { /* 100, 200, 400 ms */
        pid_t pid = redis_proc_pid(fixture.proc);
        redis_proc_kill(fixture.proc);
        for (int i = 0;
             i < 300 && (redis_proc_pid(fixture.proc) == pid || redis_proc_pid(fixture.proc) == 0);
             i++) {
            uv_run(&fixture.loop, UV_RUN_NOWAIT);
            uv_sleep(10);
        }
        ck_assert_int_ne(redis_proc_pid(fixture.proc), 0);
        ck_assert_int_ne(redis_proc_pid(fixture.proc), pid);
        ck_assert_int_eq(fixture.deaths, round);
    }
    fixture_fini(&fixture);
}
END_TEST

START_TEST(stopped_one_is_killed)
{
    struct redis_fixture fixture;
    fixture_init(&fixture);
    fixture_start(&fixture);
    wait_for_socket(&fixture);
    pid_t pid = redis_proc_pid(fixture.proc);
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    fixture_stop(&fixture); /* within 5 s */
    ck_assert_int_eq(kill(pid, 0), -1);
    fixture_fini(&fixture);
}
END_TEST

/* A daemon that is killed takes its Redis with it. */
START_TEST(dies_with_us)
{
    struct redis_fixture fixture;
    int report[2];
    pid_t redis = 0;
    ck_assert_int_eq(pipe(report), 0);
    pid_t daemon = fork();
    if (daemon == 0) {
        fixture_init(&fixture);
        fixture_start(&fixture);
        redis = redis_proc_pid(fixture.proc);
        (void)!write(report[1], &redis, sizeof redis);
        (void)!write(report[1], fixture.dir, sizeof fixture.dir);
        pause();
    }
    ck_assert_int_eq(read(report[0], &redis, sizeof redis), sizeof redis);
    ck_assert_int_eq(read(report[0], fixture.dir, sizeof fixture.dir), sizeof fixture.dir);
    ck_assert_int_eq(kill(redis, 0), 0);
    kill(daemon, SIGKILL);
    waitpid(daemon, NULL, 0);
    bool gone = false;
    for (int i = 0; i < 200 && !gone; i++) {
        char path[64];
        char state = 'Z';
        snprintf(path, sizeof path, "/proc/%d/stat", (int)redis);
        FILE *file = fopen(path, "r"); /* a zombie counts as gone, since nobody may reap it */
        if (file != NULL) {
            if (fscanf(file, "%*d %*s %c", &state) != 1)
                state = 'Z';
            fclose(file);
        }
        gone = state == 'Z';
        uv_sleep(10);
    }
    ck_assert(gone);
    nftw(fixture.dir, fixture_remove, 8, FTW_DEPTH | FTW_PHYS);
}
END_TEST

START_TEST(refusals)
{
    struct redis_fixture fixture;
    struct err err = {0};
    char long_dir[200];
    fixture_init(&fixture);
    struct redis_proc_options options = {
        .launch = {.data_dir = fixture.dir, .program = "/none/redis-server"}};
    ck_assert_int_eq(redis_proc_start(&fixture.proc, &fixture.loop, &options, &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.text, "apt-get install redis-server"));
    options.launch.program = "no-such-redis";
    ck_assert_int_eq(redis_proc_start(&fixture.proc, &fixture.loop, &options, &err), -ENOENT);
    options.launch.program = NULL;
    memset(long_dir, 'x', sizeof long_dir);
    long_dir[0] = '/';
    long_dir[sizeof long_dir - 1] = '\0';
    options.launch.data_dir = long_dir;
    ck_assert_int_eq(redis_proc_start(&fixture.proc, &fixture.loop, &options, &err), -ENAMETOOLONG);
    ck_assert_ptr_nonnull(strstr(err.text, "--data-dir"));
    options.launch.data_dir = "/none";
    ck_assert_int_eq(redis_proc_start(&fixture.proc, &fixture.loop, &options, &err), -ENOENT);
    options.launch.data_dir = fixture.dir;
    options.launch.program = "/etc"; /* executable by name, but no program */
    ck_assert_int_eq(redis_proc_start(&fixture.proc, &fixture.loop, &options, &err), -EACCES);
    ck_assert_ptr_nonnull(strstr(err.text, "cannot run /etc"));
    ck_assert_ptr_nonnull(strstr(err.text, "Permission denied"));
    ck_assert_ptr_null(fixture.proc);
    fixture_fini(&fixture);
}
END_TEST

static void write_program(const char *path, const char *script)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(script, file);
    fclose(file);
    ck_assert_int_eq(chmod(path, 0755), 0);
}

/* Redis' user may not enter this folder. */
START_TEST(user_may_not_run_it)
{
    struct redis_fixture fixture;
    struct err err = {0};
    char program[80];
    fixture_init(&fixture);
    if (geteuid() == 0 && getpwnam("redis") != NULL) {
        ck_assert_int_eq(chmod(fixture.dir, 0700), 0);
        snprintf(program, sizeof program, "%s/redis-server", fixture.dir);
        struct redis_proc_options options = {
            .launch = {.data_dir = fixture.dir, .program = program}};
        write_program(program, "#!/bin/sh\necho 'Redis server v=7.0.15 sha=0 bits=64'\n");
        ck_assert_int_eq(redis_proc_start(&fixture.proc, &fixture.loop, &options, &err), -EACCES);
        ck_assert_ptr_nonnull(strstr(err.text, "as the user with id"));
    }
    fixture_fini(&fixture);
}
END_TEST

/* The settings need 7.0, and an older one would only say "bad directive". */
START_TEST(old_version)
{
    struct redis_fixture fixture;
    struct err err = {0};
    char program[80];
    fixture_init(&fixture);
    ck_assert_int_eq(chmod(fixture.dir, 0755), 0);
    snprintf(program, sizeof program, "%s/redis-server", fixture.dir);
    struct redis_proc_options options = {.launch = {.data_dir = fixture.dir, .program = program}};
    write_program(program, "#!/bin/sh\necho 'Redis server v=6.2.7 sha=0 bits=64'\n");
    ck_assert_int_eq(redis_proc_start(&fixture.proc, &fixture.loop, &options, &err),
                     -EPROTONOSUPPORT);
    ck_assert_ptr_nonnull(strstr(err.text, "too old (6.2.7)"));
    ck_assert_ptr_nonnull(strstr(err.text, "7.0 or newer of the package redis-server"));
    write_program(program, "#!/bin/sh\nexec sleep 60\n"); /* hangs, and is given up soon */
    ck_assert_int_eq(redis_proc_start(&fixture.proc, &fixture.loop, &options, &err), -EINVAL);
    fixture_fini(&fixture);
}
END_TEST

/* The parent of Redis. */
static pid_t keeper_of(const struct redis_fixture *fixture)
{
    char path[64];
    int keeper = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)redis_proc_pid(fixture->proc));
    FILE *file = fopen(path, "r");
    ck_assert_int_eq(fscanf(file, "%*d %*s %*c %d", &keeper), 1);
    fclose(file);
    ck_assert_int_ne(keeper, getpid());
    return keeper;
}

/* A zombie counts as dead, since nobody may reap it. */
static bool is_alive(pid_t pid)
{
    char path[64];
    char state = 'Z';
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (file != NULL && fscanf(file, "%*d %*s %c", &state) != 1)
        state = 'Z';
    if (file != NULL)
        fclose(file);
    return state != 'Z';
}

/* A killed keeper takes Redis with it, and the loop goes on. */
START_TEST(keeper_killed)
{
    struct redis_fixture fixture;
    fixture_init(&fixture);
    fixture_start(&fixture);
    wait_for_socket(&fixture);
    ck_assert_int_eq(kill(keeper_of(&fixture), SIGKILL), 0);
    for (int i = 0; i < 300 && redis_proc_pid(fixture.proc) != 0; i++) {
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
        uv_sleep(10);
    }
    ck_assert_int_eq(redis_proc_pid(fixture.proc), 0);
    ck_assert(fixture.gone);
    ck_assert_int_eq(fixture.deaths, 0);
    redis_proc_kill(fixture.proc);
    fixture_fini(&fixture);
}
END_TEST

/* A keeper that hangs holds up the end for a few seconds only, and neither it nor Redis stays. */
START_TEST(keeper_stopped)
{
    struct redis_fixture fixture;
    fixture_init(&fixture);
    fixture_start(&fixture);
    wait_for_socket(&fixture);
    pid_t redis = redis_proc_pid(fixture.proc);
    pid_t keeper = keeper_of(&fixture);
    ck_assert_int_eq(kill(keeper, SIGSTOP), 0);
    fixture_stop(&fixture);
    ck_assert_int_eq(kill(keeper, 0), -1);
    for (int i = 0; i < 1000 && is_alive(redis); i++)
        uv_sleep(10);
    ck_assert(!is_alive(redis));
    fixture_fini(&fixture);
}
END_TEST

/* Anything in the place of the log is replaced: opening a FIFO would wait for a reader. */
START_TEST(log_is_a_file)
{
    struct redis_fixture fixture;
    char path[128];
    struct stat info;
    fixture_init(&fixture);
    snprintf(path, sizeof path, "%s/redis", fixture.dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/redis/redis.log", fixture.dir);
    ck_assert_int_eq(_i == 0 ? mkfifo(path, 0600) : symlink("/dev/full", path), 0);
    fixture_start(&fixture);
    wait_for_socket(&fixture);
    ck_assert_int_eq(lstat(path, &info), 0);
    ck_assert(S_ISREG(info.st_mode));
    fixture_fini(&fixture);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("redis_proc");
    tcase_set_timeout(tc, 40);
    tcase_add_test(tc, starts_and_stops);
    tcase_add_test(tc, killed_and_restarted);
    tcase_add_test(tc, stopped_one_is_killed);
    tcase_add_test(tc, dies_with_us);
    tcase_add_test(tc, refusals);
    tcase_add_test(tc, user_may_not_run_it);
    tcase_add_test(tc, old_version);
    tcase_add_test(tc, keeper_killed);
    tcase_add_test(tc, keeper_stopped);
    tcase_add_loop_test(tc, log_is_a_file, 0, 2);
    return unit_run(tc);
}
