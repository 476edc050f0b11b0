#include "base/metrics_text.h"
#include "control/daemon/metrics_server.h"

#include "base/clock.h"
#include "tests/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct buffer out;
static struct metrics_text text;

static void set_up(void)
{
    buffer_init(&out);
    text = (struct metrics_text){.out = &out};
}

static void tear_down(void)
{
    buffer_fini(&out);
}

static const char *written(void)
{
    buffer_append(&out, "", 1);
    ck_assert(!buffer_failed(&out));
    return (const char *)buffer_data(&out);
}

START_TEST(families)
{
    metrics_family(&text, "x_total", METRICS_COUNTER, "How many.");
    metrics_sample(&text, (struct metrics_label){"a", "1"}, (struct metrics_label){"b", "q\"\\\n"},
                   1e15);
    metrics_single(&text, "y", METRICS_GAUGE, "One.", 0.25);
    ck_assert_str_eq(written(), "# HELP x_total How many.\n# TYPE x_total counter\n"
                                "x_total{a=\"1\",b=\"q\\\"\\\\\\n\"} 1e+15\n"
                                "# HELP y One.\n# TYPE y gauge\ny 0.25\n");
}
END_TEST

START_TEST(durations)
{
    struct metrics_histogram seen = {.count = 0};
    metrics_observe(&seen, NS_PER_MS);
    metrics_observe(&seen, NS_PER_MS + 1);
    metrics_observe(&seen, 2 * NS_PER_SEC);
    metrics_observe(&seen, 60 * NS_PER_SEC);
    metrics_histogram(&text, "h", "Time.", &seen);
    const char *all = written();
    ck_assert_ptr_nonnull(strstr(all, "# TYPE h histogram\nh_bucket{le=\"0.001\"} 1\n"
                                      "h_bucket{le=\"0.0025\"} 2\n"));
    ck_assert_ptr_nonnull(strstr(all, "h_bucket{le=\"1\"} 2\nh_bucket{le=\"2.5\"} 3\n"
                                      "h_bucket{le=\"5\"} 3\nh_bucket{le=\"+Inf\"} 4\n"));
    ck_assert_ptr_nonnull(strstr(all, "h_sum 62.002000001\nh_count 4\n"));
}
END_TEST

START_TEST(totals_never_fall)
{
    struct metrics_total total = {.gone = 0};
    static const struct {
        uint64_t sum;
        uint64_t total;
    } steps[] = {{0, 0}, {10, 10}, {4, 10}, {9, 15}, {0, 15}, {1, 16}};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        ck_assert_uint_eq(metrics_total(&total, steps[i].sum), steps[i].total);
}
END_TEST

/* ---- over HTTP ---- */

static unsigned calls;

static void write_text(void *ctx, struct metrics_text *to)
{
    (void)ctx;
    metrics_single(to, "calls", METRICS_GAUGE, "Calls.", ++calls);
}

static int dial(uint16_t port)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

static const struct {
    const char *request;
    const char *answer;
} requests[] = {
    {"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 "},
    {"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 "},
    {"GET /metrics HTTP/1.0\r\n\r\n", "HTTP/1.1 200 "},
    {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 "},
    {"GET /metrics/../x HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 "},
    {"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 405 "},
};

START_TEST(answers)
{
    uv_loop_t loop;
    struct metrics_server *server;
    struct err err;
    union endpoint address;
    char answer[8192] = "";
    ssize_t got = -1;
    uint16_t port = (uint16_t)(20000 + (getpid() * 7 + _i) % 20000);
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    struct ip_addr loopback = {4, {127, 0, 0, 1}};
    int code = -EADDRINUSE;
    for (int tries = 0; tries < 50 && code == -EADDRINUSE; tries++) {
        endpoint_from_addr(&address, &loopback, ++port);
        code = metrics_server_open(&server, &loop, &address, write_text, NULL, &err);
    }
    ck_assert_msg(code == 0, "%s", err.text);
    /* nobody else gets the port */
    struct metrics_server *second;
    ck_assert_int_eq(metrics_server_open(&second, &loop, &address, write_text, NULL, &err),
                     -EADDRINUSE);
    ck_assert_msg(strstr(err.text, "--metrics-address") != NULL, "%s", err.text);
    int fd = dial(port);
    ck_assert_int_eq(send(fd, requests[_i].request, strlen(requests[_i].request), 0),
                     (ssize_t)strlen(requests[_i].request));
    for (int turns = 0; turns < 1000 && got < 0; turns++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        got = recv(fd, answer, sizeof answer - 1, MSG_DONTWAIT);
        usleep(1000);
    }
    ck_assert_msg(strncmp(answer, requests[_i].answer, strlen(requests[_i].answer)) == 0, "%s",
                  answer);
    if (strncmp(requests[_i].request, "GET", 3) == 0 && strstr(requests[_i].answer, "200") != NULL)
        ck_assert_msg(strstr(answer, "version=0.0.4") != NULL && strstr(answer, "\ncalls 1\n"),
                      "%s", answer);
    (void)close(fd);
    metrics_server_close(server);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("metrics");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, families);
    tcase_add_test(tc, durations);
    tcase_add_test(tc, totals_never_fall);
    tcase_add_loop_test(tc, answers, 0, ARRAY_LEN(requests));
    return unit_run(tc);
}
