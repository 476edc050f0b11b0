#include "base/log_sink.h"

#include "tests/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* A descriptor that the log writes to, and its other end. */
static int in;
static int out;

static size_t note(char *text, size_t size, uint64_t dropped)
{
    return (size_t)snprintf(text, size, "note %llu\n", (unsigned long long)dropped);
}

static void put(const char *line)
{
    log_sink_put(line, strlen(line), note);
}

static void open_pipe(void)
{
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    out = fds[0];
    in = fds[1];
    log_sink_set_fd(in);
}

/* Fills the pipe to its last byte. */
static void fill_pipe(void)
{
    static const char junk[512];
    int flags = fcntl(in, F_GETFL);
    ck_assert_int_eq(fcntl(in, F_SETFL, flags | O_NONBLOCK), 0);
    while (write(in, junk, sizeof junk) > 0) {
    }
    while (write(in, junk, 1) > 0) {
    }
    ck_assert_int_eq(fcntl(in, F_SETFL, flags), 0);
}

/* Reads what fill_pipe wrote. */
static void drain_junk(void)
{
    char byte;
    int flags = fcntl(out, F_GETFL);
    ck_assert_int_eq(fcntl(out, F_SETFL, flags | O_NONBLOCK), 0);
    while (read(out, &byte, 1) == 1)
        ck_assert_int_eq(byte, 0);
    ck_assert_int_eq(fcntl(out, F_SETFL, flags), 0);
}

/* Reads one line, without its newline. Waits for it. */
static const char *line(void)
{
    static char text[256];
    size_t len = 0;
    while (len < sizeof text - 1 && read(out, text + len, 1) == 1 && text[len] != '\n')
        len++;
    text[len] = '\0';
    return text;
}

START_TEST(a_full_pipe_costs_lines)
{
    open_pipe();
    put("one\n");
    ck_assert_str_eq(line(), "one");
    fill_pipe();
    put("two\n");
    put("three\n");
    drain_junk();
    put("four\n");
    ck_assert_str_eq(line(), "note 2");
    ck_assert_str_eq(line(), "four");
    ck_assert_uint_eq(log_sink_dropped(), 2);
}
END_TEST

START_TEST(a_stopped_terminal_costs_lines)
{
    ck_assert_int_eq(openpty(&out, &in, NULL, NULL, NULL), 0);
    struct termios raw;
    ck_assert_int_eq(tcgetattr(in, &raw), 0);
    cfmakeraw(&raw);
    ck_assert_int_eq(tcsetattr(in, TCSANOW, &raw), 0);
    log_sink_set_fd(in);
    ck_assert_int_eq(tcflow(in, TCOOFF), 0);
    put("one\n");
    ck_assert_int_eq(tcflow(in, TCOON), 0);
    put("two\n");
    ck_assert_str_eq(line(), "note 1");
    ck_assert_str_eq(line(), "two");
}
END_TEST

START_TEST(a_full_disk_costs_lines)
{
    int full = open("/dev/full", O_WRONLY);
    ck_assert_int_ge(full, 0);
    open_pipe();
    log_sink_set_fd(full);
    if (_i == 1)
        ck_assert_int_eq(log_sink_start(), 0);
    put("one\n");
    put("two\n");
    while (log_sink_dropped() < 2)
        usleep(1000);
    ck_assert_int_eq(dup2(in, full), full); /* there is room again */
    put("three\n");
    ck_assert_str_eq(line(), "note 2");
    ck_assert_str_eq(line(), "three");
}
END_TEST

START_TEST(nothing_is_written_without_a_descriptor)
{
    log_sink_set_fd(-1);
    put("one\n");
    ck_assert_uint_eq(log_sink_dropped(), 0);
    ck_assert_int_eq(log_sink_start(), 0);
    put("two\n");
    log_sink_stop();
    ck_assert_uint_eq(log_sink_dropped(), 0);
}
END_TEST

enum { THREADS = 3, EACH = 20000 };

static void *put_many(void *unused)
{
    (void)unused;
    for (int i = 0; i < EACH; i++)
        put("a line of the usual length, which is about this long, I would say\n");
    return NULL;
}

/* Nobody reads at first: every caller comes back, and each line is either written or counted. */
START_TEST(no_thread_waits_for_the_writer)
{
    pthread_t threads[THREADS];
    unsigned long long missing;
    unsigned long long whole = 1; /* the line whose first character ends the junk */
    unsigned long long counted = 0;
    open_pipe();
    fill_pipe();
    ck_assert_int_eq(log_sink_start(), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, put_many, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_gt(log_sink_dropped(), 0);
    char byte = 0;
    while (byte == 0)
        ck_assert_int_eq(read(out, &byte, 1), 1);
    ck_assert_int_eq(byte, 'a');
    (void)line();
    while (whole + counted < THREADS * EACH) {
        if (sscanf(line(), "note %llu", &missing) == 1)
            counted += missing;
        else
            whole++;
    }
    ck_assert_uint_eq(whole + counted, THREADS * EACH);
    ck_assert_uint_eq(counted, log_sink_dropped());
    put("last\n");
    ck_assert_str_eq(line(), "last");
    log_sink_stop();
}
END_TEST

START_TEST(stopping_writes_what_is_left)
{
    open_pipe();
    ck_assert_int_eq(log_sink_start(), 0);
    for (int i = 0; i < 100; i++)
        put("x\n");
    log_sink_stop();
    for (int i = 0; i < 100; i++)
        ck_assert_str_eq(line(), "x");
    put("at once\n");
    ck_assert_str_eq(line(), "at once");
}
END_TEST

START_TEST(stopping_does_not_wait_for_a_reader)
{
    open_pipe();
    fill_pipe();
    ck_assert_int_eq(log_sink_start(), 0);
    put("one\n");
    log_sink_stop();
    put("two\n");
}
END_TEST

START_TEST(a_child_writes_for_itself)
{
    open_pipe();
    ck_assert_int_eq(log_sink_start(), 0);
    put("parent\n");
    ck_assert_str_eq(line(), "parent");
    pid_t child = fork();
    if (child == 0) {
        put("child\n");
        _exit(0);
    }
    ck_assert_str_eq(line(), "child");
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    log_sink_stop();
}
END_TEST

/* A line that was written in part does not run into the next one. */
START_TEST(a_torn_line_ends)
{
    open_pipe();
    signal(SIGPIPE, SIG_IGN);
    char path[] = "/tmp/test_log_sinkXXXXXX";
    int file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    (void)unlink(path);
    struct rlimit limit = {.rlim_cur = 6, .rlim_max = RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    log_sink_set_fd(file);
    put("one\n");
    put("two\n"); /* two bytes of it find room */
    limit.rlim_cur = RLIM_INFINITY;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    put("three\n");
    char text[64] = "";
    ck_assert_int_gt(pread(file, text, sizeof text - 1, 0), 0);
    ck_assert_str_eq(text, "one\ntw\nnote 1\nthree\n");
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("log_sink");
    tcase_add_test(tc, a_full_pipe_costs_lines);
    tcase_add_test(tc, a_stopped_terminal_costs_lines);
    tcase_add_loop_test(tc, a_full_disk_costs_lines, 0, 2);
    tcase_add_test(tc, nothing_is_written_without_a_descriptor);
    tcase_add_test(tc, no_thread_waits_for_the_writer);
    tcase_add_test(tc, stopping_writes_what_is_left);
    tcase_add_test(tc, stopping_does_not_wait_for_a_reader);
    tcase_add_test(tc, a_child_writes_for_itself);
    tcase_add_test(tc, a_torn_line_ends);
    return unit_run(tc);
}
