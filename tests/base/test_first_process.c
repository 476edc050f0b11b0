#include "base/first_process.h"

#include "tests/unit.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

/* Runs `program` behind first_process_split() as process 1 of a namespace; returns its process. */
static pid_t start(void (*program)(void))
{
    pid_t outer = fork(); /* so that only this one makes the namespace */
    if (outer == 0) {
        if (unshare(CLONE_NEWPID) != 0)
            _exit(99);
        pid_t first = fork();
        if (first == 0) {
            first_process_split();
            program();
            _exit(0);
        }
        int status = 0;
        (void)signal(SIGTERM, SIG_IGN);
        while (waitpid(first, &status, 0) < 0) {
        }
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 98);
    }
    return outer;
}

static int status_of(pid_t pid)
{
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void exit_with_7(void)
{
    if (getpid() == 1)
        _exit(97);
    _exit(7);
}

static void killed(void)
{
    (void)raise(SIGKILL);
}

static void on_term(int number)
{
    (void)number;
    _exit(5);
}

/* Orphans that have ended are no zombies of process 1: their ids are free. */
static void reaped(void)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    int fds[2];
    pid_t orphan = 0;
    if (pipe(fds) != 0)
        _exit(96);
    pid_t middle = fork();
    if (middle == 0) {
        pid_t last = fork();
        if (last == 0)
            _exit(0);
        _exit(write(fds[1], &last, sizeof last) == sizeof last ? 0 : 1);
    }
    (void)waitpid(middle, NULL, 0);
    if (read(fds[0], &orphan, sizeof orphan) != sizeof orphan)
        _exit(95);
    while (kill(orphan, 0) == 0)
        (void)nanosleep(&pause, NULL);
    _exit(3);
}

/* Process 1 passes on what it gets. */
static void signals_arrive(void)
{
    (void)signal(SIGTERM, on_term);
    (void)kill(1, SIGTERM);
    for (;;)
        (void)pause();
}

static const struct {
    void (*program)(void);
    int status;
} runs[] = {{exit_with_7, 7}, {killed, 128 + SIGKILL}, {reaped, 3}, {signals_arrive, 5}};

START_TEST(process_one)
{
    ck_assert_int_eq(status_of(start(runs[_i].program)), runs[_i].status);
}
END_TEST

START_TEST(elsewhere_nothing_happens)
{
    pid_t before = getpid();
    first_process_split();
    ck_assert_int_eq(getpid(), before);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("first_process");
    tcase_add_test(tc, elsewhere_nothing_happens);
    if (unit_is_root())
        tcase_add_loop_test(tc, process_one, 0, ARRAY_LEN(runs));
    return unit_run(tc);
}
